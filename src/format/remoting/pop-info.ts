import { MillraceError } from "../../base/errors.ts";
import { RETRY_PREFIX } from "../names.ts";

/**
 * The texts in which pop tells a client what it has been given, and in which the client gives it back.
 *   handle            `startOffset popTime invisibleTime reviveQueueId kind brokerName queueId [queueOffset]`
 *   startOffsetInfo   `kind queueId startOffset`, joined by `;`
 *   msgOffsetInfo     `kind queueId queueOffset,queueOffset,...`, joined by `;`
 *   orderCountInfo    `kind queueId count` and `kind qo<queueId>%<queueOffset> count`, joined by `;`
 * Source: Apache `ExtraInfoUtil`, `KeyBuilder`.
 */

/** reviveQueueId of messages that were popped in order: these have no check point. */
export const ORDER_REVIVE_QUEUE = 999;

/** `0` an ordinary topic, `1` a retry topic with `_` in its name, `2` one with `+`. */
export type TopicKind = "0" | "1" | "2";

export interface PopHandle {
  /** queueOffset of the check point. */
  startOffset: number;
  popTime: number;
  invisibleTime: number;
  reviveQueueId: number;
  kind: string;
  brokerName: string;
  queueId: number;
}

export function topicKind(topic: string): TopicKind {
  if (!topic.startsWith(RETRY_PREFIX)) return "0";
  return topic.includes("+") ? "2" : "1";
}

/** Where messages of the topic go that a group has popped and not acknowledged. */
export function popRetryTopic(topic: string, group: string, isSecondForm: boolean): string {
  return `${RETRY_PREFIX}${group}${isSecondForm ? "+" : "_"}${topic}`;
}

/** @throws MillraceError MILLRACE_PROTOCOL when the kind is none */
export function topicOfKind(topic: string, group: string, kind: string): string {
  if (kind === "0") return topic;
  if (kind === "1" || kind === "2") return popRetryTopic(topic, group, kind === "2");
  throw new MillraceError("MILLRACE_PROTOCOL", `there is no kind ${JSON.stringify(kind)} of topics`);
}

/** The topic whose messages a group's retry topic holds; others as they are. */
export function popNormalTopic(topic: string, group: string): string {
  for (const separator of ["+", "_"]) {
    const prefix = `${RETRY_PREFIX}${group}${separator}`;
    if (topic.startsWith(prefix)) return topic.slice(prefix.length);
  }
  return topic;
}

/** Topic and group of a retry topic of the second form. */
export function parseRetryTopic(topic: string): { topic: string; group: string } | undefined {
  const plus = topic.indexOf("+");
  if (plus < 0 || !topic.startsWith(RETRY_PREFIX)) return undefined;
  return { group: topic.slice(RETRY_PREFIX.length, plus), topic: topic.slice(plus + 1) };
}

export function handleText(handle: PopHandle, queueOffset: number): string {
  const { startOffset, popTime, invisibleTime, reviveQueueId, kind, brokerName, queueId } = handle;
  return `${startOffset} ${popTime} ${invisibleTime} ${reviveQueueId} ${kind} ${brokerName} ${queueId} ${queueOffset}`;
}

/** @throws MillraceError MILLRACE_PROTOCOL when it is none */
export function parseHandle(text: string): PopHandle {
  const parts = text.split(" ");
  const whole = (index: number): number => {
    const part = parts[index] ?? "";
    const value = Number(part);
    if (/^-?\d{1,16}$/.test(part) && Number.isSafeInteger(value)) return value;
    throw new MillraceError("MILLRACE_PROTOCOL", `extraInfo is no handle of a popped message: part ${index} is no integer`);
  };
  const brokerName = parts[5];
  if (brokerName === undefined) throw new MillraceError("MILLRACE_PROTOCOL", "extraInfo is no handle: it names no broker");
  return {
    startOffset: whole(0),
    popTime: whole(1),
    invisibleTime: whole(2),
    reviveQueueId: whole(3),
    kind: parts[4]!,
    brokerName,
    queueId: parts[6] === undefined ? -1 : whole(6),
  };
}

export function joined(text: string, part: string): string {
  return text === "" ? part : `${text};${part}`;
}
