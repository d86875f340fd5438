import { instantiate } from "../../base/wasm.ts";
import { assemble, swap } from "../../base/wasm-text.ts";
import {
  PHYSICAL_OFFSET_OFFSET,
  QUEUE_OFFSET_OFFSET,
  STORE_TIMESTAMP_OFFSET_V4,
  SYS_FLAG_BORN_HOST_V6,
  SYS_FLAG_OFFSET,
} from "../../format/record/message.ts";
import { NOTE_KEY_COUNT, NOTE_TAGS_CODE, NOTED_KEYS_MAX } from "../../format/record/record-notes.ts";
import { type LaneConsumer, type LaneScratch, WRITER_SCRATCH_SIZE } from "../../ring/lane.ts";

/** Hashes that one call gives at most: what an entry of the key indexer's ring holds. */
export const RUN_HASHES_MAX = 240;

/** Words of its scratch memory: what all records of the run have in common, then the hashes. */
const SIZE = 0;
const TAGS_CODE = 1;
const KEY_COUNT = 2;
const HASHES = 4;
const SCRATCH_SIZE: number = 4 * (HASHES + RUN_HASHES_MAX);
const V6_SHIFT = 12;

const noted = (place: number): string => `
      (i32.store offset=${4 * place} (local.get $note) ${swap(`(i32.load offset=${PHYSICAL_OFFSET_OFFSET + 4 * place} (local.get $record))`)})`;
const notedLater = (place: number): string => `
      (i32.store offset=${4 * place} (local.get $note)
        ${swap(`(i32.load offset=${STORE_TIMESTAMP_OFFSET_V4 + 4 * (place - 2)} (local.get $later))`)})`;

/** @param at where the scratch memory begins */
const text = (at: number): string => `
;; Takes the notes out of at most $count records from $record on, as far as they are like the first, and fills their open fields.
;; Returns how many.
(func $fill (param $record i32) (param $count i32) (param $queueHigh i32) (param $queueLow i32)
  (param $physicalHigh i32) (param $physicalLow i32) (param $timeHigh i32) (param $timeLow i32) (result i32)
  (local $rawSize i32) (local $size i32) (local $rawTags i32) (local $rawKeys i32) (local $keys i32) (local $flags i32)
  (local $shift i32) (local $later i32) (local $note i32) (local $done i32)
  (local.set $rawSize (i32.load (local.get $record)))
  (local.set $size ${swap("(local.get $rawSize)")})
  (local.set $flags (i32.load8_u offset=${SYS_FLAG_OFFSET + 3} (local.get $record)))
  (if (i32.and (local.get $flags) (i32.const ${SYS_FLAG_BORN_HOST_V6})) (then (local.set $shift (i32.const ${V6_SHIFT}))))
  (local.set $rawTags (i32.load offset=${NOTE_TAGS_CODE} (local.get $record)))
  (local.set $rawKeys (i32.load offset=${NOTE_KEY_COUNT} (local.get $record)))
  (local.set $keys ${swap("(local.get $rawKeys)")})
  (local.set $queueHigh ${swap("(local.get $queueHigh)")})
  (local.set $physicalHigh ${swap("(local.get $physicalHigh)")})
  (local.set $timeHigh ${swap("(local.get $timeHigh)")})
  (local.set $timeLow ${swap("(local.get $timeLow)")})
  (i32.store offset=${at + 4 * SIZE} (i32.const 0) (local.get $size))
  (i32.store offset=${at + 4 * TAGS_CODE} (i32.const 0) ${swap("(local.get $rawTags)")})
  (i32.store offset=${at + 4 * KEY_COUNT} (i32.const 0) (local.get $keys))
  (local.set $note (i32.const ${at + 4 * HASHES}))
  (block $end (loop $next
    (br_if $end (i32.gt_u (local.get $keys) (i32.const ${NOTED_KEYS_MAX})))
    (br_if $end (i32.ge_u (local.get $done) (local.get $count)))
    (br_if $end (i32.ne (i32.load (local.get $record)) (local.get $rawSize)))
    (br_if $end (i32.ne (i32.load8_u offset=${SYS_FLAG_OFFSET + 3} (local.get $record)) (local.get $flags)))
    (br_if $end (i32.ne (i32.load offset=${NOTE_TAGS_CODE} (local.get $record)) (local.get $rawTags)))
    (br_if $end (i32.ne (i32.load offset=${NOTE_KEY_COUNT} (local.get $record)) (local.get $rawKeys)))
    (br_if $end (i32.gt_u (i32.add (local.get $note) (i32.shl (local.get $keys) (i32.const 2)))
                          (i32.const ${at + SCRATCH_SIZE})))
    (local.set $later (i32.add (local.get $record) (local.get $shift)))
    (if (i32.gt_u (local.get $keys) (i32.const 0)) (then ${noted(0)}
    (if (i32.gt_u (local.get $keys) (i32.const 1)) (then ${noted(1)}
    (if (i32.gt_u (local.get $keys) (i32.const 2)) (then ${notedLater(2)}
    (if (i32.gt_u (local.get $keys) (i32.const 3)) (then ${notedLater(3)}))))))))
    (local.set $note (i32.add (local.get $note) (i32.shl (local.get $keys) (i32.const 2))))
    (i32.store offset=${QUEUE_OFFSET_OFFSET} (local.get $record) (local.get $queueHigh))
    (i32.store offset=${QUEUE_OFFSET_OFFSET + 4} (local.get $record) ${swap("(local.get $queueLow)")})
    (i32.store offset=${PHYSICAL_OFFSET_OFFSET} (local.get $record) (local.get $physicalHigh))
    (i32.store offset=${PHYSICAL_OFFSET_OFFSET + 4} (local.get $record) ${swap("(local.get $physicalLow)")})
    (i32.store offset=${STORE_TIMESTAMP_OFFSET_V4} (local.get $later) (local.get $timeHigh))
    (i32.store offset=${STORE_TIMESTAMP_OFFSET_V4 + 4} (local.get $later) (local.get $timeLow))
    (local.set $queueLow (i32.add (local.get $queueLow) (i32.const 1)))
    (local.set $physicalLow (i32.add (local.get $physicalLow) (local.get $size)))
    (local.set $record (i32.add (local.get $record) (local.get $size)))
    (local.set $done (i32.add (local.get $done) (i32.const 1)))
    (br $next)))
  (local.get $done))
`;

/** As `RunKernel.fill`, by place in the memory instead of in the lane's data. */
type Fill = RunKernel["fill"];

/**
 * Does for the records of a batch what `CommitLog` does one by one: takes their notes and fills their open fields, as long as
 * they are of one size, tag and number of keys. One a lane, which must be in WebAssembly's memory. Log writer only.
 */
export class RunKernel {
  readonly #words: Int32Array;
  readonly #dataAt: number;
  readonly #fill: Fill;

  /** @returns undefined: this lane or this runtime has nothing for it */
  static over({ scratch, data }: LaneConsumer): RunKernel | undefined {
    if (scratch === undefined || data.buffer !== scratch.memory.buffer) return undefined; // SealingLane has the records elsewhere.
    try {
      return new RunKernel(scratch);
    } catch {
      return undefined;
    }
  }

  private constructor({ memory, dataAt, writerAt }: LaneScratch) {
    const { buffer } = memory;
    this.#dataAt = dataAt;
    this.#words = new Int32Array(buffer, writerAt, WRITER_SCRATCH_SIZE / 4);
    this.#fill = instantiate(assemble(text(writerAt), buffer.byteLength), memory)["fill"] as Fill;
  }

  /**
   * Fills records from data[at] on, at most `count`. The offsets are those of the first; the lower halves of none of them overflow.
   * @returns how many were like the first; 0: this one has more keys than are noted
   */
  fill(
    at: number,
    count: number,
    queueHigh: number,
    queueLow: number,
    physicalHigh: number,
    physicalLow: number,
    timeHigh: number,
    timeLow: number,
  ): number {
    return this.#fill(this.#dataAt + at, count, queueHigh, queueLow, physicalHigh, physicalLow, timeHigh, timeLow);
  }

  /** Of each of the records last filled, bytes; as are the next two. */
  get size(): number {
    return this.#words[SIZE]!;
  }

  get tagsCode(): number {
    return this.#words[TAGS_CODE]!;
  }

  get keyCount(): number {
    return this.#words[KEY_COUNT]!;
  }

  /** Key hash number `index` of all that were last filled. */
  hash(index: number): number {
    return this.#words[HASHES + index]!;
  }
}
