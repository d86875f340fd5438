import { createWasmMemory, type WasmMemory } from "../base/wasm.ts";

/**
 * A lane: the way of messages from one producer thread (an I/O worker, the control thread, an embedder)
 * to the log writer and of the acks back. Three single-producer single-consumer rings in one piece of
 * shared memory:
 *
 *   descriptors  32 bytes each: what to append              producer -> writer
 *   data         the records themselves, whole, contiguous  producer -> writer
 *   acks         32 bytes each: where it went               writer -> producer
 *
 * Records stand in their final on-disk form, so that the writer patches a few fields and then moves whole
 * runs of records with one copy.
 *
 * Memory order. Entries are written with plain stores and published by Atomics.store of the tail; a
 * consumer whose Atomics.load sees the tail sees the entries. Atomics.store of a head gives room back by
 * the same rule. Positions wrap at 2^32; only differences, cut by `| 0` or `>>> 0`, are compared.
 */
const CONTROL_SIZE = 1024;
const DESCRIPTOR_TAIL = 0; // Written by the producer only.
const DESCRIPTOR_HEAD = 32; // Written by the writer only; each on cache lines of its own.
const DATA_HEAD = 64; // Written by the writer only.
const ACK_TAIL = 96; // Written by the writer only.
const ACK_HEAD = 128; // Written by the producer only.

export const ENTRY_SIZE = 32;
const ENTRY_WORDS = 8;

/** Descriptor words. */
export const D_DATA_START = 0;
export const D_SIZE = 1;
export const D_TICKET = 2;
export const D_SLOT = 3;
export const D_COUNT = 4;
export const D_FLAGS = 5;
const D_HASH_LOW = 6;
const D_HASH_HIGH = 7;

/** Half messages and roll-backs: queueOffset stays 0 and the queue does not advance. */
export const APPEND_WITHOUT_QUEUE = 1;
/** The open fields of the records hold notes for the indexers (format/record/record-notes.ts). */
export const APPEND_NOTED = 2;
/**
 * Not stored if a message of the same key was stored within the window, whose length in seconds stands from bit
 * APPEND_WINDOW_SHIFT on; the hash of topic and key stands beside the flags.
 */
export const APPEND_ONCE = 4;
/**
 * One record that counts as `count` messages. Its last property is INNER_BASE, which the log writer fills
 * (format/files/batch-consume-queue.ts).
 */
export const APPEND_INNER_BATCH = 8;
/** One record that also goes to queues of other names, whose offsets the log writer notes in it (format/record/multi-dispatch.ts). */
export const APPEND_MULTI = 16;
export const APPEND_WINDOW_SHIFT = 5;
/** Longest window, s: it has 27 bits. */
export const APPEND_WINDOW_MAX: number = (1 << 27) - 1;

/** Ack words (int32) and cells (float64). */
export const A_TICKET = 0;
export const A_STATUS = 1;
export const A_QUEUE_OFFSET = 1;
export const A_PHYSICAL_OFFSET = 2;
const A_STORE_TIMESTAMP = 3;

export const ACK_OK = 0;
/** Refused: the disk has no space for it. */
export const ACK_STORE_FULL = 1;
/** Refused: the store has failed or is closing. */
export const ACK_STORE_UNAVAILABLE = 2;
/** Not stored again: the figures are those of the first message, with its queueId in place of the time. */
export const ACK_DUPLICATE = 3;
/** Refused: a disk watermark forbids writes. */
export const ACK_WATERMARK = 4;

export const RESERVE_FULL = -1;

/** Scratch memory of the log writer's WebAssembly, behind the producer's, bytes. */
export const WRITER_SCRATCH_SIZE = 2048;
const ALIGNMENT = 16;

/** When the data ring is empty and has run this far, it starts over: a small ring stays in the cache. */
const REWIND_SIZE = 512 * 1024;

export interface LaneSizes {
  /** Entries in the descriptor and ack rings; a power of two. */
  entryCount: number;
  /** Bytes in the data ring; a power of two, at least twice the largest record. */
  dataSize: number;
}

export interface LaneMemory {
  readonly buffer: SharedArrayBuffer;
  readonly entryCount: number;
  readonly dataSize: number;
  /** What `buffer` is of, where the lane has scratch memory. */
  readonly wasm?: WasmMemory;
  readonly scratchSize: number;
}

/** Memory behind a lane's data for WebAssembly of the producer's thread, which so reaches the data as well. */
export interface LaneScratch {
  readonly memory: WasmMemory;
  readonly entryCount: number;
  /** Where the lane's rings begin, its data, and the scratch memory. */
  readonly descriptorsAt: number;
  readonly acksAt: number;
  readonly dataAt: number;
  readonly at: number;
  readonly size: number;
  /** The log writer's own. */
  readonly writerAt: number;
}

/** @param scratchSize bytes; none where this runtime has no WebAssembly */
export function createLaneMemory({ entryCount, dataSize }: LaneSizes, scratchSize = 0): LaneMemory {
  const size = dataOffset(entryCount) + dataSize;
  const wasm = scratchSize > 0 ? createWasmMemory(size + scratchSize + ALIGNMENT + WRITER_SCRATCH_SIZE) : undefined;
  const buffer = wasm?.buffer ?? new SharedArrayBuffer(size);
  return { buffer, entryCount, dataSize, scratchSize: 0, ...(wasm === undefined ? {} : { wasm, scratchSize }) };
}

export function laneScratch({ wasm, entryCount, dataSize, scratchSize }: LaneMemory): LaneScratch | undefined {
  if (wasm === undefined) return undefined;
  const dataAt = dataOffset(entryCount);
  const acksAt = CONTROL_SIZE + entryCount * ENTRY_SIZE;
  const at = dataAt + dataSize;
  const writerAt = (at + scratchSize + ALIGNMENT - 1) & -ALIGNMENT;
  return { memory: wasm, entryCount, descriptorsAt: CONTROL_SIZE, acksAt, dataAt, at, size: scratchSize, writerAt };
}

function dataOffset(entryCount: number): number {
  return CONTROL_SIZE + 2 * entryCount * ENTRY_SIZE;
}

export function viewOf({ buffer, byteOffset, byteLength }: Buffer): DataView {
  return new DataView(buffer, byteOffset, byteLength);
}

class LaneView {
  readonly control: Int32Array;
  readonly descriptors: Int32Array;
  readonly ackWords: Int32Array;
  readonly ackCells: Float64Array;
  /** The data ring. */
  readonly data: Buffer;
  readonly entryMask: number;
  readonly dataMask: number;
  readonly dataSize: number;

  constructor({ buffer, entryCount, dataSize }: LaneMemory) {
    const ringSize = entryCount * ENTRY_SIZE;
    this.control = new Int32Array(buffer, 0, CONTROL_SIZE / 4);
    this.descriptors = new Int32Array(buffer, CONTROL_SIZE, ringSize / 4);
    this.ackWords = new Int32Array(buffer, CONTROL_SIZE + ringSize, ringSize / 4);
    this.ackCells = new Float64Array(buffer, CONTROL_SIZE + ringSize, ringSize / 8);
    this.data = Buffer.from(buffer, CONTROL_SIZE + 2 * ringSize, dataSize);
    this.entryMask = entryCount - 1;
    this.dataMask = dataSize - 1;
    this.dataSize = dataSize;
  }
}

/** The producer's end. One thread only. */
export class LaneProducer {
  readonly #view: LaneView;
  /** Where records are written, at the position that `reserve` returned. */
  readonly data: Buffer;
  #tail: number;
  #dataTail: number;
  #reservedAt = 0;
  #headSeen: number;
  #ackHead: number;
  /** Of the ack that `takeAck` returned. */
  ackStatus = 0;
  ackQueueOffset = 0;
  ackPhysicalOffset = 0;
  ackStoreTimestamp = 0;

  constructor(memory: LaneMemory) {
    this.#view = new LaneView(memory);
    this.data = this.#view.data;
    this.#tail = Atomics.load(this.#view.control, DESCRIPTOR_TAIL);
    this.#headSeen = Atomics.load(this.#view.control, DESCRIPTOR_HEAD);
    this.#dataTail = Atomics.load(this.#view.control, DATA_HEAD);
    this.#ackHead = Atomics.load(this.#view.control, ACK_HEAD);
  }

  /**
   * Room for one record (or batch) of at most `sizeMax` bytes.
   * @returns position in `data`, or RESERVE_FULL: publish, wait for acks, try again
   */
  reserve(sizeMax: number): number {
    const view = this.#view;
    if (((this.#tail - this.#headSeen) | 0) > view.entryMask) {
      this.#headSeen = Atomics.load(view.control, DESCRIPTOR_HEAD);
      if (((this.#tail - this.#headSeen) | 0) > view.entryMask) return RESERVE_FULL;
    }
    const head = Atomics.load(view.control, DATA_HEAD);
    const used = (this.#dataTail - head) >>> 0;
    const offset = this.#dataTail & view.dataMask;
    const isRewound = used === 0 && offset > REWIND_SIZE;
    const skip = isRewound || offset + sizeMax > view.dataSize ? view.dataSize - offset : 0;
    // An empty ring has nothing to overrun: what is skipped then counts as used until the writer has moved past it.
    if (used !== 0 && used + skip + sizeMax > view.dataSize) return RESERVE_FULL;
    this.#reservedAt = (this.#dataTail + skip) | 0;
    return this.#reservedAt & view.dataMask;
  }

  /** Hands over what was written at the reserved place. Visible to the writer after `publish`. */
  commit(size: number, ticket: number, slot: number, count: number, flags: number, hashLow = 0, hashHigh = 0): void {
    const view = this.#view;
    const at = (this.#tail & view.entryMask) * ENTRY_WORDS;
    const descriptors = view.descriptors;
    descriptors[at + D_DATA_START] = this.#reservedAt;
    descriptors[at + D_SIZE] = size;
    descriptors[at + D_TICKET] = ticket;
    descriptors[at + D_SLOT] = slot;
    descriptors[at + D_COUNT] = count;
    descriptors[at + D_FLAGS] = flags;
    descriptors[at + D_HASH_LOW] = hashLow;
    descriptors[at + D_HASH_HIGH] = hashHigh;
    this.#tail = (this.#tail + 1) | 0;
    this.#dataTail = (this.#reservedAt + size) | 0;
  }

  /** Position in the data, modulo 2^32, of the reserved place. */
  get reservedAt(): number {
    return this.#reservedAt;
  }

  /** Number of the next descriptor. */
  get nextDescriptor(): number {
    return this.#tail;
  }

  /** Descriptors that may be committed. */
  descriptorsFree(): number {
    this.#headSeen = Atomics.load(this.#view.control, DESCRIPTOR_HEAD);
    return this.#view.entryMask + 1 - ((this.#tail - this.#headSeen) | 0);
  }

  /** As `commit`, of descriptors written already, for so many records without gaps at the reserved place. */
  commitRun(count: number, size: number): void {
    this.#tail = (this.#tail + count) | 0;
    this.#dataTail = (this.#reservedAt + size) | 0;
  }

  /** Makes all commits visible; ring the writer's doorbell afterwards. Once a batch, not once a record. */
  publish(): void {
    Atomics.store(this.#view.control, DESCRIPTOR_TAIL, this.#tail);
  }

  /** Number of acks ready to be taken. */
  acksReady(): number {
    return (Atomics.load(this.#view.control, ACK_TAIL) - this.#ackHead) | 0;
  }

  /** Takes one of the `acksReady`. @returns its ticket; the other figures stand in the ack* fields */
  takeAck(): number {
    const view = this.#view;
    const entry = this.#ackHead & view.entryMask;
    const cell = entry * 4;
    this.ackStatus = view.ackWords[entry * ENTRY_WORDS + A_STATUS]!;
    this.ackQueueOffset = view.ackCells[cell + A_QUEUE_OFFSET]!;
    this.ackPhysicalOffset = view.ackCells[cell + A_PHYSICAL_OFFSET]!;
    this.ackStoreTimestamp = view.ackCells[cell + A_STORE_TIMESTAMP]!;
    this.#ackHead = (this.#ackHead + 1) | 0;
    return view.ackWords[entry * ENTRY_WORDS + A_TICKET]!;
  }

  /** Number of the next ack. */
  get nextAck(): number {
    return this.#ackHead;
  }

  /** Ticket of the ack that is so many behind the next one, which is ready. */
  ackTicket(behind: number): number {
    return this.#view.ackWords[((this.#ackHead + behind) & this.#view.entryMask) * ENTRY_WORDS + A_TICKET]!;
  }

  /** Takes so many acks, which the caller has looked at. */
  skipAcks(count: number): void {
    this.#ackHead = (this.#ackHead + count) | 0;
  }

  /** Gives the taken ack entries back. Once a batch. */
  releaseAcks(): void {
    Atomics.store(this.#view.control, ACK_HEAD, this.#ackHead);
  }
}

/**
 * Takes the acks that nobody waits for any more, after the producer's thread has ended; by one thread in its place.
 * @returns true when all that it published is acknowledged: a new producer may begin
 */
export function settleOrphan(memory: LaneMemory): boolean {
  const { control } = new LaneView(memory);
  const acked = Atomics.load(control, ACK_TAIL);
  Atomics.store(control, ACK_HEAD, acked);
  return acked === Atomics.load(control, DESCRIPTOR_TAIL); // One ack for each descriptor.
}

/** The log writer's end. One thread only. */
export class LaneConsumer {
  readonly #view: LaneView;
  readonly scratch: LaneScratch | undefined;
  /** Where the records stand. */
  data: Buffer;
  dataView: DataView;
  /** Bytes behind the last property of the record that `next` went to (see SealingLane). */
  tailSize = 0;
  #head: number;
  #tailSeen: number;
  #dataHead: number;
  #ackTail: number;
  /** How often `next` has looked for new descriptors: what it has gone to was published before the last look. */
  looks = 0;
  /** Of the descriptor that `next` went to. */
  dataStart = 0;
  size = 0;
  ticket = 0;
  slot = 0;
  count = 0;
  flags = 0;
  hashLow = 0;
  hashHigh = 0;

  constructor(memory: LaneMemory) {
    this.#view = new LaneView(memory);
    this.scratch = laneScratch(memory);
    this.data = this.#view.data;
    this.dataView = viewOf(this.data);
    this.#head = Atomics.load(this.#view.control, DESCRIPTOR_HEAD);
    this.#tailSeen = this.#head;
    this.#dataHead = Atomics.load(this.#view.control, DATA_HEAD);
    this.#ackTail = Atomics.load(this.#view.control, ACK_TAIL);
  }

  /** Goes to the next descriptor. @returns false when there is none now, or no room for its ack */
  next(): boolean {
    const view = this.#view;
    if (this.#head === this.#tailSeen) {
      this.#tailSeen = Atomics.load(view.control, DESCRIPTOR_TAIL);
      this.looks = (this.looks + 1) | 0;
      if (this.#head === this.#tailSeen) return false;
    }
    if (((this.#ackTail - Atomics.load(view.control, ACK_HEAD)) | 0) > view.entryMask) return false;
    const at = (this.#head & view.entryMask) * ENTRY_WORDS;
    const descriptors = view.descriptors;
    const dataStart = descriptors[at + D_DATA_START]!;
    this.dataStart = dataStart & view.dataMask;
    this.size = descriptors[at + D_SIZE]!;
    this.ticket = descriptors[at + D_TICKET]!;
    this.slot = descriptors[at + D_SLOT]!;
    this.count = descriptors[at + D_COUNT]!;
    this.flags = descriptors[at + D_FLAGS]!;
    this.hashLow = descriptors[at + D_HASH_LOW]!;
    this.hashHigh = descriptors[at + D_HASH_HIGH]!;
    this.#head = (this.#head + 1) | 0;
    this.#dataHead = (dataStart + this.size) | 0;
    return true;
  }

  /** Called when the size of a record that goes to further queues is known. @returns what it is with all that this lane adds */
  withTail(_start: number, size: number): number {
    return size;
  }

  /** Called when the open fields of the records in data[start, end) are filled, before they go into the log. */
  seal(_start: number, _end: number): void {
    // Nothing is left to do.
  }

  /** Writes the ack of one descriptor; visible after `publish`. In the order of the descriptors. */
  ack(ticket: number, status: number, queueOffset: number, physicalOffset: number, storeTimestamp: number): void {
    const view = this.#view;
    const entry = this.#ackTail & view.entryMask;
    const cell = entry * 4;
    view.ackWords[entry * ENTRY_WORDS + A_TICKET] = ticket;
    view.ackWords[entry * ENTRY_WORDS + A_STATUS] = status;
    view.ackCells[cell + A_QUEUE_OFFSET] = queueOffset;
    view.ackCells[cell + A_PHYSICAL_OFFSET] = physicalOffset;
    view.ackCells[cell + A_STORE_TIMESTAMP] = storeTimestamp;
    this.#ackTail = (this.#ackTail + 1) | 0;
  }

  /** Turns the last `count` acks, not yet published, into refusals. */
  refuseLast(count: number, status: number): void {
    for (let i = 1; i <= count; i++) {
      this.#view.ackWords[((this.#ackTail - i) & this.#view.entryMask) * ENTRY_WORDS + A_STATUS] = status;
    }
  }

  /** Gives the consumed entries and data back and makes the acks visible. Once a batch, after the copy into the log. */
  publish(): void {
    const { control } = this.#view;
    Atomics.store(control, DATA_HEAD, this.#dataHead);
    Atomics.store(control, DESCRIPTOR_HEAD, this.#head);
    Atomics.store(control, ACK_TAIL, this.#ackTail);
  }
}
