import type { Clock } from "../../base/clock.ts";
import { TIMER_PROPERTY } from "../../format/files/timer-record.ts";
import { PROPERTY } from "../../format/record/properties.ts";
import { optionalText, requiredText } from "../../format/remoting/command-fields.ts";
import { RequestCode, ResponseCode } from "../../format/remoting/remoting-codes.ts";
import { type RemotingCommand, response } from "../../format/remoting/remoting-command.ts";
import { PERM_WRITE } from "../../format/topic-config.ts";
import { openingGraceMs } from "../../store/timer/timer-store.ts";
import type { Channel } from "../channel.ts";
import type { HandlerTable, TopicLookup } from "../contracts.ts";
import type { MessageStore } from "../message-store.ts";
import type { TimerParking } from "./timer-parking.ts";

export interface RecallOptions {
  /** Names as in the configuration. */
  settings: {
    brokerName: string;
    regionId: string;
    brokerPermission: number;
    recallMessageEnable: boolean;
    allowRecallWhenBrokerNotWriteable: boolean;
    startAcceptSendRequestTimeStamp: number;
    timerMaxDelaySec: number;
    timerPrecisionMs: number;
  };
  topics: TopicLookup;
  store: MessageStore;
  parking: TimerParking;
  clock: Clock;
}

interface RecallHandle {
  topic: string;
  brokerName: string;
  /** As it stands there. */
  time: string;
  uniqueKey: string;
}

const HANDLE_VERSION = "v1";

/**
 * What a producer gets with the answer to a timed message, and gives back to have it not delivered.
 * Source: Apache `RecallMessageHandle`, `SendMessageProcessor.attachRecallHandle`.
 */
export function recallHandle(brokerName: string, properties: ReadonlyMap<string, string>): string | undefined {
  const out = properties.get(TIMER_PROPERTY.OUT_MS);
  const topic = properties.get(PROPERTY.REAL_TOPIC);
  const uniqueKey = properties.get(PROPERTY.UNIQ_KEY);
  if (out === undefined || topic === undefined || uniqueKey === undefined || topic.startsWith("%RETRY%")) return undefined;
  const text = [HANDLE_VERSION, topic, brokerName, String(Number(out) + 1), uniqueKey].join(" ");
  const base64 = Buffer.from(text).toString("base64");
  return base64.replaceAll("+", "-").replaceAll("/", "_"); // With the padding, which "base64url" leaves out.
}

function handleOf(text: string): RecallHandle | undefined {
  if (!/^[\w-]+={0,2}$/.test(text)) return undefined;
  const [version, topic = "", brokerName = "", time = "", uniqueKey] = Buffer.from(text, "base64url").toString().split(" ");
  return version !== HANDLE_VERSION || uniqueKey === undefined ? undefined : { topic, brokerName, time, uniqueKey };
}

/** RECALL_MESSAGE (370): marks a message that waits in the timer as not to be delivered. Source: Apache `RecallMessageProcessor`. */
export class Recall {
  readonly #o: RecallOptions;

  constructor(options: RecallOptions) {
    this.#o = options;
  }

  handlers(): HandlerTable {
    return new Map([[RequestCode.RECALL_MESSAGE, (command, channel) => this.#recall(command, channel)]]);
  }

  async #recall(command: RemotingCommand, channel: Channel): Promise<RemotingCommand> {
    const { settings, topics, store, parking, clock } = this.#o;
    const answer = (code: number, remark?: string, msgId?: string): RemotingCommand =>
      response(command, code, remark, { ...(msgId === undefined ? {} : { msgId }), MSG_REGION: settings.regionId });
    const topic = requiredText(command, "topic");
    if (!settings.recallMessageEnable) return answer(ResponseCode.NO_PERMISSION, "recall failed, operation is forbidden");
    const isWritable = (settings.brokerPermission & PERM_WRITE) !== 0 || settings.allowRecallWhenBrokerNotWriteable;
    if (!isWritable || clock.now() < settings.startAcceptSendRequestTimeStamp)
      return answer(ResponseCode.SERVICE_NOT_AVAILABLE, "recall failed, broker service not available");
    if (topics.get(topic) === undefined)
      return answer(ResponseCode.TOPIC_NOT_EXIST, `recall failed, the topic[${topic}] not exist`);
    const handle = handleOf(optionalText(command, "recallHandle") ?? "");
    if (handle === undefined) return answer(ResponseCode.ILLEGAL_OPERATION, "recall handle is invalid");
    if (handle.topic !== topic) return answer(ResponseCode.ILLEGAL_OPERATION, "recall failed, topic not match");
    if (handle.brokerName !== settings.brokerName)
      return answer(ResponseCode.ILLEGAL_OPERATION, "recall failed, broker service not available");
    const left = /^\d{1,15}$/.test(handle.time) ? Number(handle.time) - clock.now() : -1;
    if (left <= 0 || left >= settings.timerMaxDelaySec * 1000)
      return answer(ResponseCode.ILLEGAL_OPERATION, "recall failed, timestamp invalid");
    const now = clock.now();
    const mark = parking.park({
      topic,
      queueId: 0,
      flag: 0,
      sysFlag: 0,
      bornTimestamp: now,
      bornHost: channel.remoteAddress,
      reconsumeTimes: 0,
      preparedTransactionOffset: 0,
      properties: new Map<string, string>([
        [PROPERTY.TAGS, "_RECALL_TAG_"],
        [TIMER_PROPERTY.DELETE_KEY, handle.uniqueKey],
        [PROPERTY.UNIQ_KEY, handle.uniqueKey],
        [PROPERTY.TIMER_DELIVER_MS, handle.time],
        ["BORN_TIMESTAMP", String(now)],
        [PROPERTY.PRODUCER_GROUP, optionalText(command, "producerGroup") ?? ""],
      ]),
      body: Buffer.from("0"),
    });
    if ("code" in mark) return answer(ResponseCode.SYSTEM_ERROR, "recall failed, execute error");
    try {
      await store.append(mark);
    } catch {
      return answer(ResponseCode.SYSTEM_ERROR, "recall failed, execute error");
    }
    // Stored so late that the message's slot may have been opened without it.
    const slotMs = Number(mark.properties.get(TIMER_PROPERTY.OUT_MS));
    if (clock.now() >= slotMs + openingGraceMs(settings.timerPrecisionMs))
      return answer(ResponseCode.SYSTEM_ERROR, "recall failed, execute error");
    return answer(ResponseCode.SUCCESS, undefined, handle.uniqueKey);
  }
}
