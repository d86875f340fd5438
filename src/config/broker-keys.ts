import { type ConfigKey, flag, INT_MAX, type KeyTable, oneOf, ours, text, whole } from "./config-key.ts";

/** What a broker is called, where it listens, and how it treats clients. Units are in the table below. */
export interface BrokerValues {
  brokerName: string;
  brokerClusterName: string;
  brokerId: number;
  brokerRole: "ASYNC_MASTER" | "SYNC_MASTER";
  brokerIP1: string;
  brokerIP2: string;
  bindAddress: string;
  listenPort: number;
  haListenPort: number;
  brokerPermission: number;

  namesrvAddr: string;
  registerBrokerTimeoutMills: number;
  registerNameServerPeriod: number;
  forceRegister: boolean;
  compressedRegister: boolean;

  autoCreateTopicEnable: boolean;
  autoCreateSubscriptionGroup: boolean;
  defaultTopicQueueNums: number;
  clusterTopicEnable: boolean;
  brokerTopicEnable: boolean;
  traceTopicEnable: boolean;
  msgTraceTopicName: string;
  clearRetryTopicWhenDeleteTopic: boolean;
  validateSystemTopicWhenUpdateTopic: boolean;
  enableMixedMessageType: boolean;

  regionId: string;
  traceOn: boolean;
  startAcceptSendRequestTimeStamp: number;
  waitTimeMillsInSendQueue: number;
  rejectTransactionMessage: boolean;
  recallMessageEnable: boolean;
  allowRecallWhenBrokerNotWriteable: boolean;
  transactionTimeOut: number;
  transactionCheckMax: number;
  transactionCheckInterval: number;
  transactionOpMsgMaxSize: number;
  transactionOpBatchInterval: number;
  storeReplyMessageEnable: boolean;

  longPollingEnable: boolean;
  shortPollingTimeMills: number;
  litePullMessageEnable: boolean;
  liteTtlCheckInterval: number;
  minLiteTTl: number;
  enablePropertyFilter: boolean;
  filterSupportRetry: boolean;
  filterDataCleanTimeSpan: number;
  enableCalcFilterBitMap: boolean;
  maxErrorRateOfBloomFilter: number;
  expectConsumerNumUseFilter: number;

  reviveQueueNum: number;
  popPollingSize: number;
  maxPopPollingSize: number;
  popFromRetryProbability: number;
  popFromRetryProbabilityForPriority: number;
  priorityOrderAsc: boolean;
  enableRetryTopicV2: boolean;
  retrieveMessageFromPopRetryTopicV1: boolean;
  popResponseReturnActualRetryTopic: boolean;
  initPopOffsetByCheckMsgInMem: boolean;
  enablePopMessageThreshold: boolean;
  popInflightMessageThreshold: number;
  defaultMessageRequestMode: "PULL" | "POP";
  defaultPopShareQueueNum: number;
  serverLoadBalancerEnable: boolean;

  flushConsumerOffsetInterval: number;
  useServerSideResetOffset: boolean;
  notifyConsumerIdsChangedEnable: boolean;
  channelExpiredTimeout: number;
  subscriptionExpiredTimeout: number;

  serverChannelMaxIdleTimeSeconds: number;
  serverSocketBacklog: number;
  aclEnable: boolean;
  authenticationEnabled: boolean;
  authorizationEnabled: boolean;

  namesrvPort: number;
  httpPort: number;
  transport: "epoll" | "stream";
  ioWorkers: number;
  logWriterThread: "auto" | "own";
  connectionsMax: number;
  logLevel: "debug" | "info" | "warn" | "error" | "silent";
}

/** Names that stand in addresses, topics and files; the empty one means "found at start". */
const NAME = /^[\w.-]{0,100}$/;
const NAME_ALLOWED = "up to 100 of the characters a-z A-Z 0-9 _ - .";
const ADDRESS = /^$|^(\d{1,3}(\.\d{1,3}){3}|[\da-fA-F:.]*:[\da-fA-F:.]*)$/;
const ADDRESS_ALLOWED = "an IP address";
const ADDRESS_LIST = /^$|^(\[[\da-fA-F:.%]+\]|[^\s:;[\]/]+):\d{1,5}([;,](\[[\da-fA-F:.%]+\]|[^\s:;[\]/]+):\d{1,5})*$/;

/** Source: Apache `BrokerConfig`, `NettyServerConfig`. */
export const BROKER_KEYS: KeyTable<BrokerValues> = {
  brokerName: text("", "Name of the broker; empty: the machine's host name.", NAME, NAME_ALLOWED),
  brokerClusterName: text("DefaultCluster", "Cluster that the broker belongs to.", /^[\w.-]{1,100}$/, NAME_ALLOWED),
  brokerId: whole(0, "", 0, Number.MAX_SAFE_INTEGER, "0 is the master of its name."),
  brokerRole: oneOf("ASYNC_MASTER", ["ASYNC_MASTER", "SYNC_MASTER"], "Whether sends may wait for replicas."),
  brokerIP1: text(
    "",
    "Address that clients are told; empty: the bind address, or this machine's first.",
    ADDRESS,
    ADDRESS_ALLOWED,
  ),
  brokerIP2: text("", "Address that replicas are told; empty: brokerIP1.", ADDRESS, ADDRESS_ALLOWED),
  bindAddress: text(
    "",
    "Address to listen on; empty: 127.0.0.1, or 0.0.0.0 when brokerIP1 is an address that others can reach.",
    /^[\w.:%-]*$/,
    "an IP address or localhost",
  ),
  listenPort: whole(10911, "port", 0, 65_535, "Port that clients connect to; 0: any free one."),
  haListenPort: whole(10912, "port", 0, 65_535, "Port that replicas connect to, as the name servers are told."),
  brokerPermission: whole(6, "bits", 0, 7, "4 lets clients read, 2 lets them write."),

  namesrvAddr: text("", "Name servers to register with.", ADDRESS_LIST, "host:port, several separated by ;"),
  registerBrokerTimeoutMills: whole(24_000, "ms", 1, INT_MAX, "Wait for a name server's answer to a registration."),
  registerNameServerPeriod: whole(30_000, "ms", 1, INT_MAX, "Time between registrations; held within 10 s and 60 s."),
  forceRegister: flag(true, "Register each period, changed or not."),
  compressedRegister: flag(false, "Send registrations deflated."),

  autoCreateTopicEnable: flag(true, "Create a topic at the first message sent to it."),
  autoCreateSubscriptionGroup: flag(true, "Create a consumer group at its first use."),
  defaultTopicQueueNums: whole(8, "queues", 1, 1024, "Most queues that an automatically created topic gets."),
  clusterTopicEnable: flag(true, "Let clients create topics through the cluster's own topic."),
  brokerTopicEnable: flag(true, "Let clients create topics through the broker's own topic."),
  traceTopicEnable: flag(false, "Have the topic that traces are sent to."),
  msgTraceTopicName: text("RMQ_SYS_TRACE_TOPIC", "Topic that traces are sent to.", /^[%|\w-]{1,127}$/, "a topic name"),
  clearRetryTopicWhenDeleteTopic: flag(true, "Delete a topic's retry topics with it."),
  validateSystemTopicWhenUpdateTopic: flag(true, "Refuse changes to system topics."),
  enableMixedMessageType: flag(false, "Let topics have the attribute message.type=MIXED."),

  regionId: text("DefaultRegion", "Region that messages are marked with.", /^[^\u0000-\u001f]{1,100}$/, "1 to 100 characters"),
  traceOn: flag(true, "Tell clients that they may trace."),
  startAcceptSendRequestTimeStamp: whole(0, "ms since 1970", 0, Number.MAX_SAFE_INTEGER, "Sends before this time are refused."),
  waitTimeMillsInSendQueue: whole(200, "ms", 1, INT_MAX, "A send that the store cannot take that long is answered with busy."),
  rejectTransactionMessage: flag(false, "Refuse half messages."),
  recallMessageEnable: flag(false, "Let producers take back messages that wait for their delivery time."),
  allowRecallWhenBrokerNotWriteable: flag(true, "Also while brokerPermission forbids writes."),
  transactionTimeOut: whole(6000, "ms", 0, INT_MAX, "Age at which an undecided transaction's producer is asked about it."),
  transactionCheckMax: whole(15, "times", 0, INT_MAX, "After so many questions a transaction is given up."),
  transactionCheckInterval: whole(30_000, "ms", 1, INT_MAX, "Pause between two rounds of such questions."),
  transactionOpMsgMaxSize: whole(
    4096,
    "bytes",
    0,
    1_048_576,
    "Marks of ended transactions are written when they take that much.",
  ),
  transactionOpBatchInterval: whole(3000, "ms", 0, INT_MAX, "Time after which they are written whatever their size."),
  storeReplyMessageEnable: flag(true, "Store the answers of request-reply."),

  longPollingEnable: flag(true, "Hold pulls that find nothing for as long as the client asks."),
  shortPollingTimeMills: whole(1000, "ms", 1, INT_MAX, "Hold of such pulls where long polling is off."),
  liteTtlCheckInterval: whole(120_000, "ms", 1, INT_MAX, "Time between looks for lite topics that have expired."),
  minLiteTTl: whole(900_000, "ms", 0, INT_MAX, "A lite topic does not expire sooner, whatever its lite.topic.expiration."),
  litePullMessageEnable: flag(true, "Serve lite pull requests."),
  enablePropertyFilter: flag(false, "Serve SQL92 filters."),
  filterSupportRetry: flag(false, "Filter retry topics by the original subscription too."),
  filterDataCleanTimeSpan: whole(86_400_000, "ms", 0, INT_MAX, "An expression is kept for so long after its last consumer."),
  enableCalcFilterBitMap: flag(
    false,
    "With enableConsumeQueueExt: ask each message when it is stored which groups' expressions it passes.",
  ),
  maxErrorRateOfBloomFilter: whole(20, "%", 1, 99, "Shape of the bloom filter in consumerFilter.json."),
  expectConsumerNumUseFilter: whole(32, "groups", 1, 10_000, "Shape of the bloom filter in consumerFilter.json."),

  reviveQueueNum: whole(8, "queues", 1, 1024, "Queues that the check points of pops are spread over."),
  popPollingSize: whole(1024, "requests", 0, INT_MAX, "Pops of one topic, group and queue that may wait."),
  maxPopPollingSize: whole(100_000, "requests", 0, INT_MAX, "Pops that may wait in all."),
  popFromRetryProbability: whole(20, "percent", 0, 100, "How many pops look into the retry topic first."),
  popFromRetryProbabilityForPriority: whole(0, "percent", 0, 100, "The same of topics with message.type=PRIORITY."),
  priorityOrderAsc: flag(true, "Of those, pop the last queue first; otherwise the first."),
  enableRetryTopicV2: flag(false, "Name retry topics of pops %RETRY%group+topic instead of %RETRY%group_topic."),
  retrieveMessageFromPopRetryTopicV1: flag(true, "With the new names, still pop from the old ones."),
  popResponseReturnActualRetryTopic: flag(false, "Show popped messages of retry topics under that topic."),
  initPopOffsetByCheckMsgInMem: flag(true, "A new group that wants the newest starts at 0 where the whole queue is in memory."),
  enablePopMessageThreshold: flag(false, "Limit the messages of a queue that are popped and not acknowledged."),
  popInflightMessageThreshold: whole(10_000, "messages", 0, INT_MAX, "That limit."),
  defaultMessageRequestMode: oneOf("PULL", ["PULL", "POP"], "How clients consume that leave it to the broker."),
  defaultPopShareQueueNum: whole(-1, "consumers", -1, INT_MAX, "Consumers that pop from a queue beside its owner; -1: all."),
  serverLoadBalancerEnable: flag(true, "Share out queues to clients that ask; else each gets all."),

  flushConsumerOffsetInterval: whole(5000, "ms", 1, INT_MAX, "Time between writes of the consumer offsets."),
  useServerSideResetOffset: flag(true, "Reset offsets in the broker instead of through the clients."),
  notifyConsumerIdsChangedEnable: flag(true, "Tell consumers at once when their group changes."),
  channelExpiredTimeout: whole(120_000, "ms", 1, INT_MAX, "A client without heartbeats is forgotten after this."),
  subscriptionExpiredTimeout: whole(
    600_000,
    "ms",
    1,
    INT_MAX,
    "A subscription that no heartbeat repeats is forgotten after this.",
  ),

  serverChannelMaxIdleTimeSeconds: whole(120, "s", 1, 86_400, "A connection that is silent that long is closed."),
  serverSocketBacklog: whole(1024, "connections", 1, 65_535, "Connections that may wait to be accepted."),
  aclEnable: refused("Ask clients for signatures."),
  authenticationEnabled: refused("Ask clients who they are."),
  authorizationEnabled: refused("Ask what a client may do."),

  namesrvPort: ours(whole(9876, "port", 0, 65_535, "Port of the name server in the broker's process; 0: any free one.")),
  httpPort: ours(whole(-1, "port", -1, 65_535, "Port of /livez and /readyz over HTTP; 0: any free one; -1: none.")),
  logWriterThread: ours(
    oneOf(
      "auto",
      ["auto", "own"],
      "Auto: with a single network thread the log is written there, which spares two wake-ups a send; own: never.",
    ),
  ),
  transport: ours(
    oneOf(
      "epoll",
      ["epoll", "stream"],
      "How network threads read: epoll, by system calls past Node's event loop, where FFI is; stream: by Node.",
    ),
  ),
  ioWorkers: ours(whole(0, "threads", 0, 256, "Network threads; 0: by the number of processors.")),
  connectionsMax: ours(whole(60_000, "connections", 1, 1_000_000, "Connections of one network thread.")),
  logLevel: ours(oneOf("info", ["debug", "info", "warn", "error", "silent"], "Log lines below this are left out.")),
};

/** A switch that must not be believed to be on: a broker without the protection that was asked for does not start. */
function refused(about: string): ConfigKey<boolean> {
  const off = flag(false, about);
  const parse = (value: string) => (off.parse(value) === false ? false : undefined);
  return { ...off, allowed: "false: this version has no access control", parse };
}
