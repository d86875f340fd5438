import { SCHEDULE_TOPIC } from "../../format/names.ts";
import { PROPERTY } from "../../format/record/properties.ts";
import type { OutgoingMessage } from "../message-store.ts";

/** Delay level that a message asks for, cut to the highest; 0 = none. */
export function delayLevelOf(properties: ReadonlyMap<string, string>, levelCount: number): number {
  const level = Number(properties.get(PROPERTY.DELAY) ?? 0);
  return Number.isInteger(level) && level > 0 ? Math.min(level, levelCount) : 0;
}

/**
 * Parks a message with a delay level in the schedule topic, from where ScheduleService delivers it.
 * @returns the message to store: `message` itself when it is not delayed
 * Source: Apache `HookUtils.transformDelayLevelMessage`.
 */
export function parkDelayed(message: OutgoingMessage, levelCount: number): OutgoingMessage {
  const level = delayLevelOf(message.properties, levelCount);
  if (level === 0) return message;
  const properties = new Map(message.properties);
  properties.set(PROPERTY.DELAY, String(level));
  properties.set(PROPERTY.REAL_TOPIC, message.topic);
  properties.set(PROPERTY.REAL_QUEUE_ID, String(message.queueId));
  return { ...message, topic: SCHEDULE_TOPIC, queueId: level - 1, properties };
}
