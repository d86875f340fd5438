import { nativeCrc32 } from "../../base/crc32.ts";
import { tagsHashParts } from "../../format/files/index-file.ts";
import { BODY_CRC_OFFSET } from "../../format/record/message.ts";
import * as fields from "../../format/remoting/header-fields.ts";
import { MEMO_COUNT, memoPlace } from "../../format/remoting/header-memo.ts";
import type { HeaderScan } from "../../format/remoting/header-scan.ts";
import { FLAG_ONEWAY } from "../../format/remoting/remoting-command.ts";
import { frameHeaderSize, frameSize, HEADER_OFFSET } from "../../format/remoting/remoting-frame.ts";
import { type LaneProducer, RESERVE_FULL } from "../../ring/lane.ts";
import type { IoConnection } from "../io-connection.ts";
import type { IoTables, IoTopic } from "../io-tables.ts";
import type { SendKernel } from "./send-kernel.ts";
import { BODY_CRC_MAX } from "./send-kernel-text.ts";
import { type SendTemplate, TEMPLATE_HEAD_SIZE } from "./send-template.ts";
import type { SendTickets } from "./send-tickets.ts";

/** After so many sends in a row that were not like the shape, one of 2^MISSES_MAX is tried. */
const MISSES_MAX = 6;
/** Room in the lane beyond twice the frames. */
const ROOM = 4096;

export interface SendRunsOptions {
  lane: LaneProducer;
  /** They stand in the kernel's memory. */
  tickets: SendTickets;
  tables: IoTables;
  maxMessageSize: number;
}

/**
 * Single sends that are taken by the kernel, as many at a time as were read from a socket. What is needed for that is learnt
 * from sends that JavaScript has made records of with a template: of headers, however long these are used, and of topics, until
 * they change.
 */
export class SendRuns {
  readonly #kernel: SendKernel;
  readonly #lane: LaneProducer;
  readonly #tickets: SendTickets;
  readonly #maxMessageSize: number;
  readonly #view: DataView;
  /** By the places of their memos: those whose shapes the kernel has. */
  readonly #templates: (SendTemplate | undefined)[] = new Array(MEMO_COUNT).fill(undefined);
  /** Sends that the last `take` took. */
  count = 0;

  constructor(kernel: SendKernel, { lane, tickets, tables, maxMessageSize }: SendRunsOptions) {
    this.#kernel = kernel;
    this.#lane = lane;
    this.#tickets = tickets;
    tables.onTopicChange = (key) => kernel.topics.forget(key);
    this.#maxMessageSize = maxMessageSize;
    const { buffer, byteOffset, byteLength } = lane.data;
    this.#view = new DataView(buffer, byteOffset, byteLength);
  }

  /**
   * A send was taken by its template: its record is at `at` in the lane.
   * @param scan  its header, which is like one before
   */
  learn(connection: IoConnection, template: SendTemplate, scan: HeaderScan, topic: IoTopic, at: number, bodySize: number): void {
    if (topic.dedupWindowS > 0) return;
    const place = memoPlace(template.memo.size, connection.id);
    if (!template.isTried) {
      template.isTried = true;
      if (this.#learnShape(place, template, scan, at, bodySize)) {
        this.#templates[place] = template;
        connection.hasRuns = true;
      }
    }
    if (this.#templates[place] !== template) return;
    const queueCount = Math.max(topic.readQueueNums, topic.writeQueueNums);
    this.#kernel.topics.set(topic.key, topic.keyHashSeed, topic.slots, queueCount);
  }

  /** @returns false: it has something that the kernel cannot do */
  #learnShape(place: number, template: SendTemplate, scan: HeaderScan, at: number, bodySize: number): boolean {
    const { memo, tagsSize } = template;
    const headerAt = scan.headerInView;
    const start = (field: number): number => scan.placeInView(scan.rawStart(field)) - headerAt;
    const size = (field: number): number => scan.rawEnd(field) - scan.rawStart(field);
    const topicAt = start(fields.FIELD_TOPIC);
    if (memo.isNegative || memo.open[topicAt] === 0) return false; // The name has an escape.
    const tagsAt = at + TEMPLATE_HEAD_SIZE + bodySize + template.tagsAt;
    return this.#kernel.learn(place, {
      header: { view: scan.view, at: headerAt, size: memo.size, open: memo.open },
      isBinary: memo.isBinary,
      opaqueAt: memo.found.opaqueStart,
      opaqueSize: memo.found.opaqueEnd - memo.found.opaqueStart,
      queueIdAt: start(fields.FIELD_QUEUE_ID),
      queueIdSize: size(fields.FIELD_QUEUE_ID),
      bornTimestampAt: start(fields.FIELD_BORN_TIMESTAMP),
      bornTimestampSize: size(fields.FIELD_BORN_TIMESTAMP),
      topicAt,
      topicSize: size(fields.FIELD_TOPIC),
      rawKeyAt: memo.uniqueKeyStart,
      rawWordsAt: memo.keysStart,
      record: at,
      bodySize,
      recordSize: template.sizeWithoutBody + bodySize,
      keyAt: template.keyAt,
      keySize: template.keySize,
      wordsAt: template.wordsAt,
      wordsSize: template.wordsSize,
      hasTags: tagsSize > 0,
      tagsCode: template.tagsCode,
      tagsHash: tagsHashParts(this.#lane.data, tagsAt, tagsAt + tagsSize),
      isOneway: (scan.flag & FLAG_ONEWAY) !== 0,
      isNoWait: template.isNoWait,
      maxMessageSize: this.#maxMessageSize,
    });
  }

  /**
   * Takes the frames at the front of bytes[start, end) that it knows; `count` says how many.
   * @returns where it has stopped
   */
  take(connection: IoConnection, bytes: Buffer, start: number, end: number): number {
    const kernel = this.#kernel;
    this.count = 0;
    if (bytes !== kernel.input || frameSize(bytes, start, end) < 0) return start;
    const template = this.#templates[memoPlace(frameHeaderSize(bytes, start), connection.id)];
    if (template === undefined) return start;
    if (template.pause > 0) {
      template.pause--;
      return start;
    }
    const lane = this.#lane;
    const tickets = this.#tickets;
    const sizeMax = Math.min(2 * (end - start) + ROOM, lane.data.length >>> 1);
    const at = lane.reserve(sizeMax);
    if (at === RESERVE_FULL) return start;
    const countMax = Math.min(lane.descriptorsFree(), tickets.freeCount);
    const { reservedAt, nextDescriptor } = lane;
    const count = kernel.take(
      start,
      end,
      at,
      at + sizeMax,
      reservedAt,
      nextDescriptor,
      countMax,
      tickets.freeCount,
      connection.id | 0,
      connection.bornHostView,
    );
    if (count === 0) {
      template.misses = Math.min(template.misses + 1, MISSES_MAX);
      template.pause = (1 << template.misses) - 2;
      return start;
    }
    template.misses = 0;
    this.count = count;
    tickets.taken(count, connection);
    lane.commitRun(count, kernel.recordsEnd - at);
    template.memo.hits += count;
    if (kernel.stoppedAt - start >= BODY_CRC_MAX) this.#addCrcs(bytes, start, at, count);
    return kernel.stoppedAt;
  }

  /** CRCs of large bodies, which the kernel leaves open. */
  #addCrcs(bytes: Buffer, start: number, record: number, count: number): void {
    const view = this.#view;
    let frame = start;
    let at = record;
    for (let i = 0; i < count; i++) {
      const bodyAt = frame + HEADER_OFFSET + frameHeaderSize(bytes, frame);
      const end = frame + frameSize(bytes, frame, bytes.length);
      if (end - bodyAt >= BODY_CRC_MAX) view.setInt32(at + BODY_CRC_OFFSET, nativeCrc32(bytes, bodyAt, end) & 0x7fff_ffff);
      frame = end;
      at += view.getUint32(at);
    }
  }
}
