import { SCHEDULE_TOPIC } from "../../format/names.ts";
import { reviveTopic } from "../../format/record/pop-records.ts";
import { PERM_INHERIT, PERM_READ, PERM_WRITE, type TopicConfig } from "../../format/topic-config.ts";

/** What decides which topics the broker makes for itself. Names as in the configuration. */
export interface SystemTopicSettings {
  brokerName: string;
  brokerClusterName: string;
  autoCreateTopicEnable: boolean;
  defaultTopicQueueNums: number;
  clusterTopicEnable: boolean;
  brokerTopicEnable: boolean;
  traceTopicEnable: boolean;
  reviveQueueNum: number;
  msgTraceTopicName: string;
  /** Levels of messageDelayLevel. */
  delayLevelCount: number;
}

/** Template of topics that are created by a send. */
export const TEMPLATE_TOPIC = "TBW102";
export const HALF_TOPIC = "RMQ_SYS_TRANS_HALF_TOPIC";
/** Marks of half messages whose transaction has ended. */
export const HALF_MARK_TOPIC = "RMQ_SYS_TRANS_OP_HALF_TOPIC";
/** Half messages that nobody has ever decided about. */
export const HALF_GIVEN_UP_TOPIC = "TRANS_CHECK_MAX_TIME_TOPIC";
export const TIMER_TOPIC = "rmq_sys_wheel_timer";

/** System topics whatever the broker's name. Source: Apache `TopicValidator`. */
const FIXED: readonly string[] = [
  TEMPLATE_TOPIC,
  SCHEDULE_TOPIC,
  "BenchmarkTest",
  HALF_TOPIC,
  "RMQ_SYS_TRACE_TOPIC",
  HALF_MARK_TOPIC,
  HALF_GIVEN_UP_TOPIC,
  "SELF_TEST_TOPIC",
  "OFFSET_MOVED_EVENT",
  "CHECKPOINT_TOPIC",
  "RMQ_SYS_ROCKSDB_TRANS_HALF_TOPIC",
  "RMQ_SYS_ROCKSDB_TRANS_OP_HALF_TOPIC",
];
const SYSTEM_PREFIX = "rmq_sys_";
/** Source: Apache `TopicValidator`, SCHEDULE_TOPIC_QUEUE_NUM. */
const SCHEDULE_QUEUE_NUMS = 18;
const READ_WRITE = PERM_READ | PERM_WRITE;

/** Topics that the broker has from its first start. Source: Apache `TopicConfigManager.init`. */
export class SystemTopics {
  /** In the order in which they are made. */
  readonly configs: readonly TopicConfig[];
  readonly #names: ReadonlySet<string>;

  constructor(settings: SystemTopicSettings) {
    const { brokerName, brokerClusterName, defaultTopicQueueNums } = settings;
    const configs = [systemTopic("SELF_TEST_TOPIC", 1)];
    if (settings.autoCreateTopicEnable) {
      configs.push(systemTopic(TEMPLATE_TOPIC, defaultTopicQueueNums, READ_WRITE | PERM_INHERIT));
    }
    configs.push(
      systemTopic("BenchmarkTest", 1024),
      systemTopic(brokerClusterName, 16, PERM_INHERIT | (settings.clusterTopicEnable ? READ_WRITE : 0)),
      systemTopic(brokerName, 1, PERM_INHERIT | (settings.brokerTopicEnable ? READ_WRITE : 0)),
      systemTopic("OFFSET_MOVED_EVENT", 1),
      systemTopic(SCHEDULE_TOPIC, Math.max(SCHEDULE_QUEUE_NUMS, settings.delayLevelCount)),
    );
    if (settings.traceTopicEnable) configs.push(systemTopic(settings.msgTraceTopicName, 1));
    configs.push(
      systemTopic(`${brokerClusterName}_REPLY_TOPIC`, 1),
      systemTopic(reviveTopic(brokerClusterName), settings.reviveQueueNum),
      systemTopic(`${SYSTEM_PREFIX}SYNC_BROKER_MEMBER_${brokerName}`, 1, PERM_INHERIT),
      systemTopic(HALF_TOPIC, 1),
      systemTopic(HALF_MARK_TOPIC, 1),
      systemTopic(HALF_GIVEN_UP_TOPIC, 1),
      systemTopic(TIMER_TOPIC, 1),
    );
    this.configs = configs;
    this.#names = new Set([...FIXED, ...configs.map(({ topicName }) => topicName)]);
  }

  has(topic: string): boolean {
    return this.#names.has(topic) || topic.startsWith(SYSTEM_PREFIX);
  }

  names(): string[] {
    return [...this.#names];
  }
}

function systemTopic(topicName: string, queueNums: number, perm: number = READ_WRITE): TopicConfig {
  return {
    topicName,
    readQueueNums: queueNums,
    writeQueueNums: queueNums,
    perm,
    topicFilterType: "SINGLE_TAG",
    topicSysFlag: 0,
    order: false,
    attributes: {},
  };
}
