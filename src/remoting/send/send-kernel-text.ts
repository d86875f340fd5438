import { swap } from "../../base/wasm-text.ts";
import {
  BODY_CRC_OFFSET,
  BORN_HOST_OFFSET,
  BORN_TIMESTAMP_OFFSET,
  bodySizeOffset,
  PHYSICAL_OFFSET_OFFSET,
  QUEUE_ID_OFFSET,
  STORE_TIMESTAMP_OFFSET_V4,
} from "../../format/record/message.ts";
import { MEMO_COUNT, SENDER_STRIDE } from "../../format/remoting/header-memo.ts";
import * as lane from "../../ring/lane.ts";
import { bodyCrc, copy, hashFour, keyHash, noteKey, noteRest, noteWords, VECTOR } from "./kernel-text.ts";
import { topicQueueCount, topicSeed, topicSlots, topicsText } from "./kernel-topics.ts";
import { KEY_SIZE_MAX, ticketPlaces } from "./send-tickets.ts";

export { KEY_SIZE_MAX };

/** Only records whose hosts are IPv4: where their bodies begin. */
export const RECORD_HEAD_SIZE: number = bodySizeOffset(0) + 4;
export const HEADER_SIZE_MAX = 768;
export const TAIL_SIZE_MAX = 640;
/** From this size on native code is faster, in spite of what calling it costs, bytes. Measured by bench/micro/send-path.bench.ts. */
export const BODY_CRC_MAX = 640;

/** Words of a shape (see `SendShape`). */
export const SHAPE_WORDS = [
  "headerWord", // The header's type and size as frames have them.
  "headerSize",
  "bodyMax",
  "opaqueAt",
  "opaqueSize", // Digits; 0: four bytes of a binary header.
  "queueIdAt",
  "queueIdSize",
  "bornAt",
  "bornSize",
  "topicAt",
  "topicSize",
  "fixedSize", // Of the record without the body.
  "restSize", // Of what follows the body and the topic's name.
  "keyAt",
  "keySize",
  "rawKeyAt",
  "wordsAt",
  "wordsSize",
  "rawWordsAt",
  "hasTags",
  "tagsCode",
  "tagsFactor", // Of the topic's seed in the hash of the tags; what is added to that.
  "tagsHash",
  "oneway",
  "noWait",
] as const;
export type ShapeWord = (typeof SHAPE_WORDS)[number];

/** What follows the words. */
export const HEAD_AT = 128;
export const PATTERN_AT: number = HEAD_AT + 96;
export const FIXED_AT: number = PATTERN_AT + HEADER_SIZE_MAX;
export const REST_AT: number = FIXED_AT + HEADER_SIZE_MAX;
export const SHAPE_SIZE: number = REST_AT + TAIL_SIZE_MAX + VECTOR;

/** What answers are made of: words with the sizes of the start and the parts, the parts, the start. */
export const ANSWER_PART_MAX = 32;
export const ANSWER_PARTS_AT = 32;
export const ANSWER_START_AT: number = ANSWER_PARTS_AT + 4 * ANSWER_PART_MAX;
export const ANSWER_START_MAX = 768;
export const ANSWER_SHAPE_SIZE: number = ANSWER_START_AT + ANSWER_START_MAX + VECTOR;
/** Offset, parts, three numbers, key, brace, and a vector too much. */
export const ANSWER_REST_MAX: number = 16 + 4 * ANSWER_PART_MAX + 30 + KEY_SIZE_MAX + 1 + 2 * VECTOR;

/** Where the kernel's memory is, bytes from the start of it all. */
export interface KernelPlaces {
  tables: number;
  hexPairs: number;
  decimal: number;
  answer: number;
  result: number;
  /** Of the connection whose sends are being taken. */
  bornHost: number;
  shapes: number;
  topics: number;
  tickets: number;
}

export function hexOf(byte: number): string {
  return byte.toString(16).toUpperCase().padStart(2, "0");
}

const of = (name: ShapeWord): string => `(i32.load offset=${4 * SHAPE_WORDS.indexOf(name)} (local.get $shape))`;

/** Reads digits of the header at `at` into $value, or ends with $done. */
const digits = (name: string, at: ShapeWord, size: ShapeWord): string => `
  (local.set $value (i32.const 0))
  (local.set $i (i32.add (local.get $header) ${of(at)}))
  (local.set $left ${of(size)})
  (loop $${name}
    (local.set $b (i32.sub (i32.load8_u (local.get $i)) (i32.const 0x30)))
    (br_if $done (i32.gt_u (local.get $b) (i32.const 9)))
    (local.set $value (i32.add (i32.mul (local.get $value) (i32.const 10)) (local.get $b)))
    (local.set $i (i32.add (local.get $i) (i32.const 1)))
    (br_if $${name} (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))`;

/** Copies ${size} bytes exactly, by words and what is left. */
const copyExact = (name: string, size: string, alsoWord: string, alsoByte: string): string => `
  (local.set $left ${size})
  (block $no${name} (loop $${name}
    (br_if $no${name} (i32.lt_u (local.get $left) (i32.const 4)))
    (i32.store (local.get $target) (local.tee $b (i32.load (local.get $i))))
    ${alsoWord}
    (local.set $i (i32.add (local.get $i) (i32.const 4)))
    (local.set $target (i32.add (local.get $target) (i32.const 4)))
    (local.set $left (i32.sub (local.get $left) (i32.const 4)))
    (br $${name})))
  (block $no${name}Rest (loop $${name}Rest
    (br_if $no${name}Rest (i32.eqz (local.get $left)))
    (i32.store8 (local.get $target) (local.tee $b (i32.load8_u (local.get $i))))
    ${alsoByte}
    (local.set $i (i32.add (local.get $i) (i32.const 1)))
    (local.set $target (i32.add (local.get $target) (i32.const 1)))
    (local.set $left (i32.sub (local.get $left) (i32.const 1)))
    (br $${name}Rest)))`;

const vectors = (from: string, fromOffset: number, to: string, count: number): string =>
  Array.from(
    { length: count },
    (_, i) => `(v128.store offset=${VECTOR * i} ${to} (v128.load offset=${fromOffset + VECTOR * i} ${from}))`,
  ).join("\n  ");

const takeText = (places: KernelPlaces, descriptorsAt: number, entryCount: number): string => {
  const tickets = ticketPlaces(entryCount);
  const store = (kind: string, place: number, index: string, value: string): string =>
    `(${kind} offset=${places.tickets + place} ${index} ${value})`;
  const descriptor = (word: number, value: string): string =>
    `(i32.store offset=${descriptorsAt + 4 * word} (local.get $at4) ${value})`;
  return `
;; See SendKernel.take. $free is where the list of free tickets ends.
(func $take (param $at i32) (param $end i32) (param $record i32) (param $limit i32) (param $position i32)
  (param $descriptor i32) (param $max i32) (param $free i32) (param $owner i32) (result i32)
  (local $count i32) (local $header i32) (local $headerSize i32) (local $bodySize i32) (local $size i32) (local $frame i32)
  (local $i i32) (local $at4 i32) (local $b i32) (local $c i32) (local $d i32) (local $left i32) (local $value i32)
  (local $target i32) (local $to i32) (local $crc i32) (local $hash i32) (local $keys i32) (local $laterKeys i32)
  (local $ticket i32) (local $opaque i32) (local $queueId i32) (local $from i32) (local $topic i32) (local $seed i32)
  (local $tagsHash i32) (local $shape i32) (local $isMixed i32) (local $isLookedUp i32)
  (local $born i64) (local $v v128) (local $differs v128)
  (local.set $from (local.get $at))
  (local.set $laterKeys (i32.const ${STORE_TIMESTAMP_OFFSET_V4 - PHYSICAL_OFFSET_OFFSET - 8}))
  (block $done (loop $next
    (br_if $done (i32.ge_u (local.get $count) (local.get $max)))
    (local.set $left (i32.sub (local.get $end) (local.get $from)))
    (br_if $done (i32.lt_u (local.get $left) (i32.const 8)))
    (local.set $b (i32.load (local.get $from)))
    (local.set $frame ${swap("(local.get $b)")})
    (br_if $done (i32.gt_u (local.get $frame) (i32.sub (local.get $left) (i32.const 4))))
    (local.set $b (i32.load offset=4 (local.get $from)))
    (if (i32.or (i32.eqz (local.get $shape)) (i32.ne (local.get $b) ${of("headerWord")})) (then
      (br_if $done (i32.eqz (local.get $b)))
      ;; See memoPlace. Where there is none, or one of another size, the words differ.
      (local.set $c (i32.add ${swap("(local.get $b)")} (i32.mul (local.get $owner) (i32.const ${SENDER_STRIDE}))))
      (local.set $shape (i32.add (i32.const ${places.shapes})
        (i32.mul (i32.and (local.get $c) (i32.const ${MEMO_COUNT - 1})) (i32.const ${SHAPE_SIZE}))))
      (br_if $done (i32.ne (local.get $b) ${of("headerWord")}))
      (local.set $headerSize ${of("headerSize")})
      (local.set $topic (i32.const 0))
      (local.set $isMixed (i32.const 1))))
    (local.set $header (i32.add (local.get $from) (i32.const 8)))
    (local.set $bodySize (i32.sub (local.get $frame) (i32.add (local.get $headerSize) (i32.const 4))))
    (br_if $done (i32.ge_u (i32.sub (local.get $bodySize) (i32.const 1)) ${of("bodyMax")}))
    (local.set $size (i32.add (local.get $bodySize) ${of("fixedSize")}))
    (br_if $done (i32.gt_u (i32.add (i32.add (local.get $record) (local.get $size)) (i32.const ${2 * VECTOR})) (local.get $limit)))

    ;; The topic's name is part of the pattern: where topics take turns, it is put there first.
    (local.set $isLookedUp (local.get $isMixed))
    (if (local.get $isMixed) (then
      (local.set $i (i32.add (local.get $header) ${of("topicAt")}))
      (local.set $c (call $findTopic (local.get $i) ${of("topicSize")}))
      (br_if $done (i32.eqz (local.get $c)))
      (local.set $isMixed (i32.ne (local.get $c) (local.get $topic)))
      (if (local.get $isMixed) (then
        (local.set $topic (local.get $c))
        (local.set $seed ${topicSeed("(local.get $topic)")})
        (local.set $hash (i32.add (i32.mul (local.get $seed) ${of("tagsFactor")}) ${of("tagsHash")}))
        ${keyHash}
        (local.set $tagsHash (local.get $hash))
        (local.set $target (i32.add (local.get $shape) (i32.add (i32.const ${PATTERN_AT}) ${of("topicAt")})))
        ${copyExact("name", of("topicSize"), "", "")}))))

    ;; So is a binary opaque number, which may be anything.
    (if (i32.eqz ${of("opaqueSize")}) (then
      (local.set $i ${of("opaqueAt")})
      (local.set $b (i32.load (i32.add (local.get $header) (local.get $i))))
      (i32.store offset=${PATTERN_AT} (i32.add (local.get $shape) (local.get $i)) (local.get $b))))

    ;; The header is the shape's but for its open bytes, which are plain: no quote, backslash, control or more than ASCII.
    (local.set $differs (i8x16.splat (i32.const 0)))
    (local.set $i (i32.const 0))
    (local.set $left (i32.sub (local.get $headerSize) (i32.const ${VECTOR})))
    (loop $compare
      (if (i32.gt_u (local.get $i) (local.get $left)) (then (local.set $i (local.get $left))))
      (local.set $target (i32.add (local.get $shape) (local.get $i)))
      (local.set $v (v128.load (i32.add (local.get $header) (local.get $i))))
      (local.set $differs (v128.or (local.get $differs) (v128.or
        (v128.and (v128.xor (local.get $v) (v128.load offset=${PATTERN_AT} (local.get $target)))
                  (v128.load offset=${FIXED_AT} (local.get $target)))
        (v128.andnot
          (v128.or (i8x16.lt_s (local.get $v) (i8x16.splat (i32.const 0x20)))
            (v128.or (i8x16.eq (local.get $v) (i8x16.splat (i32.const 0x22)))
                     (i8x16.eq (local.get $v) (i8x16.splat (i32.const 0x5c)))))
          (v128.load offset=${FIXED_AT} (local.get $target))))))
      (br_if $compare (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const ${VECTOR}))) (local.get $headerSize))))
    (if (v128.any_true (local.get $differs)) (then
      (br_if $done (local.get $isLookedUp))
      (local.set $isMixed (i32.const 1))
      (br $next)))

    (local.set $b (i32.load (i32.add (local.get $header) ${of("opaqueAt")})))
    (local.set $value ${swap("(local.get $b)")})
    (if ${of("opaqueSize")} (then
      ${digits("opaqueDigit", "opaqueAt", "opaqueSize")}
      ;; JSON has no 01.
      (if (i32.eq (i32.load8_u (i32.add (local.get $header) ${of("opaqueAt")})) (i32.const 0x30)) (then
        (br_if $done (i32.gt_u ${of("opaqueSize")} (i32.const 1)))))))
    (local.set $opaque (local.get $value))
    ${digits("queueDigit", "queueIdAt", "queueIdSize")}
    (br_if $done (i32.ge_u (local.get $value) ${topicQueueCount("(local.get $topic)")}))
    (local.set $queueId (local.get $value))
    (local.set $born (i64.const 0))
    (local.set $i (i32.add (local.get $header) ${of("bornAt")}))
    (local.set $left ${of("bornSize")})
    (loop $bornDigit
      (local.set $b (i32.sub (i32.load8_u (local.get $i)) (i32.const 0x30)))
      (br_if $done (i32.gt_u (local.get $b) (i32.const 9)))
      (local.set $born (i64.add (i64.mul (local.get $born) (i64.const 10)) (i64.extend_i32_u (local.get $b))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $bornDigit (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))

    ;; The record; what a piece writes too much the next one covers.
    ${vectors("(local.get $shape)", HEAD_AT, "(local.get $record)", Math.ceil(RECORD_HEAD_SIZE / VECTOR))}
    (local.set $header (i32.add (local.get $header) (local.get $headerSize)))
    (local.set $target (i32.add (local.get $record) (i32.const ${RECORD_HEAD_SIZE})))
    ${copy("body", "(local.get $header)", "(local.get $target)", "(local.get $bodySize)")}
    (local.set $to (i32.add (local.get $target) (local.get $bodySize)))
    (local.set $d ${of("topicSize")})
    (i32.store8 (local.get $to) (local.get $d))
    (local.set $c (i32.add (local.get $from) (i32.add (i32.const 8) ${of("topicAt")})))
    (local.set $at (i32.add (local.get $to) (i32.const 1)))
    ${copy("topic", "(local.get $c)", "(local.get $at)", "(local.get $d)")}
    (local.set $at (i32.add (local.get $at) (local.get $d)))
    (local.set $target (i32.add (local.get $shape) (i32.const ${REST_AT})))
    ${copy("rest", "(local.get $target)", "(local.get $at)", of("restSize"))}
    (i32.store (local.get $record) ${swap("(local.get $size)")})
    (i32.store offset=${QUEUE_ID_OFFSET} (local.get $record) ${swap("(local.get $queueId)")})
    (local.set $b (i32.wrap_i64 (i64.shr_u (local.get $born) (i64.const 32))))
    (i32.store offset=${BORN_TIMESTAMP_OFFSET} (local.get $record) ${swap("(local.get $b)")})
    (local.set $b (i32.wrap_i64 (local.get $born)))
    (i32.store offset=${BORN_TIMESTAMP_OFFSET + 4} (local.get $record) ${swap("(local.get $b)")})
    (i32.store offset=${BORN_HOST_OFFSET} (local.get $record) (i32.load offset=${places.bornHost} (i32.const 0)))
    (i32.store offset=${BORN_HOST_OFFSET + 4} (local.get $record) (i32.load offset=${places.bornHost + 4} (i32.const 0)))
    (i32.store offset=${RECORD_HEAD_SIZE - 4} (local.get $record) ${swap("(local.get $bodySize)")})
    (if (i32.lt_u (local.get $bodySize) (i32.const ${BODY_CRC_MAX})) (then
      ${bodyCrc(places.tables, "(local.get $header)")}
      (i32.store offset=${BODY_CRC_OFFSET} (local.get $record) ${swap("(local.get $crc)")})))
    (local.set $header (i32.sub (local.get $header) (local.get $headerSize)))

    ;; The ticket, with the unique key, which is hashed on its way.
    (local.set $count (i32.add (local.get $count) (i32.const 1)))
    (local.set $ticket (i32.load (i32.sub (local.get $free) (i32.shl (local.get $count) (i32.const 2)))))
    (local.set $i (i32.add (local.get $header) ${of("rawKeyAt")}))
    (local.set $c (i32.shl (local.get $ticket) (i32.const 7)))
    (local.set $target (i32.add (local.get $to) ${of("keyAt")}))
    (local.set $hash (local.get $seed))
    ${copyExact(
      "key",
      of("keySize"),
      `${store("i32.store", tickets.keys, "(local.get $c)", "(local.get $b)")}
       (local.set $c (i32.add (local.get $c) (i32.const 4)))
       ${hashFour}`,
      `${store("i32.store8", tickets.keys, "(local.get $c)", "(local.get $b)")}
       (local.set $c (i32.add (local.get $c) (i32.const 1)))
       (local.set $hash (i32.add (i32.mul (local.get $hash) (i32.const 31)) (local.get $b)))`,
    )}
    (local.set $i (i32.shl (local.get $ticket) (i32.const 2)))
    ${store("i32.store", tickets.opaques, "(local.get $i)", "(local.get $opaque)")}
    ${store("i32.store", tickets.queueIds, "(local.get $i)", "(local.get $queueId)")}
    ${store("i32.store", tickets.owners, "(local.get $i)", "(local.get $owner)")}
    ${store("i32.store8", tickets.oneways, "(local.get $ticket)", of("oneway"))}
    ${store("i32.store8", tickets.noWaits, "(local.get $ticket)", of("noWait"))}
    ${store("i32.store8", tickets.innerBatches, "(local.get $ticket)", "(i32.const 0)")}
    ${store("i32.store8", tickets.keySizes, "(local.get $ticket)", of("keySize"))}
    ${store("i32.store8", tickets.plainKeys, "(local.get $ticket)", "(i32.const 1)")}

    ;; Notes for the indexers.
    (local.set $keys (i32.const 0))
    ${keyHash}
    ${noteKey}
    (if ${of("wordsSize")} (then
      (local.set $i (i32.add (local.get $header) ${of("rawWordsAt")}))
      (local.set $target (i32.add (local.get $to) ${of("wordsAt")}))
      ${copyExact("words", of("wordsSize"), "", "")}
      ${noteWords(of("wordsAt"), of("wordsSize"), "(local.get $seed)")}))
    ${noteRest(of("hasTags"), "(local.get $tagsHash)", of("tagsCode"))}

    ;; The descriptor.
    (local.set $at4 (i32.mul (i32.and (local.get $descriptor) (i32.const ${entryCount - 1})) (i32.const ${lane.ENTRY_SIZE})))
    ${descriptor(lane.D_DATA_START, "(local.get $position)")}
    ${descriptor(lane.D_SIZE, "(local.get $size)")}
    ${descriptor(lane.D_TICKET, "(local.get $ticket)")}
    (local.set $i (i32.add ${topicSlots("(local.get $topic)")} (i32.shl (local.get $queueId) (i32.const 2))))
    ${descriptor(lane.D_SLOT, "(i32.load (local.get $i))")}
    ${descriptor(lane.D_COUNT, "(i32.const 1)")}
    ${descriptor(lane.D_FLAGS, `(i32.const ${lane.APPEND_NOTED})`)}
    (local.set $descriptor (i32.add (local.get $descriptor) (i32.const 1)))
    (local.set $position (i32.add (local.get $position) (local.get $size)))
    (local.set $record (i32.add (local.get $record) (local.get $size)))
    (local.set $from (i32.add (local.get $from) (i32.add (local.get $frame) (i32.const 4))))
    (br $next)))
  (i32.store offset=${places.result} (i32.const 0) (local.get $from))
  (i32.store offset=${places.result + 4} (i32.const 0) (local.get $record))
  (local.get $count))
`;
};

const answerText = (places: KernelPlaces, acksAt: number, entryCount: number): string => {
  const tickets = ticketPlaces(entryCount);
  const ticketWord = (place: number): string => `(i32.load offset=${places.tickets + place} (local.get $words))`;
  const ticketByte = (place: number): string => `(i32.load8_u offset=${places.tickets + place} (local.get $ticket))`;
  const part = (index: number, vectorCount: number): string => `
    ${vectors("(i32.const 0)", places.answer + ANSWER_PARTS_AT + index * ANSWER_PART_MAX, "(local.get $out)", vectorCount)}
    (local.set $out (i32.add (local.get $out) (i32.load offset=${places.answer + 4 + 4 * index} (i32.const 0))))`;
  const hex = (half: string, at: number): string =>
    [0, 1, 2, 3]
      .map((byte) => {
        // Twice the byte's value.
        const index = byte === 3 ? `(i32.shl ${half} (i32.const 1))` : `(i32.shr_u ${half} (i32.const ${23 - 8 * byte}))`;
        const pair = `(i32.load16_u offset=${places.hexPairs} (i32.and ${index} (i32.const 0x1fe)))`;
        return `(i32.store16 offset=${at + 2 * byte} (local.get $out) ${pair})`;
      })
      .join("\n    ");
  return `
;; Writes a number at $to. Returns where it ends.
(func $decimal (param $to i32) (param $value i32) (result i32) (local $at i32) (local $tenth i32)
  (local.set $at (i32.const ${places.decimal + VECTOR}))
  (loop $digit
    (local.set $at (i32.sub (local.get $at) (i32.const 1)))
    (local.set $tenth (i32.div_u (local.get $value) (i32.const 10)))
    (i32.store8 (local.get $at)
      (i32.add (i32.const 0x30) (i32.sub (local.get $value) (i32.mul (local.get $tenth) (i32.const 10)))))
    (br_if $digit (local.tee $value (local.get $tenth))))
  (v128.store (local.get $to) (v128.load (local.get $at)))
  (i32.add (local.get $to) (i32.sub (i32.const ${places.decimal + VECTOR}) (local.get $at))))

;; See SendKernel.answer. $free is where the list of free tickets ends.
(func $answer (param $entry i32) (param $max i32) (param $out i32) (param $limit i32) (param $free i32) (param $owner i32)
  (result i32)
  (local $count i32) (local $ack i32) (local $ticket i32) (local $words i32) (local $opaque i32) (local $start i32)
  (local $i i32) (local $from i32) (local $b i32) (local $queueOffset i64) (local $physicalOffset i64)
  (block $done (loop $next
    (br_if $done (i32.ge_u (local.get $count) (local.get $max)))
    (br_if $done (i32.gt_u (local.get $out) (local.get $limit)))
    (local.set $ack (i32.mul (i32.and (local.get $entry) (i32.const ${entryCount - 1})) (i32.const ${lane.ENTRY_SIZE})))
    (br_if $done (i32.ne (i32.load offset=${acksAt + 4 * lane.A_STATUS} (local.get $ack)) (i32.const ${lane.ACK_OK})))
    (local.set $ticket (i32.load offset=${acksAt + 4 * lane.A_TICKET} (local.get $ack)))
    (local.set $words (i32.shl (local.get $ticket) (i32.const 2)))
    (br_if $done (i32.ne ${ticketWord(tickets.owners)} (local.get $owner)))
    (br_if $done (i32.or ${ticketWord(tickets.batchCounts)} ${ticketByte(tickets.innerBatches)}))
    (br_if $done (i32.eqz ${ticketByte(tickets.plainKeys)}))
    (local.set $opaque ${ticketWord(tickets.opaques)})
    (br_if $done (i32.shr_u (local.get $opaque) (i32.const 31)))
    (local.set $queueOffset (i64.trunc_sat_f64_u (f64.load offset=${acksAt + 8 * lane.A_QUEUE_OFFSET} (local.get $ack))))
    (br_if $done (i32.wrap_i64 (i64.shr_u (local.get $queueOffset) (i64.const 32))))
    (local.set $physicalOffset (i64.trunc_sat_f64_u (f64.load offset=${acksAt + 8 * lane.A_PHYSICAL_OFFSET} (local.get $ack))))
    (if (i32.eqz ${ticketByte(tickets.oneways)}) (then
      (local.set $start (local.get $out))
      (local.set $from (i32.const ${places.answer + ANSWER_START_AT}))
      ${copy("head", "(local.get $from)", "(local.get $out)", `(i32.load offset=${places.answer} (i32.const 0))`)}
      (local.set $out (i32.add (local.get $out) (i32.load offset=${places.answer} (i32.const 0))))
      (local.set $b (i32.wrap_i64 (i64.shr_u (local.get $physicalOffset) (i64.const 32))))
      ${hex("(local.get $b)", 0)}
      (local.set $b (i32.wrap_i64 (local.get $physicalOffset)))
      ${hex("(local.get $b)", 8)}
      (local.set $out (i32.add (local.get $out) (i32.const 16)))
      ${part(0, 1)}
      (local.set $out (call $decimal (local.get $out) ${ticketWord(tickets.queueIds)}))
      ${part(1, 2)}
      (local.set $out (call $decimal (local.get $out) (i32.wrap_i64 (local.get $queueOffset))))
      ${part(2, 2)}
      (local.set $from (i32.add (i32.const ${places.tickets + tickets.keys}) (i32.shl (local.get $ticket) (i32.const 7))))
      ${copy("key", "(local.get $from)", "(local.get $out)", ticketByte(tickets.keySizes))}
      (local.set $out (i32.add (local.get $out) ${ticketByte(tickets.keySizes)}))
      ${part(3, 2)}
      (local.set $out (call $decimal (local.get $out) (local.get $opaque)))
      (i32.store8 (local.get $out) (i32.const 0x7d))
      (local.set $out (i32.add (local.get $out) (i32.const 1)))
      (local.set $b (i32.sub (i32.sub (local.get $out) (local.get $start)) (i32.const 4)))
      (i32.store (local.get $start) ${swap("(local.get $b)")})
      (local.set $b (i32.sub (local.get $b) (i32.const 4)))
      (i32.store offset=4 (local.get $start) ${swap("(local.get $b)")})))
    (i32.store (local.get $free) (local.get $ticket))
    (local.set $free (i32.add (local.get $free) (i32.const 4)))
    (local.set $entry (i32.add (local.get $entry) (i32.const 1)))
    (local.set $count (i32.add (local.get $count) (i32.const 1)))
    (br $next)))
  (i32.store offset=${places.result} (i32.const 0) (local.get $out))
  (local.get $count))
`;
};

/** All functions, for a lane with so many entries whose rings stand at these places. */
export function kernelText(places: KernelPlaces, descriptorsAt: number, acksAt: number, entryCount: number): string {
  return topicsText(places.topics) + takeText(places, descriptorsAt, entryCount) + answerText(places, acksAt, entryCount);
}
