import type { BloomBits } from "../filter/entry-filter.ts";

/** What the control thread tells the I/O workers, so that they serve plain requests without asking. */
export interface TablePublisher {
  topicChanged(topic: PublishedTopic): void;
  topicRemoved(topic: string): void;
  groupChanged(group: PublishedGroup): void;
  groupRemoved(group: string): void;
  /** From now on commits of (group, topic, queueId) go straight into the shared cell (format/shared/offset-cells.ts). */
  offsetCell(group: string, topic: string, queueId: number, cell: number): void;
}

export interface PublishedTopic {
  topic: string;
  readQueueNums: number;
  writeQueueNums: number;
  perm: number;
  order: boolean;
  topicSysFlag: number;
  topicFilterType: string;
  attributes: Readonly<Record<string, string>>;
  /** brokerPermission forbids writes, which holds for sends to topics in global order. */
  refusesSends: boolean;
  /** By queueId: pulls below this queueOffset are the control thread's. */
  compactedUpTo?: readonly number[] | undefined;
}

export interface PublishedSubscription {
  topic: string;
  subString: string;
  subVersion: number;
  /** An expression of another type than TAG, as it was registered; undefined: it was not, since it is wrong. */
  filter: "tags" | PublishedFilter | undefined;
  /** Java hashes of the tags. */
  codes: readonly number[];
  matchAll: boolean;
}

/** An expression that a group has registered for a topic. It has been compiled once: it is right. */
export interface PublishedFilter {
  topic: string;
  expressionType: string;
  expression: string;
  /** The client's subVersion. */
  version: number;
  /** undefined: messages are not marked when they are stored. */
  bloom?: BloomBits | undefined;
}

export interface PublishedGroup {
  group: string;
  consumeEnable: boolean;
  consumeBroadcastEnable: boolean;
  broadcasting: boolean;
  hasClients: boolean;
  retryMaxTimes: number;
  brokerId: number;
  groupSysFlag: number;
  whichBrokerWhenConsumeSlowly: number;
  subscriptions: readonly PublishedSubscription[];
  forbiddenTopics: readonly string[];
  /** enablePropertyFilter. */
  mayFilter: boolean;
  /** filterSupportRetry. */
  filterRetries: boolean;
  /** All that the group has registered. */
  filters: readonly PublishedFilter[];
}
