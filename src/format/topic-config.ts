import { MillraceError } from "../base/errors.ts";
import { entriesOf, memberOf, parseJson, writeJson } from "./text/fastjson.ts";

/** One topic on one broker. Source: Apache `TopicConfig`. */
export interface TopicConfig {
  topicName: string;
  readQueueNums: number;
  writeQueueNums: number;
  /** Bits PERM_READ, PERM_WRITE, PERM_INHERIT, PERM_PRIORITY. */
  perm: number;
  topicFilterType: string;
  /** Bits TOPIC_UNIT, TOPIC_UNIT_SUB. */
  topicSysFlag: number;
  order: boolean;
  attributes: Record<string, string>;
}

/** Source: Apache `PermName`. */
export const PERM_INHERIT = 1;
export const PERM_WRITE = 2;
export const PERM_READ = 4;
export const PERM_PRIORITY = 8;

/** Source: Apache `TopicSysFlag`. */
export const TOPIC_UNIT = 1;
export const TOPIC_UNIT_SUB = 2;

/** State of a table that others keep copies of. Source: Apache `DataVersion`; 4.9 has no stateVersion (0 here). */
export interface DataVersion {
  counter: number;
  stateVersion: number;
  /** Milliseconds since the Unix epoch. */
  timestamp: number;
}

/** What a registration without a body stands for: equal to no version that a broker makes. */
export const DATA_VERSION_NONE: Readonly<DataVersion> = { counter: 0, stateVersion: 0, timestamp: 0 };

export function equalDataVersions(a: DataVersion, b: DataVersion): boolean {
  return a.counter === b.counter && a.stateVersion === b.stateVersion && a.timestamp === b.timestamp;
}

export function encodeDataVersion({ counter, stateVersion, timestamp }: DataVersion): Buffer {
  return Buffer.from(writeJson({ counter, stateVersion, timestamp }));
}

/** @throws MillraceError MILLRACE_PROTOCOL */
export function decodeDataVersion(body: Buffer): DataVersion {
  return dataVersionFrom(parseJson(body));
}

/** Missing members count as 0, as in Java. @throws MillraceError MILLRACE_PROTOCOL */
export function dataVersionFrom(value: unknown): DataVersion {
  return {
    counter: integerMember(value, "counter", "dataVersion"),
    stateVersion: integerMember(value, "stateVersion", "dataVersion"),
    timestamp: integerMember(value, "timestamp", "dataVersion"),
  };
}

/** The members in the order that Java writes. */
export function topicConfigMembers(config: TopicConfig): TopicConfig {
  const { attributes, order, perm, readQueueNums, topicFilterType, topicName, topicSysFlag, writeQueueNums } = config;
  return { attributes, order, perm, readQueueNums, topicFilterType, topicName, topicSysFlag, writeQueueNums };
}

/**
 * Reads a parsed TopicConfig; missing members take Java's defaults.
 * @throws MillraceError MILLRACE_PROTOCOL naming topic and member
 */
export function topicConfigFrom(topicName: string, value: unknown): TopicConfig {
  if (topicName === "") throw new MillraceError("MILLRACE_PROTOCOL", "a topic without a name");
  const filterType = memberOf(value, "topicFilterType");
  return {
    topicName,
    readQueueNums: integerMember(value, "readQueueNums", topicName, QUEUES_DEFAULT),
    writeQueueNums: integerMember(value, "writeQueueNums", topicName, QUEUES_DEFAULT),
    perm: integerMember(value, "perm", topicName, PERM_READ | PERM_WRITE),
    topicFilterType: typeof filterType === "string" ? filterType : "SINGLE_TAG",
    topicSysFlag: integerMember(value, "topicSysFlag", topicName),
    order: memberOf(value, "order") === true,
    attributes: attributesFrom(memberOf(value, "attributes")),
  };
}

/** Source: Apache `TopicConfig`, defaultReadQueueNums. */
const QUEUES_DEFAULT = 16;

/** The line of a compressed registration: `name readQ writeQ perm filterType {attributes}`; loses topicSysFlag and order. */
export function encodeTopicLine(config: TopicConfig): string {
  const { topicName, readQueueNums, writeQueueNums, perm, topicFilterType, attributes } = config;
  return `${topicName} ${readQueueNums} ${writeQueueNums} ${perm} ${topicFilterType} ${writeJson(attributes)}`;
}

/** @throws MillraceError MILLRACE_PROTOCOL */
export function decodeTopicLine(line: string): TopicConfig {
  const parts = line.split(" ");
  if (parts.length < 5) throw new MillraceError("MILLRACE_PROTOCOL", `topic line has ${parts.length} parts, expected at least 5`);
  const [topicName, readQueueNums, writeQueueNums, perm, topicFilterType] = parts as [string, string, string, string, string];
  const attributes = parts.slice(5).join(" ");
  return topicConfigFrom(topicName, {
    readQueueNums: integerText(readQueueNums),
    writeQueueNums: integerText(writeQueueNums),
    perm: integerText(perm),
    topicFilterType,
    attributes: attributes === "" ? {} : parseJson(attributes),
  });
}

/** NaN for what is no decimal integer, so that the member is refused by name. */
function integerText(text: string): number {
  return /^-?\d+$/.test(text) ? Number(text) : Number.NaN;
}

function attributesFrom(value: unknown): Record<string, string> {
  const texts = entriesOf(value).filter(
    (entry): entry is [string, string] => typeof entry[0] === "string" && typeof entry[1] === "string",
  );
  return Object.fromEntries(texts);
}

function integerMember(value: unknown, name: string, owner: string, absent = 0): number {
  const member = memberOf(value, name);
  if (member === undefined || member === null) return absent;
  if (!Number.isInteger(member))
    throw new MillraceError("MILLRACE_PROTOCOL", `${owner}: ${name} is not an integer`, { owner, name });
  return member as number;
}
