import { copyHashed } from "../../base/java-hash.ts";
import { keyHashFrom, tagsHashOfBytes } from "../../format/files/index-file.ts";
import { BORN_HOST_OFFSET, BORN_TIMESTAMP_OFFSET, bodySizeOffset, QUEUE_ID_OFFSET } from "../../format/record/message.ts";
import type { HeaderMemo } from "../../format/remoting/header-memo.ts";
import type { RecordProperties } from "./record-properties.ts";

const TWO_32 = 4_294_967_296;
/** Only records whose hosts are IPv4 have templates. */
export const TEMPLATE_HOST_SIZE = 8;
/** Where their bodies begin. */
export const TEMPLATE_HEAD_SIZE: number = bodySizeOffset(0) + 4;
/**
 * What the records of sends with like headers (format/remoting/header-memo.ts) have in common: all but the body, the topic's
 * name, the unique key, KEYS and a few figures. Made of the first such record; the others are copies of it, mended.
 */
export class SendTemplate {
  readonly topicSize: number;
  /** Of the record without its body, bytes. */
  readonly sizeWithoutBody: number;
  readonly isNoWait: boolean;
  readonly keySize: number;
  readonly wordsSize: number;
  readonly tagsSize: number;
  readonly tagsCode: number;
  /** Places behind the body. */
  readonly keyAt: number;
  readonly wordsAt: number;
  readonly tagsAt: number;
  readonly #head: Int32Array;
  readonly #tail: Int32Array;
  readonly #tailSize: number;
  /** Raw values in the header. */
  readonly #rawKeyAt: number;
  readonly #rawWordsAt: number;
  readonly memo: HeaderMemo;
  /** It was offered to the kernel. */
  isTried = false;
  /** Times in a row that the kernel was asked in vain, and times that it is not to be asked now. */
  misses = 0;
  pause = 0;

  /**
   * @param view        has the record from `at` to `end`, with IPv4 hosts
   * @param properties  as they were scanned there
   * @param headerView  has the header that the memo is of, at `headerAt`
   * @returns undefined where the record has something that a template cannot hold
   */
  static of(
    memo: HeaderMemo,
    headerView: DataView,
    headerAt: number,
    view: DataView,
    at: number,
    end: number,
    bodySize: number,
    topicSize: number,
    properties: RecordProperties,
  ): SendTemplate | undefined {
    const isSame = (rawStart: number, rawEnd: number, from: number, to: number): boolean => {
      if (rawEnd - rawStart !== to - from) return false;
      for (let i = 0; i < to - from; i++) {
        if (headerView.getUint8(headerAt + rawStart + i) !== view.getUint8(from + i)) return false;
      }
      return true;
    };
    const { keyStart, keyEnd, wordsStart, wordsEnd } = properties;
    if (memo.uniqueKeyEnd === 0 || !isSame(memo.uniqueKeyStart, memo.uniqueKeyEnd, keyStart, keyEnd)) return undefined;
    const hasWords = memo.keysEnd > 0 || wordsEnd > 0;
    if (hasWords && !isSame(memo.keysStart, memo.keysEnd, wordsStart, wordsEnd)) return undefined;
    return new SendTemplate(memo, view, at, end, bodySize, topicSize, properties);
  }

  private constructor(
    memo: HeaderMemo,
    view: DataView,
    at: number,
    end: number,
    bodySize: number,
    topicSize: number,
    properties: RecordProperties,
  ) {
    const { keyStart, keyEnd, wordsStart, wordsEnd, tagsStart, tagsEnd } = properties;
    const tailAt = at + TEMPLATE_HEAD_SIZE + bodySize;
    this.memo = memo;
    this.topicSize = topicSize;
    this.sizeWithoutBody = end - at - bodySize;
    this.isNoWait = properties.isNoWait;
    this.keyAt = keyStart - tailAt;
    this.keySize = keyEnd - keyStart;
    this.wordsAt = wordsStart - tailAt;
    this.wordsSize = wordsEnd === 0 ? 0 : wordsEnd - wordsStart;
    this.tagsAt = tagsStart - tailAt;
    this.tagsSize = tagsEnd === 0 ? 0 : tagsEnd - tagsStart;
    this.tagsCode = properties.tagsCode;
    this.#tailSize = end - tailAt;
    this.#head = wordsOf(view, at, TEMPLATE_HEAD_SIZE);
    this.#tail = wordsOf(view, tailAt, this.#tailSize);
    this.#rawKeyAt = memo.uniqueKeyStart;
    this.#rawWordsAt = memo.keysStart;
  }

  /** All before the body, but for its CRC. */
  writeHead(view: DataView, at: number, queueId: number, bornTimestamp: number, bornHost: DataView, bodySize: number): void {
    writeWords(this.#head, view, at, TEMPLATE_HEAD_SIZE);
    view.setUint32(at, this.sizeWithoutBody + bodySize);
    view.setInt32(at + QUEUE_ID_OFFSET, queueId);
    const high = Math.floor(bornTimestamp / TWO_32);
    view.setInt32(at + BORN_TIMESTAMP_OFFSET, high | 0);
    view.setUint32(at + BORN_TIMESTAMP_OFFSET + 4, bornTimestamp - high * TWO_32);
    view.setInt32(at + BORN_HOST_OFFSET, bornHost.getInt32(0));
    view.setInt32(at + BORN_HOST_OFFSET + 4, bornHost.getInt32(4));
    view.setUint32(at + TEMPLATE_HEAD_SIZE - 4, bodySize);
  }

  /**
   * All behind the body, from `at` on.
   * @param headerAt  where the header begins in headerView
   * @returns the key hash of the unique key; see `keyHashFrom`
   */
  writeTail(view: DataView, at: number, topic: Buffer, headerView: DataView, headerAt: number, keyHashSeed: number): number {
    writeWords(this.#tail, view, at, this.#tailSize);
    for (let i = 0; i < topic.length; i++) view.setUint8(at + 1 + i, topic[i]!);
    const words = headerAt + this.#rawWordsAt;
    const wordsTo = at + this.wordsAt;
    for (let i = 0; i < this.wordsSize; i++) view.setUint8(wordsTo + i, headerView.getUint8(words + i));
    const keyAt = headerAt + this.#rawKeyAt;
    return keyHashFrom(copyHashed(headerView, keyAt, view, at + this.keyAt, this.keySize, keyHashSeed));
  }

  /** Key hash of the tags. @param at where what follows the body begins */
  tagsHash(bytes: Buffer, at: number, keyHashSeed: number): number {
    return tagsHashOfBytes(keyHashSeed, bytes, at + this.tagsAt, at + this.tagsAt + this.tagsSize);
  }
}

/** The words of `size` bytes; the last one may overlap. */
function wordsOf(view: DataView, at: number, size: number): Int32Array {
  return Int32Array.from({ length: Math.ceil(size / 4) }, (_, i) => view.getInt32(at + Math.min(4 * i, size - 4), true));
}

function writeWords(words: Int32Array, view: DataView, at: number, size: number): void {
  const last = words.length - 1;
  for (let i = 0; i < last; i++) view.setInt32(at + 4 * i, words[i]!, true);
  view.setInt32(at + size - 4, words[last]!, true);
}
