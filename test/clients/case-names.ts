// Names of the cases, for ava wants its tests declared before anything runs. A test compares them with what each
// runner lists.

/** Of both Java versions. */
export const JAVA_CASES: readonly string[] = [
  ...["transactionGivenUp", "transactionChecked", "transactionTakenOver", "transactionEnds"],
  ...["queueEdges", "resetWhileRunning"],
  ...["resetLitePull", "cloneOffsets", "suspendPush", "pauseLitePull", "fromWhere"],
  ...["sixteenRetries", "toDeadLetters", "toDeadLettersAtOnce", "orderlyToDeadLetters"],
  ...["sync", "async", "oneway", "batch", "autoCreate"],
  ...["bodySizes", "compressedZlib", "compressedLz4", "compressedZstd", "properties", "tags", "keys", "viewMessage"],
  ...["broadcast", "twoConsumers", "threeConsumers"],
  ...["orderly", "orderlySuspend", "orderlyTwo"],
  ...["fromFirst", "fromLast", "resume"],
  ...["litePullSubscribe", "litePullAssign", "pull", "longPoll"],
  ...["permissions", "orderConf", "globalOrder"],
  ...["commandsOfTopics", "commandsOfGroups", "commandsOfMessages", "commandOfTraces", "commandsOfClients"],
  ...["cluster", "topicLife", "groupConfig", "consumeStats", "connections", "compactedTopic"],
  ...["sqlFilter", "sqlLitePull", "sqlChanged", "sqlWrong", "queryByKey", "messageTrack"],
  ...[
    "unknownCode",
    "illegalTopic",
    "oversize",
    "emptyBody",
    "missingField",
    "badQueue",
    "badPull",
    "noOffset",
    "garbage",
    "topicChurn",
  ],
];

/** Retry, delay and request/reply. */
export const JAVA_LATER_CASES: readonly string[] = ["retry", "delay", "timed", "requestReply", "trace"];

/** Setters of a message's own time, and recall: 5.x. */
export const JAVA_TIMER_CASES: readonly string[] = ["timedBySetters", "recall"];

/** Kinds of messages, priorities, retry policies: 5.x. */
export const JAVA_NEWER_CASES: readonly string[] = ["priority", "priorityFactor", "messageTypes", "retryPolicies"];
/** Of these, what only Millrace does for every client. */
export const JAVA_NEWER_OWN_CASES: readonly string[] = ["retryByPolicy"];

/** Of clients that pop: 5.x. */
export const JAVA_POP_CASES: readonly string[] = ["popRetry", "popTwo", "popInvisible", "popOrdered", "popToDeadLetters"];

/** What RocketMQ has not: never run against Apache's broker. */
export const JAVA_OWN_CASES: readonly string[] = ["sentAgain", "batchSentAgain"];

/** Each way through the engine once, for the second drive. */
export const JAVA_SHORT_CASES: readonly string[] = [
  ...["queueEdges", "sync", "async", "oneway", "batch", "bodySizes", "compressedZlib", "tags", "keys", "viewMessage"],
  ...["broadcast", "twoConsumers", "orderly", "resume", "litePullSubscribe", "pull", "longPoll", "topicLife", "topicChurn"],
  ...["sqlFilter", "transactionChecked"],
];

/** Batches that are stored whole; of the 5.x client, which takes them apart. */
export const JAVA_WHOLE_CASES: readonly string[] = ["wholeBatch", "autoBatch", "wholeRetry", "wholePop"];
/** What only Millrace has. */
export const JAVA_WHOLE_OWN_CASES: readonly string[] = ["wholeCompressed"];

export const GO_CASES: readonly string[] = [
  "transactions",
  ...["twoConsumers", "tags", "orderly", "broadcast", "resume", "sync", "async", "oneway", "batch", "autoCreate"],
  ...["compressed", "properties", "pullFrom", "poll", "topicLife", "sqlFilter"],
  ...["toDeadLetters", "orderlySuspend", "delayed", "requestReply", "trace", "suspended", "fromWhere", "rewound"],
];

/** For the second drive: what waits for much of the time is left out. */
export const GO_SHORT_CASES: readonly string[] = GO_CASES.filter(
  (name) => !["orderlySuspend", "requestReply", "trace", "suspended", "fromWhere", "rewound"].includes(name),
);

export const NPM_CASES: readonly string[] = [
  ...["twoConsumers", "send", "tags", "keysAndProperties", "compressed", "shardingOrder", "broadcast", "resume"],
];
