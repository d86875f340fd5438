import type { TopicConfig } from "../format/topic-config.ts";
import type { Channel, RequestHandler } from "./channel.ts";
import type { SendRefusal } from "./send/send-responses.ts";

/**
 * What the parts of the control plane know of each other. Each part is one class in a file of its own;
 * control-plane.ts puts them together.
 */
export type HandlerTable = Map<number, RequestHandler>;

export interface SubscriptionGroupConfig {
  groupName: string;
  consumeEnable: boolean;
  consumeFromMinEnable: boolean;
  consumeBroadcastEnable: boolean;
  consumeMessageOrderly: boolean;
  retryQueueNums: number;
  retryMaxTimes: number;
  groupRetryPolicy: Record<string, unknown>;
  brokerId: number;
  whichBrokerWhenConsumeSlowly: number;
  notifyConsumerIdsChangedEnable: boolean;
  groupSysFlag: number;
  consumeTimeoutMinute: number;
  attributes: Record<string, string>;
}

export interface TopicLookup {
  get(topic: string): TopicConfig | undefined;
  all(): Iterable<TopicConfig>;
  /** Before an I/O worker is sent to a topic that `get` knows: one that stands in no table becomes known there. */
  serve(topic: string): SendRefusal | undefined;
  /** Makes an internal topic (retry, DLQ) unless it exists. */
  ensure(topic: string, queueNums: number, perm: number): TopicConfig;
}

export interface GroupLookup {
  /** The group's config; creates it when autoCreateSubscriptionGroup allows and the name is legal. */
  find(group: string): SubscriptionGroupConfig | undefined;
  /** Without creating. */
  get(group: string): SubscriptionGroupConfig | undefined;
  all(): Iterable<SubscriptionGroupConfig>;
  isForbidden(group: string, topic: string): boolean;
}

/** SubscriptionData of a heart-beat; codes.md section 5. */
export interface SubscriptionData {
  topic: string;
  subString: string;
  tagsSet: string[];
  codeSet: number[];
  subVersion: number;
  expressionType: string;
  classFilterMode: boolean;
}

export interface ConsumerClient {
  clientId: string;
  channel: Channel;
  language: string;
  version: number;
  lastUpdateMs: number;
}

export interface ConsumerGroupState {
  group: string;
  consumeType: string;
  messageModel: "CLUSTERING" | "BROADCASTING";
  consumeFromWhere: string;
  subscriptions: ReadonlyMap<string, SubscriptionData>;
  clients: ReadonlyMap<number, ConsumerClient>;
}

export interface ConsumerLookup {
  group(group: string): ConsumerGroupState | undefined;
  all(): Iterable<ConsumerGroupState>;
  /** The connection of one client of the group. */
  client(group: string, clientId: string): ConsumerClient | undefined;
}

export interface OffsetLookup {
  /** Committed offset, -1 = none. */
  get(group: string, topic: string, queueId: number): number;
  commit(group: string, topic: string, queueId: number, offset: number): void;
  /** Groups that have offsets of the topic, and topics that the group has offsets of. */
  groupsOf(topic: string): string[];
  topicsOf(group: string): string[];
  removeTopic(topic: string): void;
  removeGroup(group: string): void;
  /** A server-side reset waiting for the next pull: its offset, or -1. `take` forgets it. */
  pendingReset(group: string, topic: string, queueId: number): number;
  takeReset(group: string, topic: string, queueId: number): number;
}
