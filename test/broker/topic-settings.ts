import type { TopicSettings } from "../../src/broker/topics/topics.ts";

/** What the keys of a default configuration come to. */
export const TOPIC_SETTINGS: TopicSettings = {
  brokerName: "b",
  brokerClusterName: "c",
  autoCreateTopicEnable: true,
  defaultTopicQueueNums: 8,
  clusterTopicEnable: true,
  brokerTopicEnable: true,
  traceTopicEnable: false,
  reviveQueueNum: 8,
  msgTraceTopicName: "RMQ_SYS_TRACE_TOPIC",
  delayLevelCount: 18,
  clearRetryTopicWhenDeleteTopic: true,
  validateSystemTopicWhenUpdateTopic: true,
  enableMixedMessageType: false,
};
