import { memberOf, parseJson, writeJson } from "../text/fastjson.ts";

/**
 * What stands in the revive topic: check points ("these messages were popped, and are invisible until then") and
 * acknowledgements. Bodies are JSON with short names; the tag tells which of them it is.
 * Source: Apache `PopCheckPoint`, `AckMsg`, `BatchAckMsg`, `PopAckConstants`.
 */
export const CHECK_POINT_TAG = "ck";
export const ACK_TAG = "ack";
export const BATCH_ACK_TAG = "bAck";
export const REVIVE_GROUP = "CID_RMQ_SYS_REVIVE_GROUP";
/** Bits of a check point's bit map. */
export const CHECK_POINT_MESSAGES_MAX = 32;

export function reviveTopic(clusterName: string): string {
  return `rmq_sys_REVIVE_LOG_${clusterName}`;
}

export interface CheckPointRecord {
  startOffset: number;
  popTime: number;
  invisibleTime: number;
  /** Bit i: the message at startOffset + distances[i] is acknowledged. */
  bitMap: number;
  queueId: number;
  topic: string;
  group: string;
  /** queueOffsets of the messages, from startOffset on. */
  distances: number[];
  brokerName: string;
  rePutTimes: number;
  /** Coming back does not count as a try. */
  isSuspended: boolean;
}

export interface AckRecord {
  topic: string;
  group: string;
  queueId: number;
  startOffset: number;
  popTime: number;
  brokerName: string;
  offsets: readonly number[];
}

type CheckPointKey = Pick<CheckPointRecord, "topic" | "group" | "queueId" | "startOffset" | "popTime" | "brokerName">;

/** Check points and acknowledgements with the same text belong together. */
export function checkPointKey({ topic, group, queueId, startOffset, popTime, brokerName }: CheckPointKey): string {
  return `${topic}@${group}@${queueId}@${startOffset}@${popTime}@${brokerName}`;
}

export function encodeCheckPoint(point: CheckPointRecord): Buffer {
  return Buffer.from(
    JSON.stringify({
      bm: point.bitMap,
      bn: point.brokerName,
      c: point.group,
      d: point.distances,
      it: point.invisibleTime,
      n: point.distances.length,
      pt: point.popTime,
      q: point.queueId,
      reviveTime: point.popTime + point.invisibleTime,
      ro: 0,
      ...(point.rePutTimes > 0 ? { rp: String(point.rePutTimes) } : {}),
      so: point.startOffset,
      sp: point.isSuspended,
      t: point.topic,
    }),
  );
}

/** undefined: it is none. */
export function decodeCheckPoint(body: Buffer): CheckPointRecord | undefined {
  const value = parsed(body);
  const count = numberOf(value, "n");
  const listed = memberOf(value, "d");
  // Old brokers wrote no distances: the messages followed each other.
  const distances = Array.isArray(listed) && listed.length > 0 ? listed.map(Number) : Array.from({ length: count }, (_, i) => i);
  const point: CheckPointRecord = {
    startOffset: numberOf(value, "so"),
    popTime: numberOf(value, "pt"),
    invisibleTime: numberOf(value, "it"),
    bitMap: numberOf(value, "bm"),
    queueId: numberOf(value, "q"),
    topic: textOf(value, "t"),
    group: textOf(value, "c"),
    distances,
    brokerName: textOf(value, "bn"),
    rePutTimes: Number(textOf(value, "rp")),
    isSuspended: memberOf(value, "sp") === true,
  };
  const numbers = [point.startOffset, point.popTime, point.invisibleTime, point.bitMap, point.queueId, point.rePutTimes];
  const isWhole = [...numbers, ...distances].every(Number.isSafeInteger);
  const isCounted = distances.length > 0 && distances.length <= CHECK_POINT_MESSAGES_MAX;
  return isWhole && isCounted && point.topic !== "" && point.group !== "" ? point : undefined;
}

/** One offset makes an acknowledgement, several a batch of them. */
export function encodeAck({ topic, group, queueId, startOffset, popTime, brokerName, offsets }: AckRecord): Buffer {
  const [first] = offsets;
  const members = { bn: brokerName, c: group, pt: popTime, q: queueId, so: startOffset, t: topic };
  if (offsets.length === 1) return Buffer.from(JSON.stringify({ ao: first, ...members }));
  return Buffer.from(JSON.stringify({ ao: -1, aol: offsets, ...members }));
}

export function decodeAck(body: Buffer, isBatch: boolean): AckRecord | undefined {
  const value = parsed(body);
  const listed = memberOf(value, "aol") ?? memberOf(value, "ackOffsetList");
  const offsets = isBatch ? (Array.isArray(listed) ? listed.map(Number) : []) : [numberOf(value, "ao", "ackOffset")];
  const ack: AckRecord = {
    topic: textOf(value, "t", "topic"),
    group: textOf(value, "c", "consumerGroup"),
    queueId: numberOf(value, "q", "queueId"),
    startOffset: numberOf(value, "so", "startOffset"),
    popTime: numberOf(value, "pt", "popTime"),
    brokerName: textOf(value, "bn", "brokerName"),
    offsets,
  };
  const isWhole = [ack.queueId, ack.startOffset, ack.popTime, ...offsets].every(Number.isSafeInteger);
  return isWhole && ack.topic !== "" && ack.group !== "" ? ack : undefined;
}

function parsed(body: Buffer): unknown {
  try {
    return parseJson(body);
  } catch {
    return undefined;
  }
}

function numberOf(value: unknown, name: string, longName = name): number {
  const member = memberOf(value, name) ?? memberOf(value, longName) ?? 0;
  return typeof member === "number" ? member : Number.NaN;
}

function textOf(value: unknown, name: string, longName = name): string {
  const member = memberOf(value, name) ?? memberOf(value, longName);
  return typeof member === "string" ? member : "";
}

export interface BatchAck {
  group: string;
  topic: string;
  /** A TopicKind. */
  kind: string;
  startOffset: number;
  queueId: number;
  reviveQueueId: number;
  popTime: number;
  invisibleTime: number;
  offsets: number[];
}

/**
 * Body of BATCH_ACK_MESSAGE. The bits of `b`, lowest first, are distances from startOffset.
 * @returns undefined where there are no acknowledgements in it
 * @throws MillraceError MILLRACE_PROTOCOL when it is no JSON
 * Source: Apache `BatchAckMessageRequestBody`, `BitSetSerializerDeserializer`.
 */
export function decodeBatchAcks(body: Buffer): { brokerName: string; acks: BatchAck[] } | undefined {
  const value = body.length === 0 ? undefined : parseJson(body);
  const listed = memberOf(value, "acks");
  if (!Array.isArray(listed) || listed.length === 0) return undefined;
  const acks = listed.map((ack: unknown) => {
    const startOffset = numberOf(ack, "so");
    const kind = memberOf(ack, "r");
    return {
      group: textOf(ack, "c"),
      topic: textOf(ack, "t"),
      kind: typeof kind === "number" ? String(kind) : typeof kind === "string" ? kind : "",
      startOffset,
      queueId: numberOf(ack, "q"),
      reviveQueueId: numberOf(ack, "rq"),
      popTime: numberOf(ack, "pt"),
      invisibleTime: numberOf(ack, "it"),
      offsets: bitsOf(Buffer.from(textOf(ack, "b"), "base64")).map((bit) => startOffset + bit),
    };
  });
  return { brokerName: textOf(value, "brokerName"), acks };
}

function bitsOf(bytes: Buffer): number[] {
  const bits: number[] = [];
  for (const [index, byte] of bytes.entries()) {
    for (let bit = 0; bit < 8; bit++) if ((byte & (1 << bit)) !== 0) bits.push(index * 8 + bit);
  }
  return bits;
}

/** One mode of messageRequestMode.json and of SET_MESSAGE_REQUEST_MODE. Source: Apache `SetMessageRequestModeRequestBody`. */
export interface RequestMode {
  topic: string;
  consumerGroup: string;
  mode: "PULL" | "POP";
  /** Consumers that share a queue beside its owner; 0 or less: all share all. */
  popShareQueueNum: number;
}

export function requestModeFrom(value: unknown): RequestMode {
  const share = memberOf(value, "popShareQueueNum");
  return {
    topic: textOf(value, "topic"),
    consumerGroup: textOf(value, "consumerGroup"),
    mode: memberOf(value, "mode") === "POP" ? "POP" : "PULL",
    popShareQueueNum: typeof share === "number" && Number.isSafeInteger(share) ? share : 0,
  };
}

export function requestModesText(modes: ReadonlyMap<string, ReadonlyMap<string, RequestMode>>): string {
  const table = Object.fromEntries([...modes].map(([topic, groups]) => [topic, Object.fromEntries([...groups].map(named))]));
  return writeJson({ messageRequestModeMap: table });
}

function named([group, { topic, consumerGroup, mode, popShareQueueNum }]: [string, RequestMode]): [string, object] {
  return [group, { consumerGroup, mode, popShareQueueNum, topic }];
}
