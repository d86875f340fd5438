import { crc32 } from "../../base/crc32.ts";
import { copyHashed, javaHashOfBytes } from "../../base/java-hash.ts";
import { copyWords } from "../../base/words.ts";
import { keyHashFrom, tagsHashOfBytes } from "../../format/files/index-file.ts";
import { BODY_CRC_OFFSET, bodySizeOffset, FLAG_OFFSET } from "../../format/record/message.ts";
import { VALUE_END } from "../../format/record/properties.ts";
import { TextPattern } from "../../format/remoting/text-pattern.ts";
import type { BatchKernel } from "./batch-kernel.ts";
import { type RecordProperties, writeNotes } from "./record-properties.ts";

/** Bodies up to this size are copied by words, bytes. */
const WORDS_SIZE_MAX = 192;

/**
 * What the messages of batches have in common: names and most values of their properties. The first record of a batch is
 * made the long way; those of messages whose properties are like it are copies of it, mended. One instance a thread.
 */
export class BatchTemplate {
  readonly #kernel: BatchKernel | undefined;
  #isForKernel = false;
  #pattern: TextPattern | undefined;
  isNoWait = false;
  /** Where the key of the record given to `setFirst` stands. */
  keyStart = 0;
  keyEnd = 0;
  /** Places in the properties. */
  #keyAt = 0;
  #keySize = 0;
  #wordsAt = 0;
  #wordsSize = 0;
  #tagsAt = 0;
  #tagsSize = 0;
  #tagsCode = 0;
  #propertiesSize = 0;
  /** Whether the first record of a batch may be a copy of the one before's, and of whose: topic, size of the sender's address, flags. */
  #isKept = false;
  /** A key without letters: it is noted nevertheless in a first record. */
  #hasBareKey = false;
  #keptTopic: Buffer | undefined;
  #keptHostSize = 0;
  #keptFlags = 0;
  /** Of the first record of the present batch. */
  #record = 0;
  #sysFlag = 0;
  #headSize = 0;
  #tailAt = 0;
  #tailSize = 0;

  /** @param kernel works in the lane's memory; without it JavaScript does everything */
  constructor(kernel: BatchKernel | undefined) {
    this.#kernel = kernel;
  }

  /**
   * Takes the first record of a batch in.
   * @param view          has it at `record`; its topic begins, with its size, at `tailAt`
   * @param propertiesAt  just scanned by `properties`
   * @param sysFlag       the record's host flags
   * @param keyHashSeed   of the topic
   */
  begin(
    bytes: Buffer,
    view: DataView,
    record: number,
    tailAt: number,
    propertiesAt: number,
    end: number,
    properties: RecordProperties,
    sysFlag: number,
    keyHashSeed: number,
  ): void {
    this.#isKept = false;
    this.#record = record;
    this.#sysFlag = sysFlag;
    this.#headSize = bodySizeOffset(sysFlag) + 4;
    this.#tailAt = tailAt;
    this.#tailSize = propertiesAt - tailAt;
    const size = end - propertiesAt;
    const isKnown = this.#pattern?.size === size && this.#pattern.matches(view, propertiesAt);
    if (!isKnown) this.#setPattern(bytes, view, propertiesAt, end, properties);
    if (!this.#isForKernel) return;
    const hasTags = this.#tagsSize > 0;
    const tagsAt = propertiesAt + this.#tagsAt;
    this.#kernel!.setShape(
      record,
      this.#headSize,
      tailAt,
      this.#tailSize,
      size,
      this.#keyAt,
      this.#keySize,
      this.#wordsAt,
      this.#wordsSize,
      keyHashSeed,
      hasTags,
      this.#tagsCode,
      hasTags ? tagsHashOfBytes(keyHashSeed, bytes, tagsAt, tagsAt + this.#tagsSize) : 0,
      sysFlag,
    );
    this.#propertiesSize = size;
    this.#hasBareKey = properties.keyEnd !== 0 && this.#keySize === 0;
  }

  /** After `begin`: the next batch may be of the same kind. @param topic, bornHost, flags  of the request, to know it by */
  keep(topic: Buffer, bornHost: Buffer, flags: number): void {
    if (!this.#isForKernel || this.#hasBareKey) return;
    this.#isKept = this.#kernel!.keep(this.#record, this.#headSize, this.#tailAt, this.#tailSize);
    this.#keptTopic = topic;
    this.#keptHostSize = bornHost.length;
    this.#keptFlags = flags;
  }

  /** Whether the kernel may make the first record of this batch as well: a copy of the batch's before, which it was made ready for. */
  resume(topic: Buffer, bornHost: Buffer, flags: number, queueId: number, bornTimestamp: number): boolean {
    if (!this.#isKept || topic !== this.#keptTopic) return false;
    if (flags !== this.#keptFlags || bornHost.length !== this.#keptHostSize) return false;
    this.#kernel!.setHead(queueId, bornTimestamp, bornHost);
    return true;
  }

  /** The kernel has made the batch's first record: data[record, end). */
  setFirst(record: number, end: number): void {
    this.#record = record;
    this.keyStart = this.#keySize === 0 ? 0 : end - this.#propertiesSize + this.#keyAt;
    this.keyEnd = this.#keySize === 0 ? 0 : this.keyStart + this.#keySize;
    this.#tailAt = end - this.#propertiesSize - this.#tailSize;
  }

  #setPattern(bytes: Buffer, view: DataView, propertiesAt: number, end: number, properties: RecordProperties): void {
    const size = end - propertiesAt;
    const open = new Uint8Array(size);
    const { keyStart, keyEnd, wordsStart, wordsEnd, tagsStart, tagsEnd } = properties;
    if (keyEnd > 0) open.fill(0xff, keyStart - propertiesAt, keyEnd - propertiesAt);
    if (wordsEnd > 0) open.fill(0xff, wordsStart - propertiesAt, wordsEnd - propertiesAt);
    this.#keyAt = keyStart - propertiesAt;
    this.#keySize = keyEnd === 0 ? 0 : keyEnd - keyStart;
    this.#wordsAt = wordsStart - propertiesAt;
    this.#wordsSize = wordsEnd === 0 ? 0 : wordsEnd - wordsStart;
    this.#tagsAt = tagsStart - propertiesAt;
    this.#tagsSize = tagsEnd === 0 ? 0 : tagsEnd - tagsStart;
    this.#tagsCode = tagsEnd === 0 ? 0 : javaHashOfBytes(bytes, tagsStart, tagsEnd);
    this.isNoWait = properties.isNoWait;
    this.#pattern = size < 4 ? undefined : new TextPattern(view, propertiesAt, open);
    this.#isForKernel = this.#kernel?.setPattern(bytes, propertiesAt, end, open) === true;
  }

  /** What makes the records of messages like the first one, many at a time; undefined: one by one, by `matches` and `write`. */
  get kernel(): BatchKernel | undefined {
    return this.#isForKernel ? this.#kernel : undefined;
  }

  /** Whether these properties, as they came, are like those of the first record: then `write` can make theirs. */
  matches(source: DataView, propertiesAt: number, size: number): boolean {
    const pattern = this.#pattern;
    if (pattern === undefined || pattern.size !== size || source.getUint8(propertiesAt + size - 1) !== VALUE_END) return false;
    return pattern.matches(source, propertiesAt);
  }

  /**
   * Makes the record, at `at`, of the sub message whose body is body[bodyStart, bodyStart + bodySize).
   * @param source     memory of `body`, which begins there at `sourceBase`
   * @param propertiesSize  of the properties behind the body and their size field
   * @returns the end of the record
   */
  write(
    bytes: Buffer,
    view: DataView,
    at: number,
    flag: number,
    body: Buffer,
    source: DataView,
    sourceBase: number,
    bodyStart: number,
    bodySize: number,
    propertiesSize: number,
    keyHashSeed: number,
  ): number {
    copyWords(view, this.#record, view, at, this.#headSize);
    const bodyAt = at + this.#headSize;
    view.setInt32(bodyAt - 4, bodySize);
    view.setInt32(at + FLAG_OFFSET, flag);
    view.setInt32(at + BODY_CRC_OFFSET, crc32(body, bodyStart, bodyStart + bodySize) & 0x7fff_ffff);
    if (bodySize > WORDS_SIZE_MAX || bodySize < 4) body.copy(bytes, bodyAt, bodyStart, bodyStart + bodySize);
    else copyWords(source, sourceBase + bodyStart, view, bodyAt, bodySize);
    const tailAt = bodyAt + bodySize;
    copyWords(view, this.#tailAt, view, tailAt, this.#tailSize);
    const propertiesAt = tailAt + this.#tailSize;
    const sourceAt = sourceBase + bodyStart + bodySize + 2;
    view.setUint16(propertiesAt - 2, propertiesSize);
    copyWords(source, sourceAt, view, propertiesAt, propertiesSize);
    const end = propertiesAt + propertiesSize;
    view.setInt32(at, end - at);
    let keyHash = 0;
    if (this.#keySize > 0) {
      const keyAt = this.#keyAt;
      keyHash = keyHashFrom(copyHashed(source, sourceAt + keyAt, view, propertiesAt + keyAt, this.#keySize, keyHashSeed));
    }
    const wordsAt = propertiesAt + this.#wordsAt;
    const tagsAt = propertiesAt + this.#tagsAt;
    const hasTags = this.#tagsSize > 0;
    const tagsHash = hasTags ? tagsHashOfBytes(keyHashSeed, bytes, tagsAt, tagsAt + this.#tagsSize) : 0;
    writeNotes(
      bytes,
      view,
      at,
      this.#sysFlag,
      keyHashSeed,
      this.#keySize > 0,
      keyHash,
      wordsAt,
      wordsAt + this.#wordsSize,
      hasTags,
      this.#tagsCode,
      tagsHash,
    );
    return end;
  }
}
