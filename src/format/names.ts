/** Rules for names that come from the wire. Source: Apache `TopicValidator`. */
export const TOPIC_SIZE_MAX = 127;
/** For %RETRY% and %DLQ% topics. */
export const RETRY_TOPIC_SIZE_MAX = 255;
export const GROUP_SIZE_MAX = 120;

export const RETRY_PREFIX = "%RETRY%";
export const DLQ_PREFIX = "%DLQ%";
/** Queues of further names for messages of other topics, and groups that read them. Source: Apache `MixAll.isLmq`. */
export const LMQ_PREFIX = "%LMQ%";

/** Where delayed messages wait, a queue a level. Source: Apache `TopicValidator.RMQ_SYS_SCHEDULE_TOPIC`. */
export const SCHEDULE_TOPIC = "SCHEDULE_TOPIC_XXXX";

/** Clients may not send to these. */
export const UNSENDABLE_TOPICS: ReadonlySet<string> = new Set([
  SCHEDULE_TOPIC,
  "RMQ_SYS_TRANS_HALF_TOPIC",
  "RMQ_SYS_TRANS_OP_HALF_TOPIC",
  "TRANS_CHECK_MAX_TIME_TOPIC",
  "SELF_TEST_TOPIC",
  "OFFSET_MOVED_EVENT",
  "RMQ_SYS_ROCKSDB_TRANS_HALF_TOPIC",
  "RMQ_SYS_ROCKSDB_TRANS_OP_HALF_TOPIC",
]);

const NAME = /^[%|a-zA-Z0-9_-]+$/;
const NAME_RULE = "allowing only ^[%|a-zA-Z0-9_-]+$";

/** Why the text is no topic name, or undefined if it is one. */
export function topicNameFault(topic: string): string | undefined {
  if (topic.trim() === "") return "The specified topic is blank.";
  if (!NAME.test(topic)) return `The specified topic: ${topic}, contains illegal characters, ${NAME_RULE}`;
  const max = topic.startsWith(RETRY_PREFIX) || topic.startsWith(DLQ_PREFIX) ? RETRY_TOPIC_SIZE_MAX : TOPIC_SIZE_MAX;
  if (topic.length > max) return `The specified topic: ${topic}, is longer than topic max length: ${max}`;
  return undefined;
}

/** The same, also for retry topics of pops, whose `+` clients may not write. */
export function innerTopicNameFault(topic: string): string | undefined {
  return topicNameFault(topic.startsWith(RETRY_PREFIX) ? topic.replace("+", "_") : topic);
}

/** Their names become names of files. */
export const LMQ_SIZE_MAX = 255;
/** Printable ASCII but for what ends a name in a list (,), or in a path. */
const LMQ_NAME = /^%LMQ%[!-+\-.0-[\]-~]+$/;

export function isLmq(name: string): boolean {
  return name.startsWith(LMQ_PREFIX);
}

/** Why the text is no name of such a queue or group, or undefined if it is one. Apache's broker takes any, but leaves out those with a slash. */
export function lmqNameFault(name: string): string | undefined {
  if (name.length > LMQ_SIZE_MAX) return `The specified LMQ name is longer than max length ${LMQ_SIZE_MAX}.`;
  // In the file of offsets a queue and a group stand together, parted by an @.
  if (LMQ_NAME.test(name) && !name.includes(`@${LMQ_PREFIX}`)) return undefined;
  return `The specified LMQ name[${name}] contains illegal characters, allowing only %LMQ% and printable ASCII without / \\ , and @%LMQ%`;
}

/** The queue of a lite topic. Source: Apache `LiteUtil.toLmqName`. */
export function liteQueueName(parentTopic: string, liteTopic: string): string {
  return `${LMQ_PREFIX}$${parentTopic}$${liteTopic}`;
}

/** Why no directory of queues may have that name, or undefined. */
export function queueNameFault(topic: string): string | undefined {
  return isLmq(topic) ? lmqNameFault(topic) : topicNameFault(topic);
}

/** Why the text is no group name, or undefined if it is one. */
export function groupNameFault(group: string): string | undefined {
  if (group.trim() === "") return "The specified group is blank.";
  if (!NAME.test(group)) return `The specified group: ${group}, contains illegal characters, ${NAME_RULE}`;
  if (group.length > GROUP_SIZE_MAX) return `The specified group: ${group}, is longer than group max length: ${GROUP_SIZE_MAX}`;
  return undefined;
}
