import { encodeProperties } from "../../../src/format/record/properties.ts";
import type { HeaderValues, RemotingCommand } from "../../../src/format/remoting/remoting-command.ts";
import { type Asking, type Recorder, sentAt } from "../recorder.ts";

export interface Sent {
  physicalOffset: number;
  answer: RemotingCommand | undefined;
}

export interface Sending extends Asking {
  header?: HeaderValues;
  properties?: Readonly<Record<string, string>>;
  who?: string;
  code?: 10 | 310 | 320 | 324 | 325;
}

/** Born at a fixed time, so that records are the same in each run. */
const BORN = 1_700_000_000_000;

/** Sends one message, by default with letters as header names. */
export async function send(r: Recorder, topic: string, body: string | Buffer, sending: Sending = {}): Promise<Sent> {
  const { header = {}, properties = { UNIQ_KEY: `U-${String(body).slice(0, 9)}` }, who = "p", code = 310, ...asking } = sending;
  const text = encodeProperties(new Map(Object.entries(properties)));
  const long = {
    producerGroup: "pg", topic, defaultTopic: "TBW102", defaultTopicQueueNums: 4, queueId: 0, sysFlag: 0, bornTimestamp: BORN,
    flag: 0, properties: text, reconsumeTimes: 0, unitMode: false, batch: code === 320, ...header,
  }; // biome-ignore format: one thing.
  const fields = code === 10 || code === 324 ? long : lettersOf(long);
  const answer = await r.ask(who, code, fields, { body: Buffer.from(body), ...asking });
  return { physicalOffset: sentAt(answer), answer };
}

const LETTERS: Readonly<Record<string, string>> = {
  producerGroup: "a", topic: "b", defaultTopic: "c", defaultTopicQueueNums: "d", queueId: "e", sysFlag: "f", bornTimestamp: "g",
  flag: "h", properties: "i", reconsumeTimes: "j", unitMode: "k", maxReconsumeTimes: "l", batch: "m",
}; // biome-ignore format: one thing.

function lettersOf(header: HeaderValues): HeaderValues {
  return Object.fromEntries(Object.entries(header).map(([name, value]) => [LETTERS[name] ?? name, value]));
}

/** Waits until consumers can read `count` messages of the queue. */
export function readable(r: Recorder, topic: string, queueId: number, count: number): Promise<void> {
  return r.until(30, { topic, queueId }, ({ extFields }) => Number(extFields["offset"]) >= count);
}

/** Makes a topic. */
export async function makeTopic(r: Recorder, topic: string, queueNums = 1, more: HeaderValues = {}): Promise<void> {
  const header = {
    topic,
    defaultTopic: "TBW102",
    readQueueNums: queueNums,
    writeQueueNums: queueNums,
    perm: 6,
    topicFilterType: "SINGLE_TAG",
    topicSysFlag: 0,
    order: false,
  };
  await r.ask("admin", 17, { ...header, ...more });
}

/** Pulls with a subscription of its own. */
export function pull(
  r: Recorder,
  consumerGroup: string,
  topic: string,
  more: HeaderValues = {},
  asking: Asking = {},
): Promise<RemotingCommand | undefined> {
  const header = {
    consumerGroup,
    topic,
    queueId: 0,
    queueOffset: 0,
    maxMsgNums: 32,
    sysFlag: 4,
    commitOffset: 0,
    suspendTimeoutMillis: 0,
    subscription: "*",
    subVersion: 0,
    expressionType: "TAG",
  };
  return r.ask("c", 11, { ...header, ...more }, { show: "records", ...asking });
}

export async function makeGroup(r: Recorder, groupName: string, more: object = {}): Promise<void> {
  await r.ask("admin", 200, {}, { body: { groupName, ...more } });
}
