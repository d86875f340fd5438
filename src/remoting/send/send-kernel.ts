import { CRC32_TABLES } from "../../base/crc32.ts";
import { instantiate } from "../../base/wasm.ts";
import { assemble } from "../../base/wasm-text.ts";
import type { TagsHash } from "../../format/files/index-file.ts";
import { MEMO_COUNT } from "../../format/remoting/header-memo.ts";
import { SERIALIZE_JSON, SERIALIZE_ROCKETMQ } from "../../format/remoting/remoting-frame.ts";
import type { LaneScratch } from "../../ring/lane.ts";
import { VECTOR } from "./kernel-text.ts";
import { KernelTopics, TOPICS_SIZE_DEFAULT, topicsSize } from "./kernel-topics.ts";
import * as text from "./send-kernel-text.ts";
import { ticketPlaces } from "./send-tickets.ts";

/** Most bytes that one read takes from a socket. */
export const INPUT_SIZE = 262_144;
/** Answers that one call may write, bytes. */
const OUTPUT_SIZE = 131_072;

/** Scratch memory that it needs for a lane of so many entries. @param topicsMax bytes for what it knows of topics */
export function sendKernelSize(entryCount: number, topicsMax: number = TOPICS_SIZE_DEFAULT): number {
  return placesOf(0, entryCount, topicsMax).end + VECTOR; // It begins at a multiple of VECTOR.
}

interface Places extends text.KernelPlaces {
  input: number;
  output: number;
  end: number;
}

/** @param at a multiple of 16 */
function placesOf(at: number, entryCount: number, topicsMax: number): Places {
  const tables = at;
  const hexPairs = tables + 4 * CRC32_TABLES.length;
  const decimal = hexPairs + 512;
  const answer = decimal + 32;
  const result = answer + text.ANSWER_SHAPE_SIZE;
  const bornHost = result + 8;
  const shapes = result + 16;
  const topics = shapes + MEMO_COUNT * text.SHAPE_SIZE;
  const tickets = topics + topicsSize(topicsMax);
  const output = tickets + ticketPlaces(entryCount).size;
  const input = output + OUTPUT_SIZE;
  const end = input + INPUT_SIZE + 2 * VECTOR;
  return { tables, hexPairs, decimal, answer, result, bornHost, shapes, topics, tickets, output, input, end };
}

/** What the kernel is to know of sends with like headers (format/remoting/header-memo.ts) and of their records. */
export interface SendShape {
  header: { view: DataView; at: number; size: number; open: Uint8Array };
  /** The header is binary: then its opaque number is four bytes, else digits. */
  isBinary: boolean;
  /** Places in the header, bytes. */
  opaqueAt: number;
  opaqueSize: number;
  queueIdAt: number;
  queueIdSize: number;
  bornTimestampAt: number;
  bornTimestampSize: number;
  topicAt: number;
  topicSize: number;
  rawKeyAt: number;
  rawWordsAt: number;
  /** A record of such a send, in the lane's data. */
  record: number;
  bodySize: number;
  recordSize: number;
  /** Places behind the body. */
  keyAt: number;
  keySize: number;
  wordsAt: number;
  wordsSize: number;
  hasTags: boolean;
  tagsCode: number;
  tagsHash: TagsHash;
  isOneway: boolean;
  isNoWait: boolean;
  maxMessageSize: number;
}

/**
 * Does in WebAssembly what `SendPath` does for a single send whose header was recognised, and `SendAnswers` for its answer,
 * for as many as there are in what was read from a socket: one call a read instead of some dozens a message. What it does
 * not know stays where it is, and is taken as ever. It works in the memory of the lane: descriptors, records and acks are
 * the lane's own, and tickets and what is read from sockets stand behind them. One instance a thread.
 */
export class SendKernel {
  /** What sockets are to be read into: elsewhere it takes nothing. */
  readonly input: Buffer;
  /** The answers last made stand in output[0, outputSize). */
  readonly output: Buffer;
  outputSize = 0;
  /** After `take`: where in the input it has stopped, and in the lane's data. */
  stoppedAt = 0;
  recordsEnd = 0;
  readonly topics: KernelTopics;
  readonly tickets: { buffer: SharedArrayBuffer; at: number };
  readonly #places: Places;
  readonly #dataAt: number;
  readonly #entryMask: number;
  readonly #bytes: Buffer;
  readonly #words: Int32Array;
  readonly #take: (...figures: number[]) => number;
  readonly #answer: (...figures: number[]) => number;
  #answerSizeMax = 0;

  /**
   * @param from       where in the scratch memory it may begin
   * @param topicsMax  as of `sendKernelSize`
   * @returns undefined: this lane or this runtime has nothing for it
   */
  static over(scratch: LaneScratch | undefined, from: number, topicsMax: number = TOPICS_SIZE_DEFAULT): SendKernel | undefined {
    if (scratch === undefined || scratch.size < from + sendKernelSize(scratch.entryCount, topicsMax)) return undefined;
    try {
      return new SendKernel(scratch, (scratch.at + from + VECTOR - 1) & -VECTOR, topicsMax);
    } catch {
      return undefined; // No vectors: JavaScript does it.
    }
  }

  private constructor(scratch: LaneScratch, at: number, topicsMax: number) {
    const { memory, entryCount } = scratch;
    const { buffer } = memory;
    const places = placesOf(at, entryCount, topicsMax);
    this.#places = places;
    this.#dataAt = scratch.dataAt;
    this.#entryMask = entryCount - 1;
    this.#bytes = Buffer.from(buffer);
    this.#words = new Int32Array(buffer);
    this.#words.set(CRC32_TABLES, places.tables / 4);
    for (let byte = 0; byte < 256; byte++) this.#bytes.write(text.hexOf(byte), places.hexPairs + 2 * byte, "latin1");
    this.#words.fill(0, places.shapes / 4, places.topics / 4); // As with topics: shapes of an I/O worker that ended.
    this.topics = new KernelTopics(buffer, places.topics, topicsMax);
    this.tickets = { buffer, at: places.tickets };
    this.input = Buffer.from(buffer, places.input, INPUT_SIZE);
    this.output = Buffer.from(buffer, places.output, OUTPUT_SIZE);
    const program = text.kernelText(places, scratch.descriptorsAt, scratch.acksAt, entryCount);
    const { take, answer } = instantiate(assemble(program, buffer.byteLength), memory);
    this.#take = take!;
    this.#answer = answer!;
  }

  /**
   * @param start  of every answer, up to the offset in its message id
   * @param parts  what precedes queueId, queueOffset, transactionId and opaque
   * @returns false: it is more than it has room for
   */
  setAnswer(start: Buffer, parts: readonly Buffer[]): boolean {
    const at = this.#places.answer;
    if (start.length > text.ANSWER_START_MAX) return false;
    this.#words[at / 4] = start.length;
    for (const [i, part] of parts.entries()) {
      if (part.length > text.ANSWER_PART_MAX) return false;
      this.#words[at / 4 + 1 + i] = part.length;
      part.copy(this.#bytes, at + text.ANSWER_PARTS_AT + i * text.ANSWER_PART_MAX);
    }
    start.copy(this.#bytes, at + text.ANSWER_START_AT);
    this.#answerSizeMax = start.length + text.ANSWER_REST_MAX;
    return true;
  }

  /**
   * Remembers a shape in the place of its header (`memoPlace`), instead of the one there.
   * @returns false: it has something that the kernel cannot do
   */
  learn(place: number, shape: SendShape): boolean {
    const { header } = shape;
    const bodyAt = shape.record + text.RECORD_HEAD_SIZE;
    const tailSize = shape.recordSize - shape.bodySize - text.RECORD_HEAD_SIZE;
    const restAt = 1 + shape.topicSize;
    if (header.size < VECTOR || header.size > text.HEADER_SIZE_MAX || tailSize > text.TAIL_SIZE_MAX) return false;
    if (!(shape.opaqueSize >= 1 && shape.opaqueSize <= 15 && shape.queueIdSize >= 1 && shape.queueIdSize <= 9)) return false;
    if (!(shape.bornTimestampSize >= 1 && shape.bornTimestampSize <= 15) || shape.keySize > text.KEY_SIZE_MAX) return false;
    const at = this.#places.shapes + place * text.SHAPE_SIZE;
    const word = (name: text.ShapeWord, value: number): void => {
      this.#words[at / 4 + text.SHAPE_WORDS.indexOf(name)] = value;
    };
    const type = shape.isBinary ? SERIALIZE_ROCKETMQ : SERIALIZE_JSON;
    this.#bytes.writeUInt32BE((type << 24) | header.size, at); // As it stands in frames.
    word("headerSize", header.size);
    word("bodyMax", shape.maxMessageSize);
    word("opaqueAt", shape.opaqueAt);
    word("opaqueSize", shape.isBinary ? 0 : shape.opaqueSize);
    word("queueIdAt", shape.queueIdAt);
    word("queueIdSize", shape.queueIdSize);
    word("bornAt", shape.bornTimestampAt);
    word("bornSize", shape.bornTimestampSize);
    word("topicAt", shape.topicAt);
    word("topicSize", shape.topicSize);
    word("fixedSize", shape.recordSize - shape.bodySize);
    word("restSize", tailSize - restAt);
    word("keyAt", shape.keyAt);
    word("keySize", shape.keySize);
    word("rawKeyAt", shape.rawKeyAt);
    word("wordsAt", shape.wordsAt);
    word("wordsSize", shape.wordsSize);
    word("rawWordsAt", shape.rawWordsAt);
    word("hasTags", shape.hasTags ? 1 : 0);
    word("tagsCode", shape.tagsCode);
    word("tagsFactor", shape.tagsHash.factor);
    word("tagsHash", shape.tagsHash.rest);
    word("oneway", shape.isOneway ? 1 : 0);
    word("noWait", shape.isNoWait ? 1 : 0);
    const bytes = this.#bytes;
    bytes.copyWithin(at + text.HEAD_AT, this.#dataAt + shape.record, this.#dataAt + bodyAt);
    const tailAt = this.#dataAt + bodyAt + shape.bodySize;
    bytes.copyWithin(at + text.REST_AT, tailAt + restAt, tailAt + tailSize);
    for (let i = 0; i < header.size; i++) {
      bytes[at + text.PATTERN_AT + i] = header.view.getUint8(header.at + i);
      bytes[at + text.FIXED_AT + i] = header.open[i]! ^ 0xff;
    }
    bytes.fill(0xff, at + text.FIXED_AT + shape.topicAt, at + text.FIXED_AT + shape.topicAt + shape.topicSize);
    return true;
  }

  /**
   * Makes records of the whole frames in input[start, end) as long as they are like shapes of the owner, with their descriptors and
   * tickets. Where the body is of BODY_CRC_MAX bytes or more, its CRC is the caller's business.
   * @param record         place in the lane's data, where the records may reach up to `recordLimit`
   * @param position       the same as descriptors have it
   * @param descriptor     number of the first descriptor to be used
   * @param countMax       descriptors and tickets that are free
   * @param freeCount      of tickets
   * @param owner, bornHost  of the connection
   * @returns how many it took
   */
  take(
    start: number,
    end: number,
    record: number,
    recordLimit: number,
    position: number,
    descriptor: number,
    countMax: number,
    freeCount: number,
    owner: number,
    bornHost: DataView,
  ): number {
    const places = this.#places;
    this.#words[places.bornHost / 4] = bornHost.getInt32(0, true);
    this.#words[places.bornHost / 4 + 1] = bornHost.getInt32(4, true);
    const count = this.#take(
      places.input + start,
      places.input + end,
      this.#dataAt + record,
      this.#dataAt + recordLimit,
      position,
      descriptor,
      countMax,
      places.tickets + 4 * freeCount,
      owner,
    );
    this.stoppedAt = this.#words[places.result / 4]! - places.input;
    this.recordsEnd = this.#words[places.result / 4 + 1]! - this.#dataAt;
    return count;
  }

  /**
   * Writes the answers to the acks from number `ack` on, as long as they are for one connection and need nothing special.
   * @param ready      acks that there are
   * @param freeCount  of tickets; those answered are put back behind them
   * @returns how many it took
   */
  answer(ack: number, ready: number, freeCount: number, owner: number): number {
    const { output, tickets, result } = this.#places;
    const limit = output + OUTPUT_SIZE - this.#answerSizeMax;
    const count = this.#answer(ack & this.#entryMask, ready, output, limit, tickets + 4 * freeCount, owner);
    this.outputSize = this.#words[result / 4]! - output;
    return count;
  }
}
