import { CRC32_TABLES } from "../../base/crc32.ts";
import { instantiate } from "../../base/wasm.ts";
import { assemble, swap } from "../../base/wasm-text.ts";
import {
  BODY_CRC_OFFSET,
  BORN_HOST_OFFSET,
  BORN_TIMESTAMP_OFFSET,
  bornHostShift,
  FLAG_OFFSET,
  PHYSICAL_OFFSET_OFFSET,
  QUEUE_ID_OFFSET,
  STORE_TIMESTAMP_OFFSET_V4,
} from "../../format/record/message.ts";
import type { LaneScratch } from "../../ring/lane.ts";
import { bodyCrc, copy, hashFour, keyHash, noteKey, noteRest, noteWords, VECTOR } from "./kernel-text.ts";

/** Properties of a message that it can handle, bytes. */
const PATTERN_SIZE_MAX = 1024;
/** Messages that one call may make records of. */
const COUNT_MAX = 1024;

/** Where its figures stand in the scratch memory, bytes from its start. */
const TABLES_AT = 0;
const PATTERN_AT: number = TABLES_AT + 4 * CRC32_TABLES.length;
const FIXED_AT: number = PATTERN_AT + PATTERN_SIZE_MAX + VECTOR;
const SHAPE_AT: number = FIXED_AT + PATTERN_SIZE_MAX + VECTOR;
const RESULT_AT: number = SHAPE_AT + 128;
/** What precedes the body of records, and their topic with what stands around it. */
const HEAD_AT: number = RESULT_AT + 16;
const HEAD_SIZE_MAX = 128;
const TAIL_AT: number = HEAD_AT + HEAD_SIZE_MAX + VECTOR;
const TAIL_SIZE_MAX = 1024;
const SIZES_AT: number = TAIL_AT + TAIL_SIZE_MAX + VECTOR;
const INPUT_AT: number = SIZES_AT + 4 * COUNT_MAX;
/** Batches that are larger are left to JavaScript, bytes. */
const INPUT_SIZE = 4_194_304;
/** Scratch memory that it needs. Batches are read a little past their end. */
export const BATCH_KERNEL_SIZE: number = INPUT_AT + INPUT_SIZE + 2 * VECTOR;

const TWO_32 = 4_294_967_296;

/** A sub message of a batch: size, magic, bodyCrc, flag, bodySize, body, propertiesSize u16, properties. */
const SUB_FLAG = 12;
const SUB_BODY_SIZE = 16;
const SUB_BODY = 20;
const SUB_OVERHEAD = 22;

/** Words of the shape: what all records of a batch have in common. */
const SHAPE = [
  "first", // Where the record stands that the others are copies of.
  "headSize", // Of what precedes the body.
  "tail", // Where its topic stands, with the topic's size before and the properties' size behind.
  "tailSize",
  "propertiesSize",
  "keyAt", // Places in the properties.
  "keySize",
  "wordsAt",
  "wordsSize",
  "seed", // Of the key hashes.
  "hasTags",
  "tagsCode",
  "tagsHash",
  "laterKeys", // How much further on the key notes from the third one on are than the first two.
] as const;

/** @param base where the scratch memory begins */
const text = (base: number): string => `
;; Makes records of the sub messages from $sub to $end, at $record, as long as they are like the shape.
;; Returns how many; where it has stopped, and where the next record is, stand in the result.
(func $explode (param $sub i32) (param $end i32) (param $record i32) (result i32)
  ${SHAPE.map((name) => `(local $${name} i32)`).join(" ")}
  (local $count i32) (local $bodySize i32) (local $properties i32) (local $i i32) (local $at i32) (local $to i32)
  (local $crc i32) (local $b i32) (local $c i32) (local $d i32) (local $left i32) (local $hash i32) (local $keys i32)
  (local $v v128) (local $differs v128)
  ${SHAPE.map((name, i) => `(local.set $${name} (i32.load offset=${base + SHAPE_AT + 4 * i} (i32.const 0)))`).join("\n  ")}
  (block $done (loop $next
    (br_if $done (i32.ge_u (local.get $sub) (local.get $end)))
    (br_if $done (i32.ge_u (local.get $count) (i32.const ${COUNT_MAX})))
    (local.set $b (i32.load offset=${SUB_BODY_SIZE} (local.get $sub)))
    (local.set $bodySize ${swap("(local.get $b)")})
    (br_if $done (i32.lt_u (local.get $bodySize) (i32.const ${VECTOR})))
    (local.set $properties (i32.add (i32.add (local.get $sub) (local.get $bodySize)) (i32.const ${SUB_OVERHEAD})))
    (local.set $b (i32.load (local.get $sub)))
    (br_if $done (i32.ne ${swap("(local.get $b)")}
      (i32.add (i32.add (local.get $bodySize) (local.get $propertiesSize)) (i32.const ${SUB_OVERHEAD}))))

    ;; Properties: copied and compared at once. The last vector may overlap the one before.
    (local.set $to (i32.add (i32.add (local.get $record) (local.get $headSize)) (i32.add (local.get $bodySize) (local.get $tailSize))))
    (local.set $differs (i8x16.splat (i32.const 0)))
    (local.set $i (i32.const 0))
    (local.set $left (i32.sub (local.get $propertiesSize) (i32.const ${VECTOR})))
    (loop $compare
      (if (i32.gt_u (local.get $i) (local.get $left)) (then (local.set $i (local.get $left))))
      (local.set $v (v128.load (i32.add (local.get $properties) (local.get $i))))
      (v128.store (i32.add (local.get $to) (local.get $i)) (local.get $v))
      (local.set $differs (v128.or (local.get $differs) (v128.or
        (v128.and (v128.xor (local.get $v) (v128.load offset=${base + PATTERN_AT} (local.get $i)))
                  (v128.load offset=${base + FIXED_AT} (local.get $i)))
        ;; What is open is ASCII, and no control character: neither the end of a value nor more than one byte of UTF-8.
        (v128.andnot (i8x16.lt_s (local.get $v) (i8x16.splat (i32.const 0x20)))
                     (v128.load offset=${base + FIXED_AT} (local.get $i))))))
      (br_if $compare (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const ${VECTOR}))) (local.get $propertiesSize))))
    (br_if $done (v128.any_true (local.get $differs)))

    ;; From the back to the front each piece mends what the one before it wrote too much.
    ;; CRC of the body.
    ${bodyCrc(base + TABLES_AT, `(i32.add (local.get $sub) (i32.const ${SUB_BODY}))`)}

    ;; Head, body, topic: each covers what the one before wrote too much; what the topic writes too much are properties.
    (local.set $v (v128.load (local.get $to)))
    ${copy("head", "(local.get $first)", "(local.get $record)", "(local.get $headSize)")}
    (local.set $at (i32.add (local.get $record) (local.get $headSize)))
    ${copy("body", `(i32.add (local.get $sub) (i32.const ${SUB_BODY}))`, "(local.get $at)", "(local.get $bodySize)")}
    (local.set $at (i32.add (local.get $at) (local.get $bodySize)))
    ${copy("topic", "(local.get $tail)", "(local.get $at)", "(local.get $tailSize)")}
    (v128.store (local.get $to) (local.get $v))
    (i32.store16 (i32.sub (local.get $to) (i32.const 2)) (i32.load16_u (i32.sub (local.get $properties) (i32.const 2))))

    ;; What differs in the head.
    (local.set $b (i32.sub (i32.add (local.get $to) (local.get $propertiesSize)) (local.get $record)))
    (i32.store offset=${base + SIZES_AT} (i32.shl (local.get $count) (i32.const 2)) (local.get $b))
    (i32.store (local.get $record) ${swap("(local.get $b)")})
    (i32.store offset=${BODY_CRC_OFFSET} (local.get $record) ${swap("(local.get $crc)")})
    (i32.store offset=${FLAG_OFFSET} (local.get $record) (i32.load offset=${SUB_FLAG} (local.get $sub)))
    (i32.store (i32.sub (i32.add (local.get $record) (local.get $headSize)) (i32.const 4))
      (i32.load offset=${SUB_BODY_SIZE} (local.get $sub)))

    ;; Notes: key hashes.
    (local.set $keys (i32.const 0))
    (if (local.get $keySize) (then
      (local.set $hash (local.get $seed))
      (local.set $i (i32.add (local.get $to) (local.get $keyAt)))
      (local.set $left (local.get $keySize))
      (block $noFour (loop $four
        (br_if $noFour (i32.lt_u (local.get $left) (i32.const 4)))
        (local.set $b (i32.load (local.get $i)))
        ${hashFour}
        (local.set $i (i32.add (local.get $i) (i32.const 4)))
        (local.set $left (i32.sub (local.get $left) (i32.const 4)))
        (br $four)))
      (block $noOne (loop $one
        (br_if $noOne (i32.eqz (local.get $left)))
        (local.set $hash (i32.add (i32.mul (local.get $hash) (i32.const 31)) (i32.load8_u (local.get $i))))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (local.set $left (i32.sub (local.get $left) (i32.const 1)))
        (br $one)))
      ${keyHash}
      ${noteKey}))
    ${noteWords("(local.get $wordsAt)", "(local.get $wordsSize)", "(local.get $seed)")}
    ${noteRest("(local.get $hasTags)", "(local.get $tagsHash)", "(local.get $tagsCode)")}

    (local.set $record (i32.add (local.get $to) (local.get $propertiesSize)))
    (local.set $sub (i32.add (local.get $properties) (local.get $propertiesSize)))
    (local.set $count (i32.add (local.get $count) (i32.const 1)))
    (br $next)))
  (i32.store offset=${base + RESULT_AT} (i32.const 0) (local.get $sub))
  (i32.store offset=${base + RESULT_AT + 4} (i32.const 0) (local.get $record))
  (local.get $count))
`;

/**
 * Makes the records of a batch's messages from the second on, as `BatchTemplate` does, but 16 bytes at a time: copying and
 * the CRC are most of what a small message costs, and JavaScript has nothing wider than four bytes for them. It works in
 * the memory of the lane, behind which it keeps its figures and the batch. One instance a thread.
 */
export class BatchKernel {
  readonly #input: Buffer;
  readonly #base: number;
  readonly #dataAt: number;
  readonly #bytes: Uint8Array;
  readonly #words: Int32Array;
  readonly #view: DataView;
  readonly #explode: (sub: number, end: number, record: number) => number;
  /** Where the batch is that was loaded. */
  #batchAt = 0;
  /** After `explode`: where the next message is in the batch, and where the next record is in the lane. */
  sub = 0;
  record = 0;

  /** @returns undefined: this lane or this runtime has nothing for it */
  static over(scratch: LaneScratch | undefined): BatchKernel | undefined {
    if (scratch === undefined || scratch.size < BATCH_KERNEL_SIZE) return undefined;
    try {
      return new BatchKernel(scratch);
    } catch {
      return undefined; // No vectors: JavaScript does it.
    }
  }

  private constructor({ memory, dataAt, at }: LaneScratch) {
    const { buffer } = memory;
    this.#base = at;
    this.#dataAt = dataAt;
    this.#bytes = new Uint8Array(buffer);
    this.#words = new Int32Array(buffer, at, INPUT_AT / 4);
    this.#view = new DataView(buffer, at, INPUT_AT);
    this.#input = Buffer.from(buffer, at + INPUT_AT, INPUT_SIZE);
    this.#words.set(CRC32_TABLES, TABLES_AT / 4);
    this.#explode = instantiate(assemble(text(at), buffer.byteLength), memory)["explode"]!;
  }

  /**
   * Sets what the properties of messages must be like.
   * @param properties  of the record that the others are to be like: bytes[start, end)
   * @param open        as many bytes: 0xff where others may differ, else 0
   * @returns false: it cannot make records with such properties
   */
  setPattern(bytes: Buffer, start: number, end: number, open: Uint8Array): boolean {
    const size = end - start;
    if (size < VECTOR || size > PATTERN_SIZE_MAX) return false;
    const base = this.#base;
    this.#bytes.set(bytes.subarray(start, end), base + PATTERN_AT);
    for (let i = 0; i < size; i++) this.#bytes[base + FIXED_AT + i] = open[i]! ^ 0xff;
    return true;
  }

  /**
   * Sets what all records of a batch have in common.
   * @param first, tail  places in the lane's data: of the record that the others are copies of, and of its topic
   * @param keyAt        and the like: places in the properties
   * @param sysFlag      of the records
   */
  setShape(
    first: number,
    headSize: number,
    tail: number,
    tailSize: number,
    propertiesSize: number,
    keyAt: number,
    keySize: number,
    wordsAt: number,
    wordsSize: number,
    seed: number,
    hasTags: boolean,
    tagsCode: number,
    tagsHash: number,
    sysFlag: number,
  ): void {
    const words = this.#words;
    let at = SHAPE_AT / 4;
    words[at++] = this.#dataAt + first;
    words[at++] = headSize;
    words[at++] = this.#dataAt + tail;
    words[at++] = tailSize;
    words[at++] = propertiesSize;
    words[at++] = keyAt;
    words[at++] = keySize;
    words[at++] = wordsAt;
    words[at++] = wordsSize;
    words[at++] = seed;
    words[at++] = hasTags ? 1 : 0;
    words[at++] = tagsCode;
    words[at++] = tagsHash;
    words[at++] = STORE_TIMESTAMP_OFFSET_V4 + bornHostShift(sysFlag) - PHYSICAL_OFFSET_OFFSET - 8;
  }

  /**
   * Keeps the head and the topic of the record that the others are to be copies of, so that the next batch's first one can be one too.
   * @param record, tail  as of `setShape`, after that
   * @returns false: there is no room for them
   */
  keep(record: number, headSize: number, tail: number, tailSize: number): boolean {
    if (headSize > HEAD_SIZE_MAX || tailSize > TAIL_SIZE_MAX) return false;
    const base = this.#base;
    this.#bytes.copyWithin(base + HEAD_AT, this.#dataAt + record, this.#dataAt + record + headSize);
    this.#bytes.copyWithin(base + TAIL_AT, this.#dataAt + tail, this.#dataAt + tail + tailSize);
    this.#words[SHAPE_AT / 4] = base + HEAD_AT;
    this.#words[SHAPE_AT / 4 + 2] = base + TAIL_AT;
    return true;
  }

  /** Changes what the batches of one producer differ in, in the head that was kept. @param bornHost of the same size */
  setHead(queueId: number, bornTimestamp: number, bornHost: Buffer): void {
    const at = HEAD_AT;
    const view = this.#view;
    const high = Math.floor(bornTimestamp / TWO_32);
    view.setInt32(at + QUEUE_ID_OFFSET, queueId);
    view.setInt32(at + BORN_TIMESTAMP_OFFSET, high);
    view.setInt32(at + BORN_TIMESTAMP_OFFSET + 4, bornTimestamp - high * TWO_32);
    this.#bytes.set(bornHost, this.#base + at + BORN_HOST_OFFSET);
  }

  /** Takes a batch in: bytes[start, end). What stands in the lane's memory stays where it is. @returns false: it is too large */
  load(bytes: Buffer, start: number, end: number): boolean {
    if (bytes.buffer === this.#bytes.buffer) {
      this.#batchAt = bytes.byteOffset + start;
      return true;
    }
    if (end - start > INPUT_SIZE) return false;
    this.#batchAt = this.#base + INPUT_AT;
    bytes.copy(this.#input, 0, start, end);
    return true;
  }

  /**
   * Makes records of the sub messages [sub, end) of the batch, which are well formed, as far as they are like the shape.
   * @param record  where the first is to be in the lane's data
   * @returns how many there are; their sizes are `sizeOf(0)` …
   */
  explode(sub: number, end: number, record: number): number {
    const inputAt = this.#batchAt;
    const count = this.#explode(inputAt + sub, inputAt + end, this.#dataAt + record);
    this.sub = this.#words[RESULT_AT / 4]! - inputAt;
    this.record = this.#words[RESULT_AT / 4 + 1]! - this.#dataAt;
    return count;
  }

  sizeOf(index: number): number {
    return this.#words[SIZES_AT / 4 + index]!;
  }
}
