import type { TopicLookup } from "../broker/contracts.ts";
import type { RoutedQueue } from "../broker/groups/assignments.ts";
import type { NameServers } from "../client/connection/name-servers.ts";
import { readableQueues } from "../client/connection/routes.ts";

/** What the name servers say; ours alone where there are none, or none answers. */
export async function routedQueues(
  topic: string,
  brokerName: string,
  topics: TopicLookup,
  routes: NameServers | undefined,
): Promise<RoutedQueue[] | undefined> {
  routes?.start();
  const route = await routes?.route(topic).catch(() => undefined);
  if (route !== undefined) return readableQueues(route);
  const config = topics.get(topic);
  if (config === undefined) return undefined;
  return Array.from({ length: config.readQueueNums }, (_, queueId) => ({ topic, brokerName, queueId }));
}
