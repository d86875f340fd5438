// Headers and bodies of requests as the official clients write them.
import type { HeaderValues } from "../../src/format/remoting/remoting-command.ts";

export const SEND = 10;
export const PULL = 11;
export const QUERY_OFFSET = 14;
export const UPDATE_OFFSET = 15;
export const CREATE_TOPIC = 17;
export const MAX_OFFSET = 30;
export const MIN_OFFSET = 31;
export const VIEW_MESSAGE = 33;
export const HEARTBEAT = 34;
export const SEND_BACK = 36;
export const CREATE_GROUP = 200;
export const DELETE_TOPIC = 215;
export const SEND_V2 = 310;
export const SEND_BATCH = 320;

/** Bits of a pull's sysFlag. */
export const PULL_COMMIT = 1;
export const PULL_SUSPEND = 2;
export const PULL_SUBSCRIPTION = 4;

export interface SendFields {
  topic: string;
  queueId?: number;
  properties?: Readonly<Record<string, string>>;
  /** Text form of properties, in place of `properties`. */
  propertiesText?: string;
  sysFlag?: number;
  flag?: number;
  reconsumeTimes?: number;
  batch?: boolean;
  defaultTopic?: string;
  queueNums?: number;
  maxReconsumeTimes?: number;
}

export function propertiesText(properties: Readonly<Record<string, string>>): string {
  return Object.entries(properties)
    .map(([name, value]) => `${name}\u0001${value}\u0002`)
    .join("");
}

const LETTERS: readonly (readonly [letter: string, name: string])[] = [
  ["a", "producerGroup"],
  ["b", "topic"],
  ["c", "defaultTopic"],
  ["d", "defaultTopicQueueNums"],
  ["e", "queueId"],
  ["f", "sysFlag"],
  ["g", "bornTimestamp"],
  ["h", "flag"],
  ["i", "properties"],
  ["j", "reconsumeTimes"],
  ["k", "unitMode"],
  ["l", "maxReconsumeTimes"],
  ["m", "batch"],
];

/** Header of SEND (10), with long names. */
export function sendHeader(fields: SendFields): Record<string, string | number | boolean | undefined> {
  return {
    producerGroup: "raw-producers",
    topic: fields.topic,
    defaultTopic: fields.defaultTopic ?? "TBW102",
    defaultTopicQueueNums: fields.queueNums ?? 4,
    queueId: fields.queueId ?? 0,
    sysFlag: fields.sysFlag ?? 0,
    bornTimestamp: 1_700_000_000_000,
    flag: fields.flag ?? 0,
    properties: fields.propertiesText ?? propertiesText(fields.properties ?? {}),
    reconsumeTimes: fields.reconsumeTimes ?? 0,
    unitMode: false,
    maxReconsumeTimes: fields.maxReconsumeTimes,
    batch: fields.batch ?? false,
  };
}

/** Header of SEND_V2 (310) and SEND_BATCH (320), with letters. */
export function sendHeaderV2(fields: SendFields): HeaderValues {
  const long = sendHeader(fields);
  return Object.fromEntries(LETTERS.map(([letter, name]) => [letter, long[name]]));
}

export interface PullFields {
  group: string;
  topic: string;
  queueId?: number;
  offset?: number;
  count?: number;
  /** Default: the subscription stands in the request; no suspending. */
  sysFlag?: number;
  suspendMs?: number;
  expression?: string;
  commitOffset?: number;
}

export function pullHeader(fields: PullFields): HeaderValues {
  return {
    consumerGroup: fields.group,
    topic: fields.topic,
    queueId: fields.queueId ?? 0,
    queueOffset: fields.offset ?? 0,
    maxMsgNums: fields.count ?? 32,
    sysFlag: fields.sysFlag ?? PULL_SUBSCRIPTION,
    commitOffset: fields.commitOffset ?? 0,
    suspendTimeoutMillis: fields.suspendMs ?? 0,
    subscription: fields.expression ?? "*",
    subVersion: 0,
    expressionType: "TAG",
  };
}

export function topicHeader(topic: string, queueCount: number, perm = 6): HeaderValues {
  return {
    topic,
    defaultTopic: "TBW102",
    readQueueNums: queueCount,
    writeQueueNums: queueCount,
    perm,
    topicFilterType: "SINGLE_TAG",
    topicSysFlag: 0,
    order: false,
  };
}

export interface BatchMessage {
  body: Buffer;
  flag?: number;
  properties?: Readonly<Record<string, string>>;
}

/** Body of SEND_BATCH. Source: Apache `MessageDecoder.encodeMessages`. */
export function batchBody(messages: readonly BatchMessage[]): Buffer {
  return Buffer.concat(
    messages.map(({ body, flag = 0, properties = {} }) => {
      const text = Buffer.from(propertiesText(properties));
      const message = Buffer.alloc(22 + body.length + text.length);
      message.writeUInt32BE(message.length, 0);
      message.writeInt32BE(flag, 12);
      message.writeUInt32BE(body.length, 16);
      body.copy(message, 20);
      message.writeUInt16BE(text.length, 20 + body.length);
      text.copy(message, 22 + body.length);
      return message;
    }),
  );
}
