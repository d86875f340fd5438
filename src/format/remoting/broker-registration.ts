import { deflateSync, inflateSync } from "node:zlib";
import { MillraceError } from "../../base/errors.ts";
import { entriesOf, memberOf, parseJson, writeJson } from "../text/fastjson.ts";
import {
  DATA_VERSION_NONE,
  type DataVersion,
  dataVersionFrom,
  decodeTopicLine,
  encodeDataVersion,
  encodeTopicLine,
  type TopicConfig,
  topicConfigFrom,
  topicConfigMembers,
} from "../topic-config.ts";

/**
 * Body of REGISTER_BROKER (103). Plain: JSON. Compressed: a zlib stream of
 *   | size | DataVersion JSON | topicCount | size | topic line | ... | size | filter servers JSON |
 *   | mappingCount | size | mapping JSON | ... |         (mappings only from senders of 5.0 on)
 * where sizes and counts are i32, big-endian.
 * Source: Apache `RegisterBrokerBody`.
 */
export interface RegistrationBody {
  dataVersion: DataVersion;
  topics: TopicConfig[];
  /** Static topics by name. */
  queueMappings: Map<string, QueueMapping>;
  filterServers: string[];
}

/** Share of one broker in a static topic. Source: Apache `TopicQueueMappingInfo`. */
export interface QueueMapping {
  topic: string;
  scope: string;
  totalQueues: number;
  brokerName: string;
  epoch: number;
  dirty: boolean;
  /** Global queue id to this broker's. */
  currentIds: Map<number, number>;
}

/** Version ordinals of senders. Source: Apache `MQVersion`. */
const VERSION_3_0_11 = 37;
const VERSION_5_0_0 = 413;

/** Against bodies that inflate without end: eight frames' worth, some 300,000 topics. */
const INFLATED_SIZE_MAX = 134_217_728;

export function encodeRegistration(body: RegistrationBody): Buffer {
  const mappings = [...body.queueMappings].map(([topic, mapping]) => [topic, queueMappingMembers(mapping)] as const);
  return Buffer.from(
    writeJson({
      filterServerList: body.filterServers,
      topicConfigSerializeWrapper: {
        dataVersion: body.dataVersion,
        mappingDataVersion: body.dataVersion,
        topicConfigTable: new Map(body.topics.map((topic) => [topic.topicName, topicConfigMembers(topic)])),
        topicQueueMappingDetailMap: {},
        topicQueueMappingInfoMap: new Map(mappings),
      },
    }),
  );
}

export function encodeCompressedRegistration(body: RegistrationBody): Buffer {
  const parts: Buffer[] = [];
  const add = (bytes: Buffer): void => void parts.push(int32(bytes.length), bytes);
  add(encodeDataVersion(body.dataVersion));
  parts.push(int32(body.topics.length));
  for (const topic of body.topics) add(Buffer.from(encodeTopicLine(topic)));
  add(Buffer.from(writeJson(body.filterServers)));
  parts.push(int32(body.queueMappings.size));
  for (const mapping of body.queueMappings.values()) add(Buffer.from(writeJson(queueMappingMembers(mapping))));
  return deflateSync(Buffer.concat(parts), { level: 9 });
}

/**
 * @param version   MQVersion ordinal of the sender: it decides what the body holds
 * @throws MillraceError MILLRACE_PROTOCOL
 */
export function decodeRegistration(body: Buffer, compressed: boolean, version: number): RegistrationBody {
  if (body.length === 0) return { dataVersion: DATA_VERSION_NONE, topics: [], queueMappings: new Map(), filterServers: [] };
  if (version < VERSION_3_0_11) return fromWrapper(parseJson(body), []);
  if (compressed) return decodeCompressed(body, version);
  const parsed = parseJson(body);
  return fromWrapper(memberOf(parsed, "topicConfigSerializeWrapper"), textItems(memberOf(parsed, "filterServerList")));
}

/** `{"table":{key:value}}`: the order topics in the answer to a registration, and KV lists. Source: Apache `KVTable`. */
export function encodeKeyValueTable(table: ReadonlyMap<string, string>): Buffer {
  return Buffer.from(writeJson({ table }));
}

/** Empty for an empty body. @throws MillraceError MILLRACE_PROTOCOL */
export function decodeKeyValueTable(body: Buffer): Map<string, string> {
  if (body.length === 0) return new Map();
  const entries = entriesOf(memberOf(parseJson(body), "table"));
  return new Map(
    entries.filter((entry): entry is [string, string] => typeof entry[0] === "string" && typeof entry[1] === "string"),
  );
}

/** The members in the order that Java writes. */
export function queueMappingMembers(mapping: QueueMapping): Record<string, unknown> {
  const { brokerName, currentIds, dirty, epoch, scope, topic, totalQueues } = mapping;
  return { bname: brokerName, currIdMap: currentIds, dirty, epoch, scope, topic, totalQueues };
}

function fromWrapper(wrapper: unknown, filterServers: string[]): RegistrationBody {
  const topics = entriesOf(memberOf(wrapper, "topicConfigTable")).map(([name, config]) => topicConfigFrom(String(name), config));
  const queueMappings = new Map<string, QueueMapping>();
  for (const [topic, mapping] of entriesOf(memberOf(wrapper, "topicQueueMappingInfoMap"))) {
    queueMappings.set(String(topic), queueMappingFrom(String(topic), mapping));
  }
  return { dataVersion: dataVersionFrom(memberOf(wrapper, "dataVersion")), topics, queueMappings, filterServers };
}

function queueMappingFrom(topic: string, value: unknown): QueueMapping {
  const integer = (name: string): number => {
    const member = memberOf(value, name) ?? 0;
    if (Number.isInteger(member)) return member as number;
    throw new MillraceError("MILLRACE_PROTOCOL", `queue mapping of ${topic}: ${name} is not an integer`, { topic, name });
  };
  const currentIds = new Map<number, number>();
  for (const [globalId, queueId] of entriesOf(memberOf(value, "currIdMap"))) {
    if (!Number.isInteger(Number(globalId)) || !Number.isInteger(queueId)) {
      throw new MillraceError("MILLRACE_PROTOCOL", `queue mapping of ${topic}: currIdMap holds what is no queue id`, { topic });
    }
    currentIds.set(Number(globalId), queueId as number);
  }
  return {
    topic,
    scope: textOr(memberOf(value, "scope"), "__global__"),
    totalQueues: integer("totalQueues"),
    brokerName: textOr(memberOf(value, "bname"), ""),
    epoch: integer("epoch"),
    dirty: memberOf(value, "dirty") === true,
    currentIds,
  };
}

function decodeCompressed(body: Buffer, version: number): RegistrationBody {
  let bytes: Buffer;
  try {
    bytes = inflateSync(body, { maxOutputLength: INFLATED_SIZE_MAX });
  } catch (error) {
    throw new MillraceError("MILLRACE_PROTOCOL", "compressed registration cannot be inflated", { size: body.length }, error);
  }
  let at = 0;
  const take = (size: number): Buffer => {
    if (size < 0 || size > bytes.length - at) {
      throw new MillraceError("MILLRACE_PROTOCOL", "compressed registration is cut short", { at, size, end: bytes.length });
    }
    at += size;
    return bytes.subarray(at - size, at);
  };
  const takeInt = (): number => take(4).readInt32BE(0);
  const dataVersion = dataVersionFrom(parseJson(take(takeInt())));
  const topics: TopicConfig[] = [];
  // A count that lies runs into "cut short", since each topic takes bytes.
  for (let left = takeInt(); left > 0; left--) topics.push(decodeTopicLine(take(takeInt()).toString("utf8")));
  const filterServers = textItems(parseJson(take(takeInt())));
  const queueMappings = new Map<string, QueueMapping>();
  if (version >= VERSION_5_0_0) {
    for (let left = takeInt(); left > 0; left--) {
      const mapping = parseJson(take(takeInt()));
      const topic = textOr(memberOf(mapping, "topic"), "");
      queueMappings.set(topic, queueMappingFrom(topic, mapping));
    }
  }
  return { dataVersion, topics, queueMappings, filterServers };
}

function int32(value: number): Buffer {
  const bytes = Buffer.allocUnsafe(4);
  bytes.writeInt32BE(value);
  return bytes;
}

function textOr(value: unknown, absent: string): string {
  return typeof value === "string" ? value : absent;
}

function textItems(value: unknown): string[] {
  return Array.isArray(value) ? value.filter((item) => typeof item === "string") : [];
}
