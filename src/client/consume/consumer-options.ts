import { CLIENT_OPTION_KEYS, type ClientOptions } from "../connection/client-instance.ts";
import { checkBoolean, checkGroup, checkInteger, checkKnownKeys, checkOneOf, invalidOption } from "../options.ts";

/** Where a group without a stored offset begins; the broker lets a new group on a young topic begin at 0 in any case. */
export type ConsumeFrom = "first" | "last" | { timestamp: number };

/** All times in ms, all sizes in bytes. */
export interface ConsumerOptions extends ClientOptions {
  /** Consumer group. */
  group: string;
  /** "clustering" (default): the members of the group share the queues. "broadcasting": each gets all messages. */
  messageModel?: "clustering" | "broadcasting";
  /** Default "last". */
  consumeFrom?: ConsumeFrom;
  /** One handler at a time for each queue, in order, under the queue's lock on the broker. Default false. */
  orderly?: boolean;
  /** Handler calls under way at a time, over all queues. Default 20. */
  maxInFlight?: number;
  /** Most messages handed to one handler call. They succeed or fail together. Default 1. */
  consumeBatchSize?: number;
  /** Most messages asked for in one pull; a broker has its own limits too. Default 32. */
  pullBatchSize?: number;
  /** A queue is not pulled while it holds this many messages that cannot be committed yet. Default 1,000. */
  maxQueueMessages?: number;
  /** The same by bytes. Default 16 MiB. */
  maxQueueBytes?: number;
  /** How long the broker may hold a pull that finds nothing. Default 15,000. */
  pullSuspendMs?: number;
  /** Deliveries of a failing message before it goes to the dead-letter queue: default 16; orderly: unlimited (-1). */
  maxReconsumeTimes?: number;
  /** Pause before an orderly message that failed is handed out again. Default 1,000. */
  orderlyRetryMs?: number;
  /** Default 5,000. */
  commitIntervalMs?: number;
  /** How often the group's members are asked for, beside each time the broker says that they changed. Default 20,000. */
  rebalanceIntervalMs?: number;
  /** Largest body that a compressed message may unpack to. Default 32 MiB. */
  maxBodySize?: number;
  /** Broadcasting: file that keeps the offsets over restarts. Default: in memory only. */
  offsetFile?: string;
  /** How long `close` waits for handlers under way. Default 10,000. */
  closeTimeoutMs?: number;
}

export type ConsumerSettings = Required<Omit<ConsumerOptions, keyof ClientOptions | "offsetFile">> & {
  isBroadcasting: boolean;
  offsetFile: string | undefined;
};

const KEYS = [
  ...CLIENT_OPTION_KEYS,
  "group",
  "messageModel",
  "consumeFrom",
  "orderly",
  "maxInFlight",
  "consumeBatchSize",
  "pullBatchSize",
  "maxQueueMessages",
  "maxQueueBytes",
  "pullSuspendMs",
  "maxReconsumeTimes",
  "orderlyRetryMs",
  "commitIntervalMs",
  "rebalanceIntervalMs",
  "maxBodySize",
  "offsetFile",
  "closeTimeoutMs",
] as const;

const DAY_MS = 86_400_000;

/** Fills in defaults. @throws MillraceError MILLRACE_CONFIG_INVALID naming key, value and what is allowed */
export function consumerSettings(options: ConsumerOptions): ConsumerSettings {
  if (typeof options !== "object" || options === null) throw invalidOption("options", options, "an object");
  checkKnownKeys(options, KEYS, "a consumer");
  const messageModel = checkOneOf("messageModel", options.messageModel ?? "clustering", ["clustering", "broadcasting"]);
  const orderly = checkBoolean("orderly", options.orderly ?? false);
  const isBroadcasting = messageModel === "broadcasting";
  if (isBroadcasting && orderly)
    throw invalidOption("orderly", orderly, 'false with messageModel "broadcasting", which has no queue locks');
  const { offsetFile } = options;
  if (offsetFile !== undefined && (typeof offsetFile !== "string" || offsetFile === "" || !isBroadcasting)) {
    throw invalidOption("offsetFile", offsetFile, 'a file name, with messageModel "broadcasting" only');
  }
  return {
    group: checkGroup("group", options.group),
    messageModel,
    isBroadcasting,
    orderly,
    offsetFile,
    consumeFrom: checkConsumeFrom(options.consumeFrom ?? "last"),
    maxInFlight: checkInteger("maxInFlight", options.maxInFlight ?? 20, 1, 65_536),
    consumeBatchSize: checkInteger("consumeBatchSize", options.consumeBatchSize ?? 1, 1, 65_536),
    pullBatchSize: checkInteger("pullBatchSize", options.pullBatchSize ?? 32, 1, 65_536),
    maxQueueMessages: checkInteger("maxQueueMessages", options.maxQueueMessages ?? 1_000, 1, 1 << 24),
    maxQueueBytes: checkInteger("maxQueueBytes", options.maxQueueBytes ?? 16_777_216, 1, Number.MAX_SAFE_INTEGER),
    pullSuspendMs: checkInteger("pullSuspendMs", options.pullSuspendMs ?? 15_000, 0, 600_000),
    maxReconsumeTimes: checkInteger("maxReconsumeTimes", options.maxReconsumeTimes ?? (orderly ? -1 : 16), -1, 1_000_000),
    orderlyRetryMs: checkInteger("orderlyRetryMs", options.orderlyRetryMs ?? 1_000, 1, DAY_MS),
    commitIntervalMs: checkInteger("commitIntervalMs", options.commitIntervalMs ?? 5_000, 1, DAY_MS),
    rebalanceIntervalMs: checkInteger("rebalanceIntervalMs", options.rebalanceIntervalMs ?? 20_000, 100, DAY_MS),
    maxBodySize: checkInteger("maxBodySize", options.maxBodySize ?? 33_554_432, 1, 1 << 30),
    closeTimeoutMs: checkInteger("closeTimeoutMs", options.closeTimeoutMs ?? 10_000, 0, DAY_MS),
  };
}

function checkConsumeFrom(from: unknown): ConsumeFrom {
  if (from === "first" || from === "last") return from;
  if (
    typeof from === "object" &&
    from !== null &&
    "timestamp" in from &&
    Number.isSafeInteger(from.timestamp) &&
    Number(from.timestamp) >= 0
  ) {
    return { timestamp: Number(from.timestamp) };
  }
  throw invalidOption("consumeFrom", from, '"first", "last" or { timestamp: milliseconds since 1970 }');
}
