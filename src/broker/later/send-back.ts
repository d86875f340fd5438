import { TIMER_PROPERTY } from "../../format/files/timer-record.ts";
import { DLQ_PREFIX, RETRY_PREFIX } from "../../format/names.ts";
import { decodeMessage, SYS_FLAG_INNER_BATCH, SYS_FLAG_OFFSET } from "../../format/record/message.ts";
import { offsetMessageId } from "../../format/record/message-id.ts";
import { PROPERTY } from "../../format/record/properties.ts";
import { optionalInteger, requiredInteger, requiredText } from "../../format/remoting/command-fields.ts";
import { RequestCode, ResponseCode } from "../../format/remoting/remoting-codes.ts";
import { type RemotingCommand, response } from "../../format/remoting/remoting-command.ts";
import { PERM_READ, PERM_WRITE } from "../../format/topic-config.ts";
import type { GroupLookup, HandlerTable, SubscriptionGroupConfig, TopicLookup } from "../contracts.ts";
import type { MessageStore, OutgoingMessage } from "../message-store.ts";
import { parkDelayed } from "./delay-levels.ts";
import { retryDelayMs } from "./retry-policy.ts";
import type { TimerParking } from "./timer-parking.ts";

export interface SendBackOptions {
  topics: TopicLookup;
  groups: GroupLookup;
  store: MessageStore;
  delayLevelCount: number;
  /** For groups with a retry policy of their own. */
  parking: Pick<TimerParking, "park">;
  isWritable: () => boolean;
}

/** Of the time that the message waited for before: it would not wait again. */
const OF_TIMERS: readonly string[] = [
  ...[PROPERTY.TIMER_DELAY_SEC, PROPERTY.TIMER_DELAY_MS, PROPERTY.TIMER_DELIVER_MS],
  ...Object.values(TIMER_PROPERTY),
];

/** First retry waits delay level 3. */
const FIRST_RETRY_LEVEL = 3;
/** From this sender version (V3_4_9) on the header's maxReconsumeTimes counts. */
const VERSION_MAX_RECONSUME = 121;

/**
 * CONSUMER_SEND_MSG_BACK (36): a message that a consumer could not handle goes to its group's retry topic, by way
 * of a delay level that grows with each try, and after the last try to the group's dead-letter topic.
 * Source: Apache `AbstractSendMessageProcessor.consumerSendMsgBack`.
 */
export class SendBack {
  readonly #o: SendBackOptions;

  constructor(options: SendBackOptions) {
    this.#o = options;
  }

  handlers(): HandlerTable {
    return new Map([[RequestCode.CONSUMER_SEND_MSG_BACK, (command) => this.#sendBack(command)]]);
  }

  async #sendBack(command: RemotingCommand): Promise<RemotingCommand> {
    const groupName = requiredText(command, "group");
    const physicalOffset = requiredInteger(command, "offset");
    const delayLevel = requiredInteger(command, "delayLevel");
    const group = this.#o.groups.find(groupName);
    if (group === undefined) {
      return response(command, ResponseCode.SUBSCRIPTION_GROUP_NOT_EXIST, `subscription group not exist, ${groupName}`);
    }
    if (!this.#o.isWritable()) return response(command, ResponseCode.NO_PERMISSION, "the broker sending message is forbidden");
    if (group.retryQueueNums <= 0) return response(command, ResponseCode.SUCCESS);
    const record = this.#o.store.readRecord(physicalOffset);
    if (record === undefined)
      return response(command, ResponseCode.SYSTEM_ERROR, `look message by offset failed, ${physicalOffset}`);
    if ((record.readInt32BE(SYS_FLAG_OFFSET) & SYS_FLAG_INNER_BATCH) !== 0) {
      // As Apache's broker: the record is a whole batch, of which one message cannot be taken. Clients then send its body.
      return response(command, ResponseCode.SYSTEM_ERROR, `the record at ${physicalOffset} is a whole batch`);
    }
    const message = this.#retried(command, record, group, delayLevel);
    try {
      await this.#o.store.append(this.#parked(message, group, delayLevel));
      return response(command, ResponseCode.SUCCESS);
    } catch (error) {
      return response(command, ResponseCode.SYSTEM_ERROR, error instanceof Error ? error.message : String(error));
    }
  }

  /** An explicit delay level goes before the group's policy, and that before the level which grows with each try. */
  #parked(message: OutgoingMessage, group: SubscriptionGroupConfig, delayLevel: number): OutgoingMessage {
    const isRetry = message.topic.startsWith(RETRY_PREFIX);
    const delayMs = isRetry && delayLevel === 0 ? retryDelayMs(group.groupRetryPolicy, message.reconsumeTimes - 1) : undefined;
    if (delayMs !== undefined) {
      const properties = new Map(message.properties);
      properties.delete(PROPERTY.DELAY);
      properties.set(PROPERTY.TIMER_DELAY_MS, String(Math.round(delayMs)));
      const parked = this.#o.parking.park({ ...message, properties });
      if (!("code" in parked)) return parked;
      // Timers are off, or do not reach that far: as if there were no policy.
    }
    return parkDelayed(message, this.#o.delayLevelCount);
  }

  #retried(command: RemotingCommand, record: Buffer, group: SubscriptionGroupConfig, delayLevel: number): OutgoingMessage {
    const original = decodeMessage(record);
    const properties = new Map(original.properties);
    for (const name of [PROPERTY.DELAY, PROPERTY.REAL_TOPIC, PROPERTY.REAL_QUEUE_ID, ...OF_TIMERS]) properties.delete(name);
    if (!properties.has(PROPERTY.RETRY_TOPIC)) properties.set(PROPERTY.RETRY_TOPIC, original.topic);
    if (!properties.has(PROPERTY.ORIGIN_MESSAGE_ID)) {
      // Not the request's originMsgId: clients put the unique key there.
      properties.set(PROPERTY.ORIGIN_MESSAGE_ID, offsetMessageId(original.storeHost, original.physicalOffset));
    }
    properties.set(PROPERTY.WAIT, "false");
    const asked = command.version >= VERSION_MAX_RECONSUME ? optionalInteger(command, "maxReconsumeTimes") : undefined;
    const isDead = original.reconsumeTimes >= (asked ?? group.retryMaxTimes) || delayLevel < 0;
    const topic = isDead ? DLQ_PREFIX + group.groupName : RETRY_PREFIX + group.groupName;
    const config = this.#o.topics.ensure(topic, isDead ? 1 : group.retryQueueNums, PERM_READ | PERM_WRITE);
    const level = isDead ? 0 : delayLevel === 0 ? FIRST_RETRY_LEVEL + original.reconsumeTimes : delayLevel;
    properties.set(PROPERTY.DELAY, String(level));
    return {
      topic,
      queueId: isDead ? 0 : original.queueId % config.writeQueueNums,
      flag: original.flag,
      sysFlag: original.sysFlag,
      bornTimestamp: original.bornTimestamp,
      bornHost: original.bornHost,
      reconsumeTimes: original.reconsumeTimes + 1,
      preparedTransactionOffset: 0,
      properties,
      body: Buffer.from(original.body),
    };
  }
}
