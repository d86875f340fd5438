import { RETRY_PREFIX } from "../../format/names.ts";
import { encodeProperties, PROPERTY } from "../../format/record/properties.ts";
import { RequestCode, ResponseCode } from "../../format/remoting/remoting-codes.ts";
import type { RemotingCommand } from "../../format/remoting/remoting-command.ts";
import type { ClientInstance } from "../connection/client-instance.ts";
import { clientRequest, requestFailed } from "../connection/client-request.ts";
import type { AssignedQueue } from "./assigned-queue.ts";
import type { ConsumedMessage } from "./consumed-message.ts";
import type { ConsumerSettings } from "./consumer-options.ts";
import { ABANDONED } from "./message-stream.ts";
import type { WindowTask } from "./process-window.ts";

const SEND_BACK_TIMEOUT_MS = 5_000;
/** Pause before a failed message that could not be given back is tried again. Source: Apache `ConsumeMessageConcurrentlyService`. */
const SEND_BACK_RETRY_MS = 5_000;
/** Deliveries that a group without a limit of its own gets, and delay level of the first. Source: Apache `DefaultMQPushConsumer`. */
const MAX_TIMES_DEFAULT = 16;
const FIRST_RETRY_LEVEL = 3;
/** delayLevel: by number of deliveries; straight to the dead-letter queue. */
const LEVEL_BY_BROKER = 0;
const LEVEL_DEAD = -1;

/** What becomes of messages on which the application failed. */
export class FailedMessages {
  readonly #instance: ClientInstance;
  readonly #settings: ConsumerSettings;

  constructor(instance: ClientInstance, settings: ConsumerSettings) {
    this.#instance = instance;
    this.#settings = settings;
  }

  /** @returns true: the messages need nothing more from us; false: hand them out again, if the queue is still ours */
  async recover(assigned: AssignedQueue, task: WindowTask, failure: unknown): Promise<boolean> {
    if (failure === ABANDONED) return false;
    this.#instance.report(failure);
    const { isBroadcasting, orderly, orderlyRetryMs, maxReconsumeTimes } = this.#settings;
    // Each broadcast consumer is on its own: nobody keeps a failed message for it.
    if (isBroadcasting) return true;
    if (!orderly) return this.#sendBackAll(assigned, task, LEVEL_BY_BROKER);
    if (maxReconsumeTimes >= 0 && task.messages.some((message) => message.reconsumeTimes >= maxReconsumeTimes)) {
      return this.#sendBackAll(assigned, task, LEVEL_DEAD);
    }
    await assigned.pause(this.#instance.clock, orderlyRetryMs);
    for (const message of task.messages) message.countLocalRetry();
    return false;
  }

  /** Gives each message back to its broker, trying until it takes it; false if the queue is lost meanwhile. */
  async #sendBackAll(assigned: AssignedQueue, task: WindowTask, delayLevel: number): Promise<boolean> {
    for (const message of task.messages) {
      while (!(await this.#sendBack(message, delayLevel))) {
        await assigned.pause(this.#instance.clock, SEND_BACK_RETRY_MS);
        if (assigned.isDropped) return false;
      }
    }
    return true;
  }

  async #sendBack(message: ConsumedMessage, delayLevel: number): Promise<boolean> {
    try {
      const address = this.#instance.nameServers.brokerAddress(message.brokerName) ?? message.storeHost;
      const command = message.isInBatch ? this.#copyOf(message, delayLevel) : this.#reference(message, delayLevel);
      const answer = await this.#instance.remoting.invoke(address, command, SEND_BACK_TIMEOUT_MS);
      if (answer.code !== ResponseCode.SUCCESS) throw requestFailed(`${address}: giving back a message:`, answer);
      return true;
    } catch (error) {
      this.#instance.report(error);
      return false;
    }
  }

  #reference(message: ConsumedMessage, delayLevel: number): RemotingCommand {
    return clientRequest(RequestCode.CONSUMER_SEND_MSG_BACK, {
      offset: message.physicalOffset,
      group: this.#settings.group,
      delayLevel,
      originMsgId: message.msgId,
      originTopic: message.topic,
      unitMode: false,
      maxReconsumeTimes: this.#settings.maxReconsumeTimes,
      bname: message.brokerName,
    });
  }

  /**
   * A broker cannot take one message out of a record that is a whole batch: it is sent to the retry topic anew.
   * Source: Apache `DefaultMQPushConsumerImpl.sendMessageBack`.
   */
  #copyOf(message: ConsumedMessage, delayLevel: number): RemotingCommand {
    const { group, maxReconsumeTimes } = this.#settings;
    const max = maxReconsumeTimes < 0 ? MAX_TIMES_DEFAULT : maxReconsumeTimes;
    const reconsumeTimes = delayLevel === LEVEL_DEAD ? max + 1 : message.reconsumeTimes + 1;
    const properties = new Map(message.properties);
    properties.set(PROPERTY.RETRY_TOPIC, message.topic);
    if (!properties.has(PROPERTY.ORIGIN_MESSAGE_ID)) properties.set(PROPERTY.ORIGIN_MESSAGE_ID, message.msgId);
    properties.set(PROPERTY.DELAY, String(FIRST_RETRY_LEVEL + message.reconsumeTimes));
    const header = {
      producerGroup: "CLIENT_INNER_PRODUCER",
      topic: RETRY_PREFIX + group,
      defaultTopic: "TBW102",
      defaultTopicQueueNums: 1,
      queueId: 0,
      sysFlag: 0,
      bornTimestamp: this.#instance.clock.now(),
      flag: message.flag,
      properties: encodeProperties(properties),
      reconsumeTimes,
      unitMode: false,
      batch: false,
      maxReconsumeTimes: max,
      bname: message.brokerName,
    };
    return clientRequest(RequestCode.SEND_MESSAGE, header, message.body);
  }
}
