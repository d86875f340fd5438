import type { ToIoWorker } from "../control-messages.ts";
import type { IoConnection } from "../io-connection.ts";
import type { ColdReads } from "./cold-reads.ts";

type Answer = Extract<ToIoWorker, { kind: "records" }>;

/** As for pulls: where memory is so short that what was read is gone again, the answer takes its time. */
const LOADS_MAX = 3;

/** Where the records of an answer lie; a `QueueReader`. */
interface Places {
  readonly files: readonly (Parameters<ColdReads["has"]>[0] | undefined)[];
  readonly positions: Float64Array;
  readonly sizes: Float64Array;
  readonly partCount: number;
  take(records: Float64Array): boolean;
}

export interface ChosenRecordsOptions {
  reader: Places;
  cold: ColdReads;
  /** What was appended lately is in memory. */
  isHot: (physicalOffset: number) => boolean;
  connection: (id: number) => IoConnection | undefined;
  answer: (connection: IoConnection, message: Answer) => void;
  /** Something was answered outside of a turn: what is staged is to leave. */
  onServed: () => void;
}

/**
 * Answers whose records the control thread has chosen, pops above all. As with pulls, the worker does not wait for the disk: old
 * records are read by another thread first. One instance an I/O worker.
 */
export class ChosenRecords {
  readonly #o: ChosenRecordsOptions;

  constructor(options: ChosenRecordsOptions) {
    this.#o = options;
  }

  serve(message: Answer): void {
    this.#serve(message, 0);
  }

  #serve(message: Answer, loads: number): void {
    const connection = this.#o.connection(message.connection);
    if (connection === undefined || connection.isClosed) return;
    if (loads >= LOADS_MAX || this.#areThere(message.records)) {
      this.#o.answer(connection, message);
      return;
    }
    this.#o.cold.whenLoaded(() => {
      this.#serve(message, loads + 1);
      this.#o.onServed();
    });
  }

  /** Of what is gone altogether the answer tells. */
  #areThere(records: Float64Array): boolean {
    const { reader, cold, isHot } = this.#o;
    let areHot = true;
    for (let i = 0; i < records.length && areHot; i += 2) areHot = isHot(records[i]!);
    if (areHot || !reader.take(records)) return true;
    cold.begin();
    let areThere = true;
    for (let i = 0; i < reader.partCount; i++)
      areThere = cold.has(reader.files[i]!, reader.positions[i]!, reader.sizes[i]!) && areThere;
    return areThere;
  }
}
