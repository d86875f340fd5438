import { RequestCode } from "../../format/remoting/remoting-codes.ts";

/**
 * RocketMQ's request codes that this broker answers with REQUEST_CODE_NOT_SUPPORTED, and why: what the log says, and the table in
 * CODES.md. A test compares the list with the handlers that there are.
 */
const REASONS: readonly (readonly [why: string, codes: readonly (keyof typeof RequestCode)[]])[] = [
  [
    "has no handler in RocketMQ 5.5 either",
    [
      ...(["QUERY_BROKER_OFFSET", "GET_TOPIC_CONFIG_LIST", "GET_TOPIC_NAME_LIST", "TRIGGER_DELETE_FILES"] as const),
      ...(["GET_CLIENT_CONFIG", "SUSPEND_CONSUMER", "RESUME_CONSUMER", "RESET_CONSUMER_OFFSET_IN_CONSUMER"] as const),
      ...(["RESET_CONSUMER_OFFSET_IN_BROKER", "ADJUST_CONSUMER_THREAD_POOL", "WHO_CONSUME_THE_MESSAGE"] as const),
      ...(["REGISTER_FILTER_SERVER", "REGISTER_MESSAGE_FILTER_CLASS", "ACK_LITE_MESSAGE"] as const),
    ],
  ],
  [
    "is for RocketMQ's controller, which elects masters; there is none here",
    [
      ...(["CONTROLLER_ALTER_SYNC_STATE_SET", "CONTROLLER_ELECT_MASTER", "CONTROLLER_REGISTER_BROKER"] as const),
      ...(["CONTROLLER_GET_REPLICA_INFO", "CONTROLLER_GET_METADATA_INFO", "CONTROLLER_GET_SYNC_STATE_DATA"] as const),
      ...(["GET_BROKER_EPOCH_CACHE", "NOTIFY_BROKER_ROLE_CHANGED", "UPDATE_CONTROLLER_CONFIG", "GET_CONTROLLER_CONFIG"] as const),
      ...(["CLEAN_BROKER_DATA", "CONTROLLER_GET_NEXT_BROKER_ID", "CONTROLLER_APPLY_BROKER_ID"] as const),
      ...(["BROKER_CLOSE_CHANNEL_REQUEST", "CHECK_NOT_ACTIVE_BROKER_REQUEST", "GET_BROKER_LIVE_INFO_REQUEST"] as const),
      ...(["GET_SYNC_STATE_DATA_REQUEST", "RAFT_BROKER_HEART_BEAT_EVENT_REQUEST"] as const),
    ],
  ],
  ["is for brokers that replicate each other, which is not there yet", ["EXCHANGE_BROKER_HA_INFO", "RESET_MASTER_FLUSH_OFFSET"]],
  [
    "is about access control, which is not there yet",
    [
      ...(["AUTH_CREATE_USER", "AUTH_UPDATE_USER", "AUTH_DELETE_USER", "AUTH_GET_USER", "AUTH_LIST_USER"] as const),
      ...(["AUTH_CREATE_ACL", "AUTH_UPDATE_ACL", "AUTH_DELETE_ACL", "AUTH_GET_ACL", "AUTH_LIST_ACL"] as const),
    ],
  ],
  ["chooses between two kinds of timer; here there is one", ["SWITCH_TIMER_ENGINE"]],
  [
    "is for subscriptions to lite topics, which only gRPC clients have, by way of a proxy",
    ["POP_LITE_MESSAGE", "LITE_SUBSCRIPTION_CTL", "NOTIFY_UNSUBSCRIBE_LITE"],
  ],
  ["is about RocksDB, which the store does not use", ["CHECK_ROCKSDB_CQ_WRITE_PROGRESS", "EXPORT_ROCKSDB_CONFIG_TO_JSON"]],
  [
    "slows down groups that read what is not in memory; here such reads hold up nobody else",
    ["UPDATE_COLD_DATA_FLOW_CTR_CONFIG", "REMOVE_COLD_DATA_FLOW_CTR_CONFIG", "GET_COLD_DATA_FLOW_CTR_INFO"],
  ],
  ["sets how Java maps the log", ["SET_COMMITLOG_READ_MODE"]],
  ["is for several brokers in one JVM", ["ADD_BROKER", "REMOVE_BROKER"]],
  ["is for topics whose queues are mapped to several brokers", ["UPDATE_AND_CREATE_STATIC_TOPIC"]],
];

/** Why, by code. */
export const REFUSED_CODES: ReadonlyMap<number, string> = new Map(
  REASONS.flatMap(([why, names]) => names.map((name) => [RequestCode[name], why] as const)),
);
