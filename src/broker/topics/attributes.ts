import { MillraceError } from "../../base/errors.ts";
import { APPEND_WINDOW_MAX } from "../../ring/lane.ts";

/**
 * Attributes of topics and groups. A request changes them by `+key=value` and `-key`; what is stored is key and value.
 * Source: Apache `AttributeParser`, `AttributeUtil`, `TopicAttributes`, `SubscriptionGroupAttributes`.
 */
export interface AttributeKind {
  /** May it be changed after the topic or group was made? */
  isChangeable: boolean;
  /** Why the value is none for the attribute, or undefined. */
  fault(value: string): string | undefined;
}

export type AttributeKinds = ReadonlyMap<string, AttributeKind>;

/**
 * Of a topic, ours: a message whose unique key was stored in the topic within so many seconds before is not stored again;
 * its sender gets the answer that the first one got. 0: off.
 */
const DEDUP_WINDOW = "dedup.window.seconds";

export function dedupWindowOf(attributes: Readonly<Record<string, string>>): number {
  return Number(attributes[DEDUP_WINDOW] ?? 0);
}

const QUEUE_TYPE = "queue.type";

/**
 * Are batches sent to the topic stored whole, one record each? Not where it is also compacted, which goes by the keys of single
 * messages: Apache's broker takes whole batches there, and no reader ever gets them.
 */
export function isBatchTopic(attributes: Readonly<Record<string, string>>): boolean {
  return attributes[QUEUE_TYPE] === "BatchCQ" && attributes["cleanup.policy"] !== "COMPACTION";
}

export const TOPIC_ATTRIBUTES: AttributeKinds = new Map([
  [QUEUE_TYPE, oneOf(false, ["BatchCQ", "SimpleCQ"])],
  ["cleanup.policy", oneOf(false, ["DELETE", "COMPACTION"])],
  ["message.type", oneOf(true, ["UNSPECIFIED", "NORMAL", "FIFO", "DELAY", "TRANSACTION", "MIXED", "LITE", "PRIORITY"])],
  ["reserve.time", whole(-1n, 2n ** 63n - 1n)],
  ["lite.topic.expiration", whole(-1n, 43_200n)],
  [DEDUP_WINDOW, whole(0n, BigInt(APPEND_WINDOW_MAX))],
]);

export const GROUP_ATTRIBUTES: AttributeKinds = new Map([
  ["priority.factor", whole(0n, 100n)],
  ["lite.bind.topic", text()],
  ["lite.sub.model", oneOf(true, ["Shared", "Exclusive"])],
  ["lite.sub.reset.offset.exclusive", oneOf(true, ["true", "false"])],
  ["lite.sub.reset.offset.unsubscribe", oneOf(true, ["true", "false"])],
  ["lite.sub.client.quota", whole(-1n, 2n ** 63n - 1n)],
  ["lite.sub.client.max.event.cnt", whole(10n, 2n ** 63n - 1n)],
  ["lite.sub.wildcard", text()],
]);

/**
 * Reads `+a=1,-b` into `{"+a":"1","-b":""}`.
 * @throws MillraceError MILLRACE_PROTOCOL
 */
export function parseAttributeChanges(changes: string): Map<string, string> {
  const parsed = new Map<string, string>();
  if (changes === "") return parsed;
  for (const change of changes.split(",")) {
    const equals = change.indexOf("=");
    const key = equals < 0 ? change : change.slice(0, equals);
    const value = equals < 0 ? "" : change.slice(equals + 1);
    if (equals >= 0 && !key.startsWith("+")) throw fault(`add/alter attribute format is wrong: ${key}`);
    if (equals < 0 && !key.startsWith("-")) throw fault(`delete attribute format is wrong: ${key}`);
    if (parsed.has(key)) throw fault(`key duplication: ${key}`);
    parsed.set(key, value);
  }
  return parsed;
}

/**
 * The attributes after the changes.
 * @param isNew the topic or group is being made: attributes may only be added
 * @throws MillraceError MILLRACE_PROTOCOL
 */
export function changeAttributes(
  kinds: AttributeKinds,
  isNew: boolean,
  current: Readonly<Record<string, string>>,
  changes: Iterable<readonly [string, string]>,
): Record<string, string> {
  const attributes = new Map(Object.entries(current));
  const changed = new Set<string>();
  for (const [signedKey, value] of changes) {
    const sign = signedKey[0];
    const key = signedKey.slice(1);
    if (key === "") throw fault("kv string format wrong.");
    if (isNew && sign !== "+") throw fault(`only add attribute is supported while creating topic. key: ${key}`);
    if (sign !== "+" && sign !== "-") throw fault(`wrong format key: ${signedKey}`);
    if (sign === "-" && !attributes.has(key)) throw fault(`attempt to delete a nonexistent key: ${key}`);
    if (changed.has(key)) throw fault(`alter duplication key. key: ${key}`);
    changed.add(key);
    const kind = kinds.get(key);
    if (kind === undefined) throw fault(`unsupported key: ${key}`);
    if (!isNew && !kind.isChangeable) throw fault(`attempt to update an unchangeable attribute. key: ${key}`);
    if (sign === "-") {
      attributes.delete(key);
      continue;
    }
    const reason = kind.fault(value);
    if (reason !== undefined) throw fault(`${key}: ${reason}`);
    attributes.set(key, value);
  }
  return Object.fromEntries(attributes);
}

function fault(reason: string): MillraceError {
  return new MillraceError("MILLRACE_PROTOCOL", reason);
}

function oneOf(isChangeable: boolean, values: readonly string[]): AttributeKind {
  return {
    isChangeable,
    fault: (value) => (values.includes(value) ? undefined : `value is not in set: [${values.join(", ")}]`),
  };
}

function whole(min: bigint, max: bigint): AttributeKind {
  return {
    isChangeable: true,
    fault: (value) => {
      const isWhole = /^[+-]?\d{1,19}$/.test(value);
      return isWhole && BigInt(value) >= min && BigInt(value) <= max ? undefined : `value is not in range(${min}, ${max})`;
    },
  };
}

function text(): AttributeKind {
  return { isChangeable: true, fault: () => undefined };
}
