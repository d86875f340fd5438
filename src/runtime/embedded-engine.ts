import { type Clock, SystemClock } from "../base/clock.ts";
import { MillraceError } from "../base/errors.ts";
import type { AppendResult } from "../broker/message-store.ts";
import { decompressBody } from "../client/produce/compression.ts";
import { topicNameFault } from "../format/names.ts";
import {
  type DecodedMessage,
  decodeMessage,
  encodeHost,
  RECORD_OVERHEAD_MAX,
  SYS_FLAG_COMPRESSED,
  SYS_FLAG_INNER_BATCH,
  SYS_FLAG_NEED_UNWRAP,
} from "../format/record/message.ts";
import { decodeProperties, encodeProperties, PROPERTIES_SIZE_MAX, PROPERTY } from "../format/record/properties.ts";
import { finishRecord, writeRecordHead } from "../format/record/record-writer.ts";
import { subMessagesOf } from "../format/remoting/send-request.ts";
import { type Log, silentLog } from "../observe/log.ts";
import { Engine } from "./engine.ts";
import { EngineStore } from "./engine-store.ts";
import { Retention } from "./retention.ts";
import { checkedRetention, type RetentionKeys, retentionOptions } from "./retention-options.ts";
import { DELAY_LEVELS_MS, STORE_DEFAULTS } from "./store-defaults.ts";

/**
 * Messages are kept as by the broker, and by its keys (`fileReservedTime`, in hours, and so on): 72 h; less where the disk
 * is full to 85 %, and above 90 % appends fail (MILLRACE_DISK_WATERMARK).
 */
export interface OpenEngineOptions extends Partial<RetentionKeys> {
  /** Directory of the store; created when missing. */
  storePath: string;
  /** Run without foreign calls. Default: only where they do not work. */
  nativeFree?: boolean;
  /** Bytes of one CommitLog file. Default 1 GiB. */
  mappedFileSizeCommitLog?: number;
  /** ASYNC_FLUSH (default): an ack means "in the page cache"; SYNC_FLUSH: "on the disk", by group commit. */
  flushDiskType?: "ASYNC_FLUSH" | "SYNC_FLUSH";
  /** Largest message body, bytes. Default 4 MiB. */
  maxMessageSize?: number;
  clock?: Clock;
  log?: Log;
  /** A store thread died or the disk failed. Default: throws, out of any call. */
  onFailure?: (error: Error) => void;
}

export interface AppendOptions {
  queueId?: number;
  tags?: string;
  keys?: string | readonly string[];
  properties?: Readonly<Record<string, string>>;
}

export interface ReadOptions {
  queueId?: number;
  /** First queueOffset. Default: the queue's minimum. */
  from?: number;
  /** Waits for more at the queue's end, instead of ending there. Default false. */
  follow?: boolean;
  signal?: AbortSignal;
}

export type AppendCallback = (error: MillraceError | undefined, result: AppendResult | undefined) => void;

const LOCAL_HOST = encodeHost("127.0.0.1:0");
const NO_PROPERTIES: Buffer = Buffer.alloc(0);
const FOLLOW_MS = 5;

/**
 * The store inside one's own process, without a socket: appends go over a ring of the calling thread to the log
 * writer, reads come from the files. One thread uses one instance.
 */
export class EmbeddedEngine implements AsyncDisposable {
  readonly #engine: Engine;
  readonly #store: EngineStore;
  readonly #retention: Retention;
  readonly #clock: Clock;
  readonly #maxMessageSize: number;
  readonly #topicKeys = new Map<string, Buffer>();
  readonly #room: (() => void)[] = [];

  /** @throws MillraceError MILLRACE_STORE_LOCKED, MILLRACE_STORE_UNWRITABLE, MILLRACE_STORE_CORRUPT, MILLRACE_STORE_FULL */
  static async open(options: OpenEngineOptions): Promise<EmbeddedEngine> {
    const clock = options.clock ?? new SystemClock();
    const maxMessageSize = options.maxMessageSize ?? STORE_DEFAULTS.maxMessageSize;
    const retention = retentionOptions(checkedRetention(options));
    const log = options.log ?? silentLog;
    const engine = await Engine.open({
      ...STORE_DEFAULTS,
      storePath: options.storePath,
      isNativeFree: options.nativeFree ?? false,
      logFileSize: options.mappedFileSizeCommitLog ?? STORE_DEFAULTS.logFileSize,
      recordSizeMax: maxMessageSize + 65_536,
      laneCount: 1,
      pullLaneCount: 0,
      writerLane: -1,
      isSyncFlush: options.flushDiskType === "SYNC_FLUSH",
      delayLevelsMs: DELAY_LEVELS_MS,
      dedupMaxEntries: 0,
      clock,
      log,
      onFailure:
        options.onFailure ??
        ((error) => {
          throw error;
        }),
    });
    return new EmbeddedEngine(engine, clock, maxMessageSize, (onDeleted) => {
      const beforeDelete = (): Promise<boolean> => Promise.resolve(true); // No compacted topics here.
      return new Retention({ ...retention, engine, clock, log, beforeDelete, onDeleted });
    });
  }

  private constructor(
    engine: Engine,
    clock: Clock,
    maxMessageSize: number,
    startRetention: (onDeleted: () => void) => Retention,
  ) {
    this.#engine = engine;
    this.#clock = clock;
    this.#maxMessageSize = maxMessageSize;
    this.#store = new EngineStore(engine, 0, () => "127.0.0.1:0", clock);
    this.#store.lane.onRoom = () => {
      for (const resolve of this.#room.splice(0)) resolve();
    };
    this.#retention = startRetention(() => this.#store.forgetDeleted());
    engine.startServing();
  }

  /** Which drive the store runs on: "ffi" or "native-free". */
  get drive(): string {
    return this.#engine.drive.name;
  }

  topics(): string[] {
    return this.#engine.topics.topicNames();
  }

  /** Makes the queues [0, queueCount) of a topic. Idempotent; grows only. @throws MillraceError MILLRACE_CONFIG_INVALID */
  createTopic(topic: string, queueCount = 1): void {
    const fault = topicNameFault(topic);
    if (fault !== undefined) throw new MillraceError("MILLRACE_CONFIG_INVALID", fault, { topic });
    if (!Number.isInteger(queueCount) || queueCount < 1 || queueCount > 65_536) {
      throw new MillraceError("MILLRACE_CONFIG_INVALID", `queueCount must be 1..65536, not ${queueCount}`, { queueCount });
    }
    this.#engine.topics.ensureQueues(topic, queueCount);
    this.#topicKeys.set(topic, Buffer.from(topic));
  }

  /** Stores one message. Resolves when it is stored as flushDiskType says; waits for room when the rings are full. */
  async append(topic: string, body: Buffer | string, options: AppendOptions = {}): Promise<AppendResult> {
    const bytes = typeof body === "string" ? Buffer.from(body) : body;
    const properties = propertiesOf(options);
    for (;;) {
      let settle: AppendCallback = () => {};
      const stored = new Promise<AppendResult>((resolve, reject) => {
        settle = (error, result) => (error === undefined ? resolve(result!) : reject(error));
      });
      if (this.#tryAppend(topic, options.queueId ?? 0, bytes, properties, settle)) return stored;
      await this.room();
    }
  }

  /**
   * The cheapest way in: no promise, the callback comes when the message is stored.
   * @param properties properties text (format/record/properties.ts), already encoded
   * @returns false when the rings are full: nothing was taken; `await room()` and try again
   */
  tryAppend(topic: string, queueId: number, body: Buffer, callback: AppendCallback, properties: Buffer = NO_PROPERTIES): boolean {
    return this.#tryAppend(topic, queueId, body, properties, callback);
  }

  /** Stores many bodies in one queue, as neighbours; one ack for all. The result is the first message's. */
  async appendBatch(topic: string, queueId: number, bodies: readonly Buffer[]): Promise<AppendResult> {
    if (bodies.length === 0) throw new MillraceError("MILLRACE_CONFIG_INVALID", "an empty batch");
    const { key, slot } = this.#queueOf(topic, queueId);
    let sizeMax = 0;
    for (const body of bodies) {
      this.#checkBody(body);
      sizeMax += RECORD_OVERHEAD_MAX + key.length + body.length;
    }
    if (sizeMax > this.#maxMessageSize) {
      const text = `the batch takes ${sizeMax} bytes, more than maxMessageSize ${this.#maxMessageSize}`;
      throw new MillraceError("MILLRACE_MESSAGE_ILLEGAL", text, { sizeMax });
    }
    const now = this.#clock.now();
    const write = (data: Buffer, start: number): number => {
      let at = start;
      for (const body of bodies) at = writeWhole(data, at, queueId, now, body, key, NO_PROPERTIES);
      return at;
    };
    for (;;) {
      let settle: AppendCallback = () => {};
      const stored = new Promise<AppendResult>((resolve, reject) => {
        settle = (error, result) => (error === undefined ? resolve(result!) : reject(error));
      });
      if (this.#store.lane.tryAppendInPlace(sizeMax, slot, bodies.length, write, settle)) return stored;
      await this.room();
    }
  }

  #tryAppend(topic: string, queueId: number, body: Buffer, properties: Buffer, callback: AppendCallback): boolean {
    const { key, slot } = this.#queueOf(topic, queueId);
    this.#checkBody(body);
    const now = this.#clock.now();
    const sizeMax = RECORD_OVERHEAD_MAX + key.length + body.length + properties.length;
    const write = (data: Buffer, at: number): number => writeWhole(data, at, queueId, now, body, key, properties);
    return this.#store.lane.tryAppendInPlace(sizeMax, slot, 1, write, callback);
  }

  #checkBody(body: Buffer): void {
    if (body.length > 0 && body.length <= this.#maxMessageSize) return;
    const text = `a message body has 1..${this.#maxMessageSize} bytes, not ${body.length}`;
    throw new MillraceError("MILLRACE_MESSAGE_ILLEGAL", text, { bodySize: body.length, maxMessageSize: this.#maxMessageSize });
  }

  #queueOf(topic: string, queueId: number): { key: Buffer; slot: number } {
    const slot = this.#engine.topics.slotOf(topic, queueId);
    if (slot === undefined)
      throw new MillraceError("MILLRACE_TOPIC_UNKNOWN", `no queue ${queueId} of topic ${topic}; see createTopic`, {
        topic,
        queueId,
      });
    let key = this.#topicKeys.get(topic);
    if (key === undefined) {
      key = Buffer.from(topic);
      this.#topicKeys.set(topic, key);
    }
    return { key, slot };
  }

  /** Resolves when the rings have room again. */
  room(): Promise<void> {
    // Nothing under way, so no ack will tell: the rings ran empty while the caller was being refused.
    if (this.#store.lane.inFlight === 0) return Promise.resolve();
    return new Promise((resolve) => this.#room.push(resolve));
  }

  minOffset(topic: string, queueId = 0): number {
    return this.#store.minQueueOffset(topic, queueId);
  }

  /** One past the last readable message. It follows an append's ack within milliseconds. */
  maxOffset(topic: string, queueId = 0): number {
    return this.#store.maxQueueOffset(topic, queueId);
  }

  /** Up to `count` messages from queueOffset `from` on. */
  readBatch(topic: string, queueId: number, from: number, count: number): DecodedMessage[] {
    this.#queueOf(topic, queueId);
    const messages: DecodedMessage[] = [];
    const end = Math.min(this.maxOffset(topic, queueId), from + count);
    for (let offset = from; offset < end; ) {
      const entry = this.#store.queueEntry(topic, queueId, offset);
      const record = entry === undefined ? undefined : this.#store.readRecord(entry.physicalOffset);
      if (record !== undefined) messages.push(...decodeWhole(record));
      offset = entry?.endOffset ?? offset + 1;
    }
    return messages.filter(({ queueOffset }) => queueOffset >= from && queueOffset < end);
  }

  /** The queue's messages in order; with `follow`, also those still to come, until `signal` aborts. */
  async *read(topic: string, options: ReadOptions = {}): AsyncGenerator<DecodedMessage, void, void> {
    const queueId = options.queueId ?? 0;
    let offset = options.from ?? this.minOffset(topic, queueId);
    while (options.signal?.aborted !== true) {
      offset = Math.max(offset, this.minOffset(topic, queueId)); // What is older may go while we read.
      const end = Math.min(this.maxOffset(topic, queueId), offset + 256);
      for (const message of this.readBatch(topic, queueId, offset, end - offset)) yield message;
      if (end > offset) {
        offset = end;
        continue;
      }
      if (options.follow !== true) return;
      await new Promise<void>((resolve) => this.#clock.setTimer(resolve, FOLLOW_MS));
    }
  }

  /** Stores what is under way, brings it to the disk and releases the store. */
  async close(): Promise<void> {
    await this.#retention.close();
    await this.#store.close();
    await this.#engine.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/** Opens a store in this process. See EmbeddedEngine. */
export function openEngine(options: OpenEngineOptions): Promise<EmbeddedEngine> {
  return EmbeddedEngine.open(options);
}

/** Largest batch when it is unpacked, bytes. */
const BATCH_SIZE_MAX = 67_108_864;

/** The record's message, or those of the batch that it is. */
function decodeWhole(record: Buffer): DecodedMessage[] {
  const message = decodeMessage(record);
  const { sysFlag, queueOffset } = message;
  if ((sysFlag & SYS_FLAG_INNER_BATCH) === 0) return [message];
  const isCompressed = (sysFlag & SYS_FLAG_COMPRESSED) !== 0;
  const batch = subMessagesOf(isCompressed ? decompressBody(message.body, sysFlag, BATCH_SIZE_MAX) : message.body);
  return (batch ?? []).map(({ flag, body, properties }, index) => ({
    ...message,
    flag,
    body,
    properties: decodeProperties(properties),
    queueOffset: queueOffset + index,
    sysFlag: sysFlag & ~(SYS_FLAG_INNER_BATCH | SYS_FLAG_NEED_UNWRAP | SYS_FLAG_COMPRESSED),
  }));
}

function writeWhole(
  data: Buffer,
  at: number,
  queueId: number,
  now: number,
  body: Buffer,
  topic: Buffer,
  properties: Buffer,
): number {
  const propertiesAt = 2 + writeRecordHead(data, at, queueId, 0, 0, now, LOCAL_HOST, LOCAL_HOST, 0, body, 0, body.length, topic);
  const end = propertiesAt + properties.copy(data, propertiesAt);
  finishRecord(data, at, propertiesAt, end);
  return end;
}

function propertiesOf({ tags, keys, properties }: AppendOptions): Buffer {
  if (tags === undefined && keys === undefined && properties === undefined) return NO_PROPERTIES;
  const all = new Map(Object.entries(properties ?? {}));
  if (tags !== undefined) all.set(PROPERTY.TAGS, tags);
  if (keys !== undefined) all.set(PROPERTY.KEYS, typeof keys === "string" ? keys : keys.join(" "));
  for (const [name, value] of all) {
    if (/[\u0001\u0002]/.test(name + value)) {
      throw new MillraceError("MILLRACE_MESSAGE_ILLEGAL", `property ${name} holds a character 0x01 or 0x02`, { name });
    }
  }
  const text = Buffer.from(encodeProperties(all));
  if (text.length > PROPERTIES_SIZE_MAX) {
    throw new MillraceError("MILLRACE_MESSAGE_ILLEGAL", `properties take ${text.length} bytes, at most ${PROPERTIES_SIZE_MAX}`, {
      size: text.length,
    });
  }
  return text;
}
