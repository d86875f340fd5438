import { swap } from "../../base/wasm-text.ts";
import { PHYSICAL_OFFSET_OFFSET } from "../../format/record/message.ts";
import { NOTE_KEY_COUNT, NOTE_TAGS_CODE, NOTED_KEYS_MAX } from "../../format/record/record-notes.ts";

/*
 * Pieces of WebAssembly (base/wasm-text.ts) that the kernels of batches and of single sends share. Their locals have the
 * same names in both: $record is where the record begins, $keys the number of its keys so far, $hash a hash under way;
 * $i, $at, $b, $c, $d and $left hold nothing from one piece to the next.
 */

/** What copies move at once, bytes: so much may be written too much at their ends. */
export const VECTOR = 16;

/** The effect of one byte of the word `name` on the CRC, `table` more bytes following it. */
const slice = (tables: number, name: string, byte: number, table: number): string => {
  const shifted =
    byte === 0 ? `(i32.shl (local.get ${name}) (i32.const 2))` : `(i32.shr_u (local.get ${name}) (i32.const ${8 * byte - 2}))`;
  return `(i32.load offset=${tables + 1024 * table} (i32.and ${shifted} (i32.const 0x3fc)))`;
};

const slices = (tables: number, name: string, last: number): string =>
  `(i32.xor (i32.xor ${slice(tables, name, 0, last + 3)} ${slice(tables, name, 1, last + 2)})
            (i32.xor ${slice(tables, name, 2, last + 1)} ${slice(tables, name, 3, last)}))`;

/**
 * $crc of the $bodySize bytes at `from`, as records hold it.
 * @param tables  where the tables of base/crc32.ts stand
 */
export const bodyCrc = (tables: number, from: string): string => `
    (local.set $crc (i32.const -1))
    (local.set $at ${from})
    (local.set $left (local.get $bodySize))
    (block $noSixteen (loop $sixteen
      (br_if $noSixteen (i32.lt_u (local.get $left) (i32.const 16)))
      (local.set $crc (i32.xor (local.get $crc) (i32.load (local.get $at))))
      (local.set $b (i32.load offset=4 (local.get $at)))
      (local.set $c (i32.load offset=8 (local.get $at)))
      (local.set $d (i32.load offset=12 (local.get $at)))
      (local.set $crc (i32.xor
        (i32.xor (i32.xor ${slices(tables, "$b", 8)} ${slices(tables, "$c", 4)}) ${slices(tables, "$d", 0)})
        ${slices(tables, "$crc", 12)}))
      (local.set $at (i32.add (local.get $at) (i32.const 16)))
      (local.set $left (i32.sub (local.get $left) (i32.const 16)))
      (br $sixteen)))
    (block $noFour (loop $four
      (br_if $noFour (i32.lt_u (local.get $left) (i32.const 4)))
      (local.set $crc (i32.xor (local.get $crc) (i32.load (local.get $at))))
      (local.set $crc ${slices(tables, "$crc", 0)})
      (local.set $at (i32.add (local.get $at) (i32.const 4)))
      (local.set $left (i32.sub (local.get $left) (i32.const 4)))
      (br $four)))
    (block $noOne (loop $one
      (br_if $noOne (i32.eqz (local.get $left)))
      (local.set $b (i32.xor (local.get $crc) (i32.load8_u (local.get $at))))
      (local.set $crc (i32.xor (i32.shr_u (local.get $crc) (i32.const 8)) ${slice(tables, "$b", 0, 0)}))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (local.set $left (i32.sub (local.get $left) (i32.const 1)))
      (br $one)))
    (local.set $crc (i32.and (i32.xor (local.get $crc) (i32.const -1)) (i32.const 0x7fffffff)))`;

/** Copies `size` bytes and up to a vector more. */
export const copy = (name: string, from: string, to: string, size: string): string => `
  (local.set $i (i32.const 0))
  (loop $${name}
    (v128.store (i32.add ${to} (local.get $i)) (v128.load (i32.add ${from} (local.get $i))))
    (br_if $${name} (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const ${VECTOR}))) ${size})))`;

/** Enters $hash as the record's next key. $laterKeys: how much further on the notes from the third key on are. */
export const noteKey: string = `
  (if (i32.lt_u (local.get $keys) (i32.const ${NOTED_KEYS_MAX})) (then
    (local.set $at (i32.add (local.get $record) (i32.shl (local.get $keys) (i32.const 2))))
    (if (i32.ge_u (local.get $keys) (i32.const 2)) (then
      (local.set $at (i32.add (local.get $at) (local.get $laterKeys)))))
    (i32.store offset=${PHYSICAL_OFFSET_OFFSET} (local.get $at) ${swap("(local.get $hash)")})))
  (local.set $keys (i32.add (local.get $keys) (i32.const 1)))`;

/** Math.abs of a Java hash; of the smallest int, 0. */
export const keyHash: string = `
  (local.set $at (i32.shr_s (local.get $hash) (i32.const 31)))
  (local.set $hash (i32.and (i32.sub (i32.xor (local.get $hash) (local.get $at)) (local.get $at)) (i32.const 0x7fffffff)))`;

/** Goes on with $hash over the four characters of the word $b. */
export const hashFour: string = `
  (local.set $hash (i32.add
    (i32.add (i32.mul (local.get $hash) (i32.const 923521)) (i32.mul (i32.and (local.get $b) (i32.const 0xff)) (i32.const 29791)))
    (i32.add
      (i32.add (i32.mul (i32.and (i32.shr_u (local.get $b) (i32.const 8)) (i32.const 0xff)) (i32.const 961))
               (i32.mul (i32.and (i32.shr_u (local.get $b) (i32.const 16)) (i32.const 0xff)) (i32.const 31)))
      (i32.shr_u (local.get $b) (i32.const 24)))))`;

/** Notes the words of KEYS, which stand `place` bytes behind $to. */
export const noteWords = (place: string, size: string, seed: string): string => `
    (local.set $left ${size})
    (local.set $i (i32.add (local.get $to) ${place}))
    (block $noWord (loop $word
      (br_if $noWord (i32.eqz (local.get $left)))
      (if (i32.ne (i32.load8_u (local.get $i)) (i32.const 0x20)) (then
        (local.set $hash ${seed})
        (block $noLetter (loop $letter
          (br_if $noLetter (i32.eqz (local.get $left)))
          (local.set $b (i32.load8_u (local.get $i)))
          (br_if $noLetter (i32.eq (local.get $b) (i32.const 0x20)))
          (local.set $hash (i32.add (i32.mul (local.get $hash) (i32.const 31)) (local.get $b)))
          (local.set $i (i32.add (local.get $i) (i32.const 1)))
          (local.set $left (i32.sub (local.get $left) (i32.const 1)))
          (br $letter)))
        ${keyHash}
        ${noteKey}
        (br $word)))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (local.set $left (i32.sub (local.get $left) (i32.const 1)))
      (br $word)))`;

/** Notes the tags, and how many keys there were. */
export const noteRest = (hasTags: string, tagsHash: string, tagsCode: string): string => `
    (if ${hasTags} (then
      (local.set $hash ${tagsHash})
      ${noteKey}))
    (if (i32.gt_u (local.get $keys) (i32.const ${NOTED_KEYS_MAX})) (then (local.set $keys (i32.const -1))))
    (i32.store offset=${NOTE_TAGS_CODE} (local.get $record) ${swap(tagsCode)})
    (i32.store offset=${NOTE_KEY_COUNT} (local.get $record) ${swap("(local.get $keys)")})`;
