import { FilterCache } from "../../filter/filter-cache.ts";
import type { MessageFilter } from "../../filter/message-filter.ts";
import { ENTRY_SIZE } from "../../format/files/consume-queue.ts";
import type { Drive } from "../../os/api.ts";
import { ConsumeQueue, queueDirectory } from "./consume-queue.ts";
import { QueueExtWriter } from "./queue-ext.ts";
import type { QueueSlots } from "./queue-slots.ts";
import type { QueueFiles } from "./topic-slots.ts";

/** What groups filter a topic's messages by, and the bits by which they find what passes; all of the topic's. */
export interface TopicFiltersUpdate {
  filtersOf: string;
  filters: readonly TopicFilter[];
}

export interface TopicFilter {
  expressionType: string;
  expression: string;
  bitPos: readonly number[];
  /** Bits of the whole map. */
  bitNum: number;
}

/**
 * Makes the units of all queues (enableConsumeQueueExt): tags code, store time and, where groups filter the topic by
 * expressions, which of them a message passes. Queue-indexer thread only.
 * Source: Apache `CommitLogDispatcherCalcBitMap`, `ConsumeQueue.putMessagePositionInfoWrapper`.
 */
export class QueueExtMaker {
  readonly #drive: Drive;
  readonly #files: QueueFiles;
  readonly #slots: QueueSlots;
  readonly #expressions = new FilterCache();
  readonly #filters = new Map<string, { filter: MessageFilter; bitPos: readonly number[] }[]>();
  readonly #bitMaps = new Map<string, Uint8Array>();
  readonly #writers = new Map<number, QueueExtWriter>();
  readonly #pending = new Set<QueueExtWriter>();

  constructor(drive: Drive, files: QueueFiles, slots: QueueSlots) {
    this.#drive = drive;
    this.#files = files;
    this.#slots = slots;
  }

  setFilters({ filtersOf, filters }: TopicFiltersUpdate): void {
    this.#filters.delete(filtersOf);
    this.#bitMaps.delete(filtersOf);
    if (filters.length === 0) return;
    const compiled = filters.flatMap(({ expressionType, expression, bitPos }) => {
      const filter = this.#expressions.find(expressionType, expression)?.message;
      return filter === undefined ? [] : [{ filter, bitPos }];
    });
    this.#filters.set(filtersOf, compiled);
    this.#bitMaps.set(filtersOf, new Uint8Array(filters[0]!.bitNum / 8));
  }

  /** @returns position of the message's unit, which can be read after `flush` */
  add(
    topic: string,
    queueId: number,
    slot: number,
    queue: ConsumeQueue,
    tagsCode: number,
    storeTimeMs: number,
    bytes: Buffer,
    propertiesStart: number,
    propertiesEnd: number,
  ): number {
    let writer = this.#writers.get(slot);
    if (writer === undefined) {
      const { root, fileSize } = this.#files;
      const [first, end] = [this.#slots.minOffset(slot), this.#slots.maxOffset(slot)];
      const reader = new ConsumeQueue(this.#drive, queue.directory, queue.entriesPerFile * ENTRY_SIZE, false, {
        isMapped: false,
      });
      writer = new QueueExtWriter(this.#drive, queueDirectory(root, topic, queueId), fileSize, reader, first, end);
      reader.close();
      this.#writers.set(slot, writer);
    }
    const bitMap = this.#bitMaps.get(topic);
    if (bitMap !== undefined) {
      bitMap.fill(0);
      for (const { filter, bitPos } of this.#filters.get(topic)!) {
        if (!filter.matchesProperties(bytes, propertiesStart, propertiesEnd)) continue;
        for (const bit of bitPos) bitMap[bit >> 3]! |= 1 << (bit & 7);
      }
    }
    this.#pending.add(writer);
    return writer.add(tagsCode, storeTimeMs, bitMap);
  }

  /** Before anybody sees the entries. @throws MillraceError MILLRACE_STORE_FULL: what was added since the last call is lost */
  flush(): void {
    for (const writer of this.#pending) writer.flush();
    this.#pending.clear();
  }

  /** Gives up what was added since the last `flush`. */
  undo(): void {
    for (const writer of this.#pending) writer.undo();
    this.#pending.clear();
  }

  /** Their queues are gone. */
  forget(slots: Iterable<number>): void {
    for (const slot of slots) {
      this.#writers.get(slot)?.close();
      this.#writers.delete(slot);
    }
  }

  close(): void {
    this.forget([...this.#writers.keys()]);
  }
}
