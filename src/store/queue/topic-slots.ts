import path from "node:path";
import { ByteMap } from "../../base/byte-map.ts";
import type { Drive } from "../../os/api.ts";
import { BatchConsumeQueue, batchFileSizeFor } from "./batch-consume-queue.ts";
import { ConsumeQueue, queueDirectory } from "./consume-queue.ts";
import { QueueExtReader } from "./queue-ext.ts";
import type { QueueSlots } from "./queue-slots.ts";

/** What the control thread tells the other threads about a topic's queues; slots[queueId] is the slot. */
export interface TopicSlotsUpdate {
  topic: string;
  /** Empty: the topic is gone. */
  slots: readonly number[];
  /** Its queues hold whole batches (queue.type=BatchCQ). */
  isBatch?: boolean;
}

/** One topic as a thread that reads or writes ConsumeQueues knows it. */
export interface TopicSlots {
  readonly topic: string;
  readonly key: Buffer;
  slots: readonly number[];
  isBatch?: boolean | undefined;
}

/** Where the queues of one kind lie, and the size of their files, bytes. */
export interface QueueFiles {
  root: string;
  fileSize: number;
}

/** What kind of queue a slot has. */
export const QUEUE_NONE = 0;
export const QUEUE_PLAIN = 1;
export const QUEUE_BATCH = 2;

/** Topics by name, and the ConsumeQueues of their slots, opened when first asked for. One instance a thread. */
export class TopicSlotsTable {
  readonly #byName = new ByteMap<TopicSlots>();
  readonly #queues: (ConsumeQueue | undefined)[] = [];
  /** By slot: whose it is. */
  readonly #owners: ({ topic: TopicSlots; queueId: number } | undefined)[] = [];
  readonly #drive: Drive;
  readonly #root: string;
  readonly #fileSize: number;
  readonly #writable: boolean;
  readonly #batch: QueueFiles;
  readonly #slots: QueueSlots | undefined;
  #kinds = new Uint8Array(1024);
  /** Where lies what entries point at, for a table whose queues' entries are read. Set before the first queue is opened. */
  ext: QueueFiles | undefined;

  /**
   * @param slots for readers: where the newest entries of plain queues are
   * @param batch of queues of whole batches; by default beside the others, with as many entries in a file
   */
  constructor(
    drive: Drive,
    root: string,
    fileSize: number,
    writable: boolean,
    batch: QueueFiles = { root: path.join(root, "..", "batchconsumequeue"), fileSize: batchFileSizeFor(fileSize) },
    slots?: QueueSlots,
  ) {
    this.#drive = drive;
    this.#root = root;
    this.#fileSize = fileSize;
    this.#writable = writable;
    this.#batch = batch;
    this.#slots = slots;
  }

  update({ topic, slots, isBatch }: TopicSlotsUpdate): void {
    const key = Buffer.from(topic);
    const known = this.#byName.get(key, 0, key.length);
    if (known !== undefined) {
      for (const slot of known.slots) if (!slots.includes(slot)) this.#forget(slot);
    }
    if (slots.length === 0) {
      this.#byName.delete(key);
      return;
    }
    const entry: TopicSlots = known ?? { topic, key, slots };
    entry.slots = slots;
    entry.isBatch = isBatch === true;
    if (known === undefined) this.#byName.set(key, entry);
    for (let queueId = 0; queueId < slots.length; queueId++) {
      this.#owners[slots[queueId]!] = { topic: entry, queueId };
      this.#setKind(slots[queueId]!, entry.isBatch ? QUEUE_BATCH : QUEUE_PLAIN);
    }
  }

  /** QUEUE_… */
  kindOf(slot: number): number {
    return slot < this.#kinds.length ? this.#kinds[slot]! : QUEUE_NONE;
  }

  #setKind(slot: number, kind: number): void {
    if (slot >= this.#kinds.length) {
      const kinds = new Uint8Array(2 ** Math.ceil(Math.log2(slot + 1)));
      kinds.set(this.#kinds);
      this.#kinds = kinds;
    }
    this.#kinds[slot] = kind;
  }

  get(bytes: Buffer, start: number, end: number): TopicSlots | undefined {
    return this.#byName.get(bytes, start, end);
  }

  queue(topic: TopicSlots, queueId: number): ConsumeQueue {
    const slot = topic.slots[queueId]!;
    let queue = this.#queues[slot];
    if (queue === undefined) {
      const { root, fileSize } = this.#batch;
      const slots = this.#slots;
      const tail = slots === undefined ? undefined : { slots, slot };
      const directory = queueDirectory(topic.isBatch === true ? root : this.#root, topic.topic, queueId);
      queue =
        topic.isBatch === true
          ? new BatchConsumeQueue(this.#drive, directory, fileSize, this.#writable)
          : new ConsumeQueue(this.#drive, directory, this.#fileSize, this.#writable, { tail });
      if (this.ext !== undefined && topic.isBatch !== true) {
        queue.ext = new QueueExtReader(this.#drive, queueDirectory(this.ext.root, topic.topic, queueId), this.ext.fileSize);
      }
      this.#queues[slot] = queue;
    }
    return queue;
  }

  /** The queue of the slot; undefined when its topic is gone. Slots are never given out again. */
  queueOfSlot(slot: number): ConsumeQueue | undefined {
    const queue = this.#queues[slot];
    if (queue !== undefined) return queue;
    const owner = this.#owners[slot];
    return owner === undefined ? undefined : this.queue(owner.topic, owner.queueId);
  }

  /** Closes files that hold no entry at or beyond what `minOffset` says of a slot. */
  forgetBelow(minOffset: (slot: number) => number): void {
    for (const [slot, queue] of this.#queues.entries()) queue?.forgetBelow(minOffset(slot));
  }

  static directory(storePath: string): string {
    return path.join(storePath, "consumequeue");
  }

  #forget(slot: number): void {
    this.#queues[slot]?.close();
    this.#queues[slot] = undefined;
    this.#owners[slot] = undefined;
    if (slot < this.#kinds.length) this.#kinds[slot] = QUEUE_NONE;
  }

  close(): void {
    for (const queue of this.#queues) queue?.close();
    this.#queues.length = 0;
  }
}
