import { MillraceError } from "../../base/errors.ts";
import { javaHash } from "../../base/java-hash.ts";
import { memberOf, parseJson } from "../text/fastjson.ts";

/**
 * Body of HEART_BEAT (34), as every client family spells it: enums by name or, from C++ clients, by number; sets as
 * arrays whose hash codes may be text.
 * Source: Apache `HeartbeatData`, `ConsumerData`, `ProducerData`, `SubscriptionData`.
 */
export interface Heartbeat {
  clientId: string;
  producerGroups: string[];
  consumers: HeartbeatConsumer[];
  /** Hash of the whole data; 0 from clients that do not use the second form of heart-beats. */
  fingerprint: number;
  /** The subscriptions are left out: those told before still hold. */
  withoutSub: boolean;
}

export interface HeartbeatConsumer {
  group: string;
  consumeType: string;
  messageModel: "CLUSTERING" | "BROADCASTING";
  consumeFromWhere: string;
  subscriptions: HeartbeatSubscription[];
  unitMode: boolean;
}

export interface HeartbeatSubscription {
  topic: string;
  subString: string;
  tagsSet: string[];
  /** Java hashes of the tags. */
  codeSet: number[];
  subVersion: number;
  expressionType: string;
  classFilterMode: boolean;
}

/** By ordinal. */
const CONSUME_TYPES = ["CONSUME_ACTIVELY", "CONSUME_PASSIVELY", "CONSUME_POP"] as const;
const MESSAGE_MODELS = ["BROADCASTING", "CLUSTERING"] as const;
const CONSUME_FROM_WHERES = [
  "CONSUME_FROM_LAST_OFFSET",
  "CONSUME_FROM_LAST_OFFSET_AND_FROM_MIN_WHEN_BOOT_FIRST",
  "CONSUME_FROM_MIN_OFFSET",
  "CONSUME_FROM_MAX_OFFSET",
  "CONSUME_FROM_FIRST_OFFSET",
  "CONSUME_FROM_TIMESTAMP",
] as const;

/** @throws MillraceError MILLRACE_PROTOCOL naming what is wrong */
export function decodeHeartbeat(body: Buffer): Heartbeat {
  const data = parseJson(body);
  return {
    clientId: textMember(data, "clientID"),
    producerGroups: listMember(data, "producerDataSet").map((producer) => textMember(producer, "groupName")),
    consumers: listMember(data, "consumerDataSet").map(consumerFrom),
    fingerprint: integerFrom(memberOf(data, "heartbeatFingerprint")) ?? 0,
    withoutSub: memberOf(data, "withoutSub") === true,
  };
}

function consumerFrom(value: unknown): HeartbeatConsumer {
  const group = textMember(value, "groupName");
  return {
    group,
    consumeType: enumMember(value, "consumeType", CONSUME_TYPES, "CONSUME_PASSIVELY"),
    messageModel: enumMember(value, "messageModel", MESSAGE_MODELS, "CLUSTERING"),
    consumeFromWhere: enumMember(value, "consumeFromWhere", CONSUME_FROM_WHERES, "CONSUME_FROM_LAST_OFFSET"),
    subscriptions: listMember(value, "subscriptionDataSet").map(subscriptionFrom),
    unitMode: memberOf(value, "unitMode") === true,
  };
}

function subscriptionFrom(value: unknown): HeartbeatSubscription {
  const tagsSet = listMember(value, "tagsSet").filter((tag) => typeof tag === "string");
  const codes = listMember(value, "codeSet")
    .map(integerFrom)
    .filter((code) => code !== undefined);
  const subString = memberOf(value, "subString");
  const expressionType = memberOf(value, "expressionType");
  return {
    topic: textMember(value, "topic"),
    subString: typeof subString === "string" ? subString : "*",
    tagsSet,
    // Without codes nothing at all would pass the filter, though there are tags.
    codeSet: codes.length < tagsSet.length ? tagsSet.map(javaHash) : codes,
    subVersion: integerFrom(memberOf(value, "subVersion")) ?? 0,
    expressionType: typeof expressionType === "string" && expressionType !== "" ? expressionType : "TAG",
    classFilterMode: memberOf(value, "classFilterMode") === true,
  };
}

function textMember(value: unknown, name: string): string {
  const member = memberOf(value, name);
  if (typeof member !== "string" || member === "") {
    throw new MillraceError("MILLRACE_PROTOCOL", `heart-beat: ${name} is missing or no text`, { name });
  }
  return member;
}

function listMember(value: unknown, name: string): unknown[] {
  const member = memberOf(value, name);
  return Array.isArray(member) ? member : [];
}

function integerFrom(value: unknown): number | undefined {
  const number = typeof value === "string" && /^-?\d{1,19}$/.test(value) ? Number(value) : value;
  return typeof number === "number" && Number.isInteger(number) ? number : undefined;
}

function enumMember<T extends string>(value: unknown, name: string, names: readonly T[], absent: T): T {
  const member = memberOf(value, name);
  if (member === undefined || member === null) return absent;
  const text = typeof member === "string" ? member.toUpperCase() : JSON.stringify(member);
  const found = typeof member === "number" ? names[member] : names.find((known) => known === text);
  if (found === undefined) throw new MillraceError("MILLRACE_PROTOCOL", `heart-beat: ${name} ${text} is unknown`, { name });
  return found;
}
