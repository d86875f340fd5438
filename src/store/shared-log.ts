import { doorbellWord, SHARED_WORDS_SIZE } from "../format/shared/shared-words.ts";
import { Doorbell } from "../ring/doorbell.ts";

/** The control words of one engine (format/shared/shared-words.ts), as views for the calling thread. */
export class SharedLog {
  readonly memory: SharedArrayBuffer;
  readonly words: Int32Array;
  readonly cells: Float64Array;

  constructor(memory: SharedArrayBuffer = new SharedArrayBuffer(SHARED_WORDS_SIZE)) {
    this.memory = memory;
    this.words = new Int32Array(memory);
    this.cells = new Float64Array(memory);
  }

  doorbell(number: number): Doorbell {
    return new Doorbell(this.words, number);
  }

  /** One of the float64 offsets of shared-words.ts. */
  offset(cell: number): number {
    return this.cells[cell]!;
  }

  /** By the cell's one writer; ring a doorbell afterwards to publish. */
  setOffset(cell: number, value: number): void {
    this.cells[cell] = value;
  }

  /** Wakes every thread, to make it see STOPPING or a moved clock. */
  ringAll(doorbellCount: number): void {
    for (let n = 0; n < doorbellCount; n++) {
      Atomics.add(this.words, doorbellWord(n), 1);
      Atomics.notify(this.words, doorbellWord(n));
    }
  }
}
