import { copyBytes } from "../../base/copy-bytes.ts";
import { crc32 } from "../../base/crc32.ts";
import { INNER_BASE_SIZE } from "../../format/files/batch-consume-queue.ts";
import {
  BODY_CRC_OFFSET,
  RECORD_OVERHEAD_MAX,
  SYS_FLAG_BORN_HOST_V6,
  SYS_FLAG_INNER_BATCH,
  SYS_FLAG_STORE_HOST_V6,
  SYS_FLAG_TRANSACTION_MASK,
} from "../../format/record/message.ts";
import { PROPERTIES_SIZE_MAX, VALUE_END } from "../../format/record/properties.ts";
import { finishRecord, topicSizeSize, writeRecordHead } from "../../format/record/record-writer.ts";
import * as fields from "../../format/remoting/header-fields.ts";
import type { HeaderScan } from "../../format/remoting/header-scan.ts";
import { FLAG_ONEWAY } from "../../format/remoting/remoting-command.ts";
import { frameHeaderSize, HEADER_OFFSET } from "../../format/remoting/remoting-frame.ts";
import {
  APPEND_INNER_BATCH,
  APPEND_NOTED,
  APPEND_ONCE,
  APPEND_WINDOW_SHIFT,
  type LaneProducer,
  RESERVE_FULL,
} from "../../ring/lane.ts";
import { DedupHash } from "../../store/log/dedup-window.ts";
import type { IoConnection } from "../io-connection.ts";
import type { IoTables, IoTopic } from "../io-tables.ts";
import type { BatchKernel } from "./batch-kernel.ts";
import { BatchTemplate } from "./batch-template.ts";
import { countSubMessages, INNER_BATCH_NONE, InnerBatchWriter } from "./inner-batch-writer.ts";
import { RecordProperties, writeNotes } from "./record-properties.ts";
import type { SendFrame } from "./send-frame.ts";
import type { SendKernel } from "./send-kernel.ts";
import { SendRuns } from "./send-runs.ts";
import { SendTemplate, TEMPLATE_HEAD_SIZE, TEMPLATE_HOST_SIZE } from "./send-template.ts";
import type { SendTickets } from "./send-tickets.ts";

/** Outcomes of `SendPath.take`. */
export const SEND_TAKEN = 0;
/** The rings are full: try again when acks have come. */
export const SEND_BLOCKED = 1;
/** Not plain: the control thread decides. */
export const SEND_UNUSUAL = 2;

/** Of `#takeInnerBatch` alone. */
const NO_INNER_BATCH = 3;

export interface SendPathOptions {
  lane: LaneProducer;
  tickets: SendTickets;
  tables: IoTables;
  /** The broker as it stands in records (8 or 20 bytes). */
  storeHost: Buffer;
  /** Properties that the broker adds to each single message. */
  addedProperties: Buffer;
  maxMessageSize: number;
  /** What a log file can hold, bytes. */
  batchSizeMax: number;
  /** Bytes that the log writer adds to each record. */
  tailSize: number;
  newUniqueKey: () => string;
  /** Work in the lane's memory; without them JavaScript does everything. */
  kernel?: BatchKernel | undefined;
  sendKernel?: SendKernel | undefined;
}

const SUB_FLAG_OFFSET = 12;
const SUB_BODY_OFFSET = 20;

/**
 * Turns send requests into finished records in the lane to the log writer: 10, 310, 320. One instance an I/O
 * worker. Allocates nothing.
 * Source: Apache `SendMessageProcessor`, `MessageExtEncoder`.
 */
export class SendPath {
  readonly #lane: LaneProducer;
  readonly #tickets: SendTickets;
  readonly #tables: IoTables;
  readonly #storeHost: Buffer;
  readonly #added: Buffer;
  readonly #maxMessageSize: number;
  readonly #batchSizeMax: number;
  readonly #tailSize: number;
  readonly #propertiesSizeMax: number;
  readonly #newUniqueKey: () => string;
  readonly #properties = new RecordProperties();
  readonly #dedupHash = new DedupHash();
  readonly #batchTemplate: BatchTemplate;
  readonly #runs: SendRuns | undefined;
  readonly #innerBatch: InnerBatchWriter;
  readonly #view: DataView;
  /** The one that is being taken, unless a template takes it. */
  readonly #frame = {} as SendFrame;
  #nextQueue = 0;
  /** Of the records of the batch that is being taken. */
  #sizes = new Int32Array(64);
  /** Sends that the last `takeRun` took. */
  runCount = 0;
  /** Records were committed to the lane since the last `publish`. */
  hasCommitted = false;

  constructor(options: SendPathOptions) {
    this.#lane = options.lane;
    const { buffer, byteOffset, byteLength } = options.lane.data;
    this.#view = new DataView(buffer, byteOffset, byteLength);
    this.#tickets = options.tickets;
    this.#tables = options.tables;
    this.#storeHost = options.storeHost;
    this.#added = options.addedProperties;
    this.#innerBatch = new InnerBatchWriter(options.storeHost, options.addedProperties, options.tailSize);
    this.#maxMessageSize = options.maxMessageSize;
    this.#batchSizeMax = Math.min(options.batchSizeMax, options.lane.data.length / 2);
    this.#tailSize = options.tailSize;
    this.#propertiesSizeMax = PROPERTIES_SIZE_MAX - options.tailSize;
    this.#newUniqueKey = options.newUniqueKey;
    this.#batchTemplate = new BatchTemplate(options.kernel);
    const { sendKernel } = options;
    this.#runs = sendKernel && new SendRuns(sendKernel, options);
  }

  /**
   * Takes sends from the front of bytes[start, end) whose headers are like ones before, many at a time.
   * @returns where it has stopped; what stands there is for `take`
   */
  takeRun(connection: IoConnection, bytes: Buffer, start: number, end: number): number {
    const runs = this.#runs;
    if (runs === undefined) return start;
    const stoppedAt = runs.take(connection, bytes, start, end);
    this.runCount = runs.count;
    if (runs.count > 0) this.hasCommitted = true;
    return stoppedAt;
  }

  /** @param scan the header of the frame at `start` */
  take(connection: IoConnection, bytes: Buffer, start: number, size: number, scan: HeaderScan): number {
    const template = scan.memo?.extra as SendTemplate | null | undefined; // Nobody else makes one for a send.
    if (template !== undefined && template !== null) {
      const outcome = this.#takeByTemplate(connection, bytes, start, size, scan, template);
      if (outcome !== SEND_UNUSUAL) return outcome;
    }
    const topic = this.#topicOf(connection, bytes, scan);
    if (topic === undefined || !topic.isPlain) return SEND_UNUSUAL;
    let queueId = scan.integer(fields.FIELD_QUEUE_ID);
    const sysFlag = scan.integer(fields.FIELD_SYS_FLAG);
    // Whatever is missing or malformed comes out as NaN here and fails the comparisons.
    if (!(queueId < Math.max(topic.readQueueNums, topic.writeQueueNums)) || !(sysFlag >= 0 && sysFlag <= 0x7fff_ffff))
      return SEND_UNUSUAL;
    if ((sysFlag & (SYS_FLAG_TRANSACTION_MASK | SYS_FLAG_INNER_BATCH | SYS_FLAG_STORE_HOST_V6 | SYS_FLAG_BORN_HOST_V6)) !== 0)
      return SEND_UNUSUAL;
    if (!scan.has(fields.FIELD_PRODUCER_GROUP) || !scan.has(fields.FIELD_DEFAULT_TOPIC)) return SEND_UNUSUAL;
    if (queueId < 0) {
      if (topic.writeQueueNums === 0) return SEND_UNUSUAL;
      this.#nextQueue = (this.#nextQueue + 1) & 0x3fff_ffff;
      queueId = this.#nextQueue % topic.writeQueueNums;
    }
    const bodyStart = start + HEADER_OFFSET + frameHeaderSize(bytes, start);
    const bodySize = start + size - bodyStart;
    if (bodySize === 0 || bodySize > this.#maxMessageSize) return SEND_UNUSUAL;
    const frame = this.#frame;
    frame.connection = connection;
    frame.bytes = bytes;
    frame.bodyStart = bodyStart;
    frame.bodySize = bodySize;
    frame.scan = scan;
    frame.topic = topic;
    frame.queueId = queueId;
    frame.sysFlag = sysFlag;
    const isBatch = scan.has(fields.FIELD_BATCH) && scan.boolean(fields.FIELD_BATCH);
    return isBatch ? this.#takeBatch(frame) : this.#takeSingle(frame);
  }

  #topicOf(connection: IoConnection, bytes: Buffer, scan: HeaderScan): IoTopic | undefined {
    if (!scan.has(fields.FIELD_TOPIC)) return undefined;
    const last = connection.lastTopic;
    // Tables replace their entries, so an entry that was kept may be stale.
    const isFresh = last !== undefined && connection.lastTopicVersion === this.#tables.version;
    if (isFresh && scan.equalsBytes(fields.FIELD_TOPIC, last.key)) return last;
    if (scan.isEscaped(fields.FIELD_TOPIC)) return undefined;
    const topic = this.#tables.topics.get(bytes, scan.rawStart(fields.FIELD_TOPIC), scan.rawEnd(fields.FIELD_TOPIC));
    connection.lastTopic = topic;
    connection.lastTopicVersion = this.#tables.version;
    return topic;
  }

  /** A send whose header has the fixed parts of one before: its record is that one's, mended. */
  #takeByTemplate(
    connection: IoConnection,
    bytes: Buffer,
    start: number,
    size: number,
    scan: HeaderScan,
    template: SendTemplate,
  ): number {
    const topic = this.#topicOf(connection, bytes, scan);
    if (topic === undefined || !topic.isPlain || topic.needsKeys || topic.key.length !== template.topicSize) return SEND_UNUSUAL;
    const queueId = scan.integer(fields.FIELD_QUEUE_ID);
    const bornTimestamp = scan.integer(fields.FIELD_BORN_TIMESTAMP);
    if (!(queueId >= 0 && queueId < Math.max(topic.readQueueNums, topic.writeQueueNums)) || Number.isNaN(bornTimestamp))
      return SEND_UNUSUAL;
    const headerStart = start + HEADER_OFFSET;
    const bodyStart = headerStart + frameHeaderSize(bytes, start);
    const bodySize = start + size - bodyStart;
    if (bodySize === 0 || bodySize > this.#maxMessageSize || connection.bornHost.length !== TEMPLATE_HOST_SIZE)
      return SEND_UNUSUAL;
    const lane = this.#lane;
    const recordSize = template.sizeWithoutBody + bodySize;
    const at = lane.reserve(recordSize);
    if (at === RESERVE_FULL) return SEND_BLOCKED;
    const ticket = this.#ticket(connection, scan, queueId);
    if (ticket < 0) return SEND_BLOCKED;
    const { data } = lane;
    const view = this.#view;
    template.writeHead(view, at, queueId, bornTimestamp, connection.bornHostView, bodySize);
    view.setInt32(at + BODY_CRC_OFFSET, crc32(bytes, bodyStart, bodyStart + bodySize) & 0x7fff_ffff);
    copyBytes(bytes, bodyStart, bodyStart + bodySize, data, at + TEMPLATE_HEAD_SIZE);
    const tailAt = at + TEMPLATE_HEAD_SIZE + bodySize;
    const seed = topic.keyHashSeed;
    const keyHash = template.writeTail(view, tailAt, topic.key, scan.view, scan.placeInView(headerStart), seed);
    const hasTags = template.tagsSize > 0;
    const tagsHash = hasTags ? template.tagsHash(data, tailAt, seed) : 0;
    const wordsAt = tailAt + template.wordsAt;
    const wordsEnd = wordsAt + template.wordsSize;
    writeNotes(data, view, at, 0, seed, true, keyHash, wordsAt, wordsEnd, hasTags, template.tagsCode, tagsHash);
    const keyStart = tailAt + template.keyAt;
    this.#tickets.setKey(ticket, view, keyStart, keyStart + template.keySize, true);
    this.#tickets.noWaits[ticket] = template.isNoWait ? 1 : 0;
    this.#runs?.learn(connection, template, scan, topic, at, bodySize);
    this.#commit(recordSize, ticket, topic, queueId, 1, keyStart, keyStart + template.keySize, APPEND_NOTED);
    return SEND_TAKEN;
  }

  #takeSingle(frame: SendFrame): number {
    const { connection, bytes, bodyStart, bodySize, scan, topic, queueId, sysFlag } = frame;
    const propertiesSizeMax = scan.has(fields.FIELD_PROPERTIES)
      ? scan.rawEnd(fields.FIELD_PROPERTIES) - scan.rawStart(fields.FIELD_PROPERTIES)
      : 0;
    const sizeMax = RECORD_OVERHEAD_MAX + bodySize + topic.key.length + propertiesSizeMax + this.#added.length + 64;
    const at = this.#lane.reserve(sizeMax);
    if (at === RESERVE_FULL) return SEND_BLOCKED;
    const data = this.#lane.data;
    const flag = scan.integer(fields.FIELD_FLAG);
    const bornTimestamp = scan.integer(fields.FIELD_BORN_TIMESTAMP);
    if (Number.isNaN(flag) || Number.isNaN(bornTimestamp)) return SEND_UNUSUAL;
    const reconsumeTimes = scan.has(fields.FIELD_RECONSUME_TIMES) ? scan.integer(fields.FIELD_RECONSUME_TIMES) : 0;
    if (Number.isNaN(reconsumeTimes)) return SEND_UNUSUAL;
    const { bornHost } = connection;
    const store = this.#storeHost;
    const propertiesAt =
      2 +
      writeRecordHead(
        data,
        at,
        queueId,
        flag,
        sysFlag,
        bornTimestamp,
        bornHost,
        store,
        reconsumeTimes,
        bytes,
        bodyStart,
        bodySize,
        topic.key,
      );
    let end = propertiesAt;
    if (propertiesSizeMax > 0) {
      end = scan.copyText(fields.FIELD_PROPERTIES, data, propertiesAt);
      if (end > propertiesAt && data[end - 1] !== VALUE_END) data[end++] = VALUE_END;
    }
    const properties = this.#properties;
    properties.scan(data, propertiesAt, end);
    if (properties.isSpecial || properties.isInner || (topic.needsKeys && !properties.hasKeys)) return SEND_UNUSUAL;
    let keyStart = properties.keyStart;
    let keyEnd = properties.keyEnd;
    const hasOwnKey = keyEnd !== 0;
    if (!hasOwnKey) {
      end += data.write("UNIQ_KEY\u0001", end, "latin1");
      keyStart = end;
      end += data.write(this.#newUniqueKey(), end, "latin1");
      keyEnd = end;
      data[end++] = VALUE_END;
    }
    end += this.#added.copy(data, end);
    if (end - propertiesAt > this.#propertiesSizeMax) return SEND_UNUSUAL;
    properties.keyStart = keyStart;
    properties.keyEnd = keyEnd;
    properties.writeNotes(data, this.#view, at, hostFlags(bornHost), topic.keyHashSeed);
    finishRecord(data, at, propertiesAt, end);
    const ticket = this.#ticket(connection, scan, queueId);
    if (ticket < 0) return SEND_BLOCKED;
    this.#tickets.setKey(ticket, this.#view, keyStart, keyEnd);
    this.#tickets.noWaits[ticket] = properties.isNoWait ? 1 : 0;
    const { memo } = scan;
    if (memo !== undefined && memo.extra === undefined) {
      const isPossible = hasOwnKey && bornHost.length === TEMPLATE_HOST_SIZE && store.length === TEMPLATE_HOST_SIZE;
      const headerAt = scan.placeInView(bodyStart - memo.size);
      memo.extra = isPossible
        ? (SendTemplate.of(memo, scan.view, headerAt, this.#view, at, end, bodySize, topic.key.length, properties) ?? null)
        : null;
    }
    this.#commit(end - at, ticket, topic, queueId, 1, hasOwnKey ? keyStart : 0, keyEnd, APPEND_NOTED);
    return SEND_TAKEN;
  }

  /** Each sub message becomes a record of its own, with the header values of the batch. */
  #takeBatch(frame: SendFrame): number {
    const { connection, bytes, bodyStart, bodySize, scan, topic, queueId, sysFlag } = frame;
    if (topic.isBatch === true) {
      const outcome = this.#takeInnerBatch(frame);
      if (outcome !== NO_INNER_BATCH) return outcome;
    }
    const bodyEnd = bodyStart + bodySize;
    const count = countSubMessages(scan.view, scan.placeInView(bodyStart), scan.placeInView(bodyEnd));
    if (count <= 0 || scan.integer(fields.FIELD_RECONSUME_TIMES) > 0) return SEND_UNUSUAL;
    const bornTimestamp = scan.integer(fields.FIELD_BORN_TIMESTAMP);
    if (Number.isNaN(bornTimestamp)) return SEND_UNUSUAL;
    const headerSizeMax = scan.has(fields.FIELD_PROPERTIES)
      ? scan.rawEnd(fields.FIELD_PROPERTIES) - scan.rawStart(fields.FIELD_PROPERTIES)
      : 0;
    const sizeMax = Math.max(headerSizeMax, bodySize + count * (RECORD_OVERHEAD_MAX + topic.key.length + 1 + this.#tailSize));
    if (sizeMax > this.#batchSizeMax) return SEND_UNUSUAL;
    const at = this.#lane.reserve(sizeMax);
    if (at === RESERVE_FULL) return SEND_BLOCKED;
    const data = this.#lane.data;
    if (headerSizeMax > 0) {
      // The batch's own properties are not stored, but may ask for what a batch cannot have.
      this.#properties.scan(data, at, scan.copyText(fields.FIELD_PROPERTIES, data, at));
      if (this.#properties.isSpecial || this.#properties.isInner) return SEND_UNUSUAL;
    }
    const { bornHost } = connection;
    const store = this.#storeHost;
    if (this.#sizes.length < count) this.#sizes = new Int32Array(2 * count);
    const sizes = this.#sizes;
    let done = 0;
    let record = at;
    let isNoWait = false;
    // A batch that is sent again is known by the key of its first message.
    let keyStart = 0;
    let keyEnd = 0;
    const { view: source } = scan;
    const base = scan.placeInView(0);
    const seed = topic.keyHashSeed;
    const template = this.#batchTemplate;
    let isLoaded: boolean | undefined;
    const isResumed = template.resume(topic.key, bornHost, sysFlag, queueId, bornTimestamp);
    for (let sub = bodyStart; sub < bodyEnd; ) {
      const { kernel } = template;
      if ((isResumed || record > at) && kernel !== undefined) {
        isLoaded ??= kernel.load(bytes, bodyStart, bodyEnd);
        const made = isLoaded ? kernel.explode(sub - bodyStart, bodySize, record) : 0;
        if (made > 0) {
          if (record === at) {
            template.setFirst(at, at + kernel.sizeOf(0));
            ({ keyStart, keyEnd } = template);
          }
          for (let i = 0; i < made; i++) sizes[done++] = kernel.sizeOf(i);
          isNoWait ||= template.isNoWait;
          record = kernel.record;
          sub = bodyStart + kernel.sub;
          continue;
        }
      }
      const subEnd = sub + source.getUint32(base + sub);
      const bodyAt = sub + SUB_BODY_OFFSET;
      const subSize = source.getUint32(base + sub + SUB_BODY_OFFSET - 4);
      const flag = source.getInt32(base + sub + SUB_FLAG_OFFSET);
      const sourcePropertiesAt = bodyAt + subSize + 2;
      const propertiesSize = subEnd - sourcePropertiesAt;
      if (record > at && template.matches(source, base + sourcePropertiesAt, propertiesSize)) {
        const next = template.write(data, this.#view, record, flag, bytes, source, base, bodyAt, subSize, propertiesSize, seed);
        isNoWait ||= template.isNoWait;
        sizes[done++] = next - record;
        record = next;
        sub = subEnd;
        continue;
      }
      const sizeAt = writeRecordHead(
        data,
        record,
        queueId,
        flag,
        sysFlag,
        bornTimestamp,
        bornHost,
        store,
        0,
        bytes,
        bodyAt,
        subSize,
        topic.key,
      );
      const propertiesAt = sizeAt + 2;
      let end = propertiesAt + bytes.copy(data, propertiesAt, sourcePropertiesAt, subEnd);
      if (end > propertiesAt && data[end - 1] !== VALUE_END) data[end++] = VALUE_END;
      if (end - propertiesAt > this.#propertiesSizeMax) return SEND_UNUSUAL;
      this.#properties.scan(data, propertiesAt, end);
      if (this.#properties.isSpecial || this.#properties.isInner) return SEND_UNUSUAL;
      this.#properties.writeNotes(data, this.#view, record, hostFlags(bornHost), seed);
      isNoWait ||= this.#properties.isNoWait;
      if (record === at && this.#properties.keyEnd !== 0) {
        keyStart = this.#properties.keyStart;
        keyEnd = this.#properties.keyEnd;
      }
      finishRecord(data, record, propertiesAt, end);
      if (record === at) {
        const tailAt = propertiesAt - 2 - topic.key.length - topicSizeSize(topic.key);
        const flags = hostFlags(bornHost) | (store.length > 8 ? SYS_FLAG_STORE_HOST_V6 : 0);
        template.begin(data, this.#view, record, tailAt, propertiesAt, end, this.#properties, flags, seed);
        template.keep(topic.key, bornHost, sysFlag);
      }
      sizes[done++] = end - record;
      record = end;
      sub = subEnd;
    }
    const ticket = this.#ticket(connection, scan, queueId);
    if (ticket < 0) return SEND_BLOCKED;
    this.#tickets.keySizes[ticket] = 0;
    this.#tickets.noWaits[ticket] = isNoWait ? 1 : 0;
    if (this.#tailSize > 0) for (let i = 0; i < count; i++) sizes[i]! += this.#tailSize;
    this.#tickets.setBatch(ticket, sizes, count);
    this.#commit(record - at, ticket, topic, queueId, count, keyStart, keyEnd, APPEND_NOTED);
    return SEND_TAKEN;
  }

  /**
   * The whole batch becomes one record, which clients take apart. One that is compressed as a whole must say by INNER_NUM
   * how many messages it holds. Source: Apache `SendMessageProcessor.sendBatchMessage`.
   * @returns NO_INNER_BATCH when its messages are to be stored one by one: the batch has no key, or its bodies are compressed
   */
  #takeInnerBatch(frame: SendFrame): number {
    const { connection, bodySize, scan, topic, queueId } = frame;
    if (!scan.has(fields.FIELD_PROPERTIES)) return NO_INNER_BATCH;
    const headerSizeMax = scan.rawEnd(fields.FIELD_PROPERTIES) - scan.rawStart(fields.FIELD_PROPERTIES);
    const sizeMax = RECORD_OVERHEAD_MAX + bodySize + topic.key.length + headerSizeMax + this.#added.length + INNER_BASE_SIZE + 64;
    if (sizeMax > this.#batchSizeMax) return SEND_UNUSUAL;
    const at = this.#lane.reserve(sizeMax);
    if (at === RESERVE_FULL) return SEND_BLOCKED;
    const data = this.#lane.data;
    const writer = this.#innerBatch;
    const end = writer.write(data, at, frame);
    if (end < 0) return end === INNER_BATCH_NONE ? NO_INNER_BATCH : SEND_UNUSUAL;
    const ticket = this.#ticket(connection, scan, queueId);
    if (ticket < 0) return SEND_BLOCKED;
    const { keyStart, keyEnd } = writer.properties;
    this.#tickets.setKey(ticket, this.#view, keyStart, keyEnd);
    this.#tickets.noWaits[ticket] = writer.properties.isNoWait ? 1 : 0;
    this.#tickets.innerBatches[ticket] = 1;
    this.#commit(end - at, ticket, topic, queueId, writer.count, keyStart, keyEnd, APPEND_INNER_BATCH);
    return SEND_TAKEN;
  }

  /** @param keyStart where the sender's unique key stands in the lane's data, 0: it has none (the key never comes first) */
  #commit(
    size: number,
    ticket: number,
    topic: IoTopic,
    queueId: number,
    count: number,
    keyStart: number,
    keyEnd: number,
    kind: number,
  ): void {
    this.hasCommitted = true;
    const { dedupWindowS, slots } = topic;
    if (dedupWindowS === 0 || keyStart === 0) {
      this.#lane.commit(size, ticket, slots[queueId]!, count, kind);
      return;
    }
    const hash = this.#dedupHash;
    hash.of(slots[0]!, this.#lane.data, keyStart, keyEnd);
    const flags = kind | APPEND_ONCE | (dedupWindowS << APPEND_WINDOW_SHIFT);
    this.#lane.commit(size, ticket, slots[queueId]!, count, flags, hash.low, hash.high);
  }

  #ticket(connection: IoConnection, scan: HeaderScan, queueId: number): number {
    const ticket = this.#tickets.take();
    if (ticket < 0) return ticket;
    this.#tickets.connections[ticket] = connection;
    this.#tickets.owners[ticket] = connection.id | 0;
    this.#tickets.opaques[ticket] = scan.opaque;
    this.#tickets.queueIds[ticket] = queueId;
    this.#tickets.innerBatches[ticket] = 0;
    this.#tickets.oneways[ticket] = (scan.flag & FLAG_ONEWAY) !== 0 ? 1 : 0;
    return ticket;
  }
}

function hostFlags(bornHost: Buffer): number {
  return bornHost.length > 8 ? SYS_FLAG_BORN_HOST_V6 : 0;
}
