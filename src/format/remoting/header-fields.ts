/**
 * Custom header fields of the hot requests, numbered for HeaderScan. A send request spells them as single
 * letters (310, 320, 325) or as long names (10, 324); both come out under the same number here.
 * Source: Apache `SendMessageRequestHeader`, `SendMessageRequestHeaderV2`, `PullMessageRequestHeader`,
 * `UpdateConsumerOffsetRequestHeader`, `QueryConsumerOffsetRequestHeader`, `GetMaxOffsetRequestHeader`.
 */
export const FIELD_PRODUCER_GROUP = 0;
export const FIELD_TOPIC = 1;
export const FIELD_DEFAULT_TOPIC = 2;
export const FIELD_DEFAULT_TOPIC_QUEUE_NUMS = 3;
export const FIELD_QUEUE_ID = 4;
export const FIELD_SYS_FLAG = 5;
export const FIELD_BORN_TIMESTAMP = 6;
export const FIELD_FLAG = 7;
export const FIELD_PROPERTIES = 8;
export const FIELD_RECONSUME_TIMES = 9;
export const FIELD_UNIT_MODE = 10;
export const FIELD_MAX_RECONSUME_TIMES = 11;
export const FIELD_BATCH = 12;
export const FIELD_BROKER_NAME = 13;
export const FIELD_CONSUMER_GROUP = 14;
export const FIELD_QUEUE_OFFSET = 15;
export const FIELD_MAX_MSG_NUMS = 16;
export const FIELD_COMMIT_OFFSET = 17;
export const FIELD_SUSPEND_TIMEOUT_MILLIS = 18;
export const FIELD_SUBSCRIPTION = 19;
export const FIELD_SUB_VERSION = 20;
export const FIELD_EXPRESSION_TYPE = 21;
export const FIELD_MAX_MSG_BYTES = 22;
export const FIELD_REQUEST_SOURCE = 23;
export const FIELD_PROXY_FORWARD_CLIENT_ID = 24;
export const FIELD_LITE_TOPIC = 25;
export const FIELD_SET_ZERO_IF_NOT_FOUND = 26;
export const FIELD_COMMITTED = 27;
export const FIELD_COUNT = 28;

/** Long names on the wire; the place in the list is the field's number. */
export const FIELD_NAMES: readonly string[] = [
  "producerGroup",
  "topic",
  "defaultTopic",
  "defaultTopicQueueNums",
  "queueId",
  "sysFlag",
  "bornTimestamp",
  "flag",
  "properties",
  "reconsumeTimes",
  "unitMode",
  "maxReconsumeTimes",
  "batch",
  "bname",
  "consumerGroup",
  "queueOffset",
  "maxMsgNums",
  "commitOffset",
  "suspendTimeoutMillis",
  "subscription",
  "subVersion",
  "expressionType",
  "maxMsgBytes",
  "requestSource",
  "proxyFrowardClientId", // Spelled so on the wire.
  "liteTopic",
  "setZeroIfNotFound",
  "committed",
];

/** The fields that have letters are the first ones, in the order of the letters a to n. */
export const LETTER_COUNT = 14;

/** Fields whose values change from request to request of the same client, beside the properties. */
export const CHANGING_FIELDS: readonly number[] = [
  FIELD_TOPIC,
  FIELD_QUEUE_ID,
  FIELD_BORN_TIMESTAMP,
  FIELD_QUEUE_OFFSET,
  FIELD_COMMIT_OFFSET,
];
