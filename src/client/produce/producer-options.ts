import { CLIENT_OPTION_KEYS, type ClientOptions } from "../connection/client-instance.ts";
import { checkGroup, checkInteger, checkKnownKeys, checkOneOf, invalidOption } from "../options.ts";
import { COMPRESSIONS, type Compression } from "./compression.ts";

/** All times in ms, all sizes in bytes. */
export interface ProducerOptions extends ClientOptions {
  /** Producer group. */
  group: string;
  /**
   * Size of the batches that `send` and `sendBuffered` gather for each queue. 0 (default): no batches, each
   * message goes by itself at once, with the least latency and the most work for both sides.
   */
  batchSize?: number;
  /** How long a batch waits for more messages. Default 0: until the end of the event loop's turn, or while its queue is busy. */
  lingerMs?: number;
  /** Batches in flight to one queue. With 1 (default) a queue keeps the order of sending, across retries too. */
  maxInFlight?: number;
  /** Most bytes of messages accepted and not yet acknowledged. Default 32 MiB. */
  bufferMemory?: number;
  /** How long `send` waits for room in bufferMemory, and for the topic's route, before it fails with MILLRACE_BUSY. Default 60,000. */
  maxBlockMs?: number;
  /** Default "none". */
  compression?: Compression;
  /**
   * Compress each batch as a whole instead of body by body: smaller, and less work. Only for topics with
   * `queue.type=BatchCQ` at Millrace brokers; official Java clients read them, Apache's broker does not take them. Needs
   * batchSize. Default false.
   */
  compressBatches?: boolean;
  /** Bodies (with compressBatches: batches) of at least this size are compressed. Default 4,096. */
  compressOver?: number;
  /** Further attempts after a failure that may pass; another broker is preferred. Default 2. */
  retries?: number;
  /** Pause before an attempt on the same broker; times the number of attempts made. Default 100. */
  retryDelayMs?: number;
  /** Time that each attempt may take. Default 3,000. */
  sendTimeoutMs?: number;
  /** Largest body. Default 4 MiB, which is also the broker's default. */
  maxMessageSize?: number;
  /** Queues of a topic that the broker creates on its first message. Default 4. */
  defaultTopicQueueNums?: number;
}

export type ProducerSettings = Required<Omit<ProducerOptions, keyof ClientOptions>>;

const KEYS = [
  ...CLIENT_OPTION_KEYS,
  "group",
  "batchSize",
  "lingerMs",
  "maxInFlight",
  "bufferMemory",
  "maxBlockMs",
  "compression",
  "compressBatches",
  "compressOver",
  "retries",
  "retryDelayMs",
  "sendTimeoutMs",
  "maxMessageSize",
  "defaultTopicQueueNums",
] as const;

const DAY_MS = 86_400_000;
/** A frame holds 16 MiB; this leaves room for the largest header. */
const BODY_SIZE_MAX = 16_777_216 - 262_144;

/** Fills in defaults. @throws MillraceError MILLRACE_CONFIG_INVALID naming key, value and what is allowed */
export function producerSettings(options: ProducerOptions): ProducerSettings {
  if (typeof options !== "object" || options === null) throw invalidOption("options", options, "an object");
  checkKnownKeys(options, KEYS, "a producer");
  const bufferMemory = checkInteger("bufferMemory", options.bufferMemory ?? 33_554_432, 65_536, Number.MAX_SAFE_INTEGER);
  return {
    group: checkGroup("group", options.group),
    batchSize: checkInteger("batchSize", options.batchSize ?? 0, 0, Math.min(bufferMemory, 4_194_304)),
    lingerMs: checkInteger("lingerMs", options.lingerMs ?? 0, 0, DAY_MS),
    maxInFlight: checkInteger("maxInFlight", options.maxInFlight ?? 1, 1, 1_024),
    bufferMemory,
    maxBlockMs: checkInteger("maxBlockMs", options.maxBlockMs ?? 60_000, 0, DAY_MS),
    compression: checkOneOf("compression", options.compression ?? "none", COMPRESSIONS),
    compressBatches: checkBatches(options),
    compressOver: checkInteger("compressOver", options.compressOver ?? 4_096, 1, BODY_SIZE_MAX),
    retries: checkInteger("retries", options.retries ?? 2, 0, 1_000),
    retryDelayMs: checkInteger("retryDelayMs", options.retryDelayMs ?? 100, 1, DAY_MS),
    sendTimeoutMs: checkInteger("sendTimeoutMs", options.sendTimeoutMs ?? 3_000, 1, DAY_MS),
    maxMessageSize: checkInteger("maxMessageSize", options.maxMessageSize ?? 4_194_304, 1, BODY_SIZE_MAX),
    defaultTopicQueueNums: checkInteger("defaultTopicQueueNums", options.defaultTopicQueueNums ?? 4, 1, 65_536),
  };
}

function checkBatches({ compressBatches = false, batchSize = 0, compression = "none" }: ProducerOptions): boolean {
  if (typeof compressBatches !== "boolean") throw invalidOption("compressBatches", compressBatches, "true or false");
  if (compressBatches && (batchSize === 0 || compression === "none")) {
    throw invalidOption("compressBatches", compressBatches, "true only with batchSize and compression");
  }
  return compressBatches;
}
