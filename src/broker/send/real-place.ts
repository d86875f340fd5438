import { topicNameFault } from "../../format/names.ts";
import { PROPERTY } from "../../format/record/properties.ts";
import { TOPIC_QUEUES_MAX } from "../topics/topics.ts";

/**
 * Where a message that waits in a topic of the broker's own belongs. The name becomes a directory, and each queue costs
 * memory: neither is believed, wherever the store comes from.
 */
export function realPlaceOf(properties: ReadonlyMap<string, string>): { topic: string; queueId: number } | undefined {
  const topic = properties.get(PROPERTY.REAL_TOPIC);
  const queueId = Number(properties.get(PROPERTY.REAL_QUEUE_ID));
  if (topic === undefined || topicNameFault(topic) !== undefined) return undefined;
  if (!(Number.isInteger(queueId) && queueId >= 0 && queueId < TOPIC_QUEUES_MAX)) return undefined;
  return { topic, queueId };
}
