import { decodeMessages } from "../../format/record/message.ts";
import { RequestCode, ResponseCode } from "../../format/remoting/remoting-codes.ts";
import { type RemotingCommand, response } from "../../format/remoting/remoting-command.ts";
import { memberOf, parseJson, parseQueueTable, queueTable, writeJson } from "../../format/text/fastjson.ts";
import type { ClientInstance } from "../connection/client-instance.ts";
import type { MessageQueue } from "../connection/routes.ts";
import type { AssignedQueue } from "./assigned-queue.ts";
import { type ConsumedMessage, readMessages } from "./consumed-message.ts";
import type { ConsumerSettings } from "./consumer-options.ts";
import type { Subscription } from "./subscription.ts";

/** What brokers and administrators may ask of, or demand from, a running consumer. */
export interface ConsumerControl {
  assigned(): Iterable<AssignedQueue>;
  subscriptions(): Iterable<Subscription>;
  /** The group's members changed. */
  onMembersChanged(): void;
  /** Goes on at the offsets given, where the queues are ours. */
  resetOffsets(offsets: readonly { queue: MessageQueue; offset: number }[]): void;
  /** Hands one message to the application, outside of its queue. Rejects with what the application throws. */
  consumeDirectly(message: ConsumedMessage): Promise<void>;
  readonly startedMs: number;
}

/** Serves 40, 220, 221, 307 and 309. Source: Apache `ClientRemotingProcessor`. */
export function serveConsumerRequests(instance: ClientInstance, settings: ConsumerSettings, control: ConsumerControl): void {
  const { remoting } = instance;
  const isOurs = (group: string | undefined): boolean => group === settings.group;
  remoting.handle(RequestCode.NOTIFY_CONSUMER_IDS_CHANGED, (command) => {
    if (isOurs(command.extFields["consumerGroup"])) control.onMembersChanged();
    return undefined;
  });
  remoting.handle(RequestCode.RESET_CONSUMER_CLIENT_OFFSET, (command) => {
    if (isOurs(command.extFields["group"])) {
      const table = parseQueueTable(memberOf(parseJson(command.body), "offsetTable"));
      control.resetOffsets(
        table.map(({ queue, value }) => ({ queue, offset: Number(value) })).filter(({ offset }) => Number.isSafeInteger(offset)),
      );
    }
    return undefined;
  });
  remoting.handle(RequestCode.GET_CONSUMER_STATUS_FROM_CLIENT, (command) => {
    if (!isOurs(command.extFields["group"])) return notOurs(command);
    const offsets = [...control.assigned()]
      .filter(({ queue }) => queue.topic === command.extFields["topic"])
      .map(({ queue, window }) => [queue, window.commitOffset] as const);
    return withBody(command, { messageQueueTable: queueTable(offsets) });
  });
  remoting.handle(RequestCode.GET_CONSUMER_RUNNING_INFO, (command) => {
    if (!isOurs(command.extFields["consumerGroup"])) return notOurs(command);
    return withBody(command, runningInfo(settings, control));
  });
  remoting.handle(RequestCode.CONSUME_MESSAGE_DIRECTLY, async (command) => {
    if (!isOurs(command.extFields["consumerGroup"])) return notOurs(command);
    return withBody(command, await consumeDirectly(instance, settings, control, command));
  });
}

async function consumeDirectly(
  instance: ClientInstance,
  settings: ConsumerSettings,
  control: ConsumerControl,
  command: RemotingCommand,
): Promise<object> {
  const startedMs = instance.clock.now();
  const result = { order: settings.orderly, autoCommit: true, consumeResult: "CR_SUCCESS", remark: "", spentTimeMills: 0 };
  try {
    const topic = command.extFields["topic"] ?? decodeMessages(command.body)[0]?.topic ?? "";
    const queue = { topic, brokerName: command.extFields["brokerName"] ?? "", queueId: 0 };
    const message = readMessages(queue, command.body, settings.maxBodySize)[0];
    if (message === undefined) throw new Error("the request holds no message");
    await control.consumeDirectly(message);
  } catch (error) {
    result.consumeResult = "CR_THROW_EXCEPTION";
    result.remark = error instanceof Error ? error.message : String(error);
  }
  result.spentTimeMills = instance.clock.now() - startedMs;
  return result;
}

/** Shape: Apache `ConsumerRunningInfo`, `ProcessQueueInfo`, as mqadmin and the dashboard show them. */
function runningInfo(settings: ConsumerSettings, control: ConsumerControl): object {
  const queues = [...control.assigned()].map(
    ({ queue, window, lastPullMs, lastConsumeMs, lockedMs, isDropped }) =>
      [
        queue,
        {
          cachedMsgCount: window.heldCount,
          cachedMsgMaxOffset: Math.max(0, window.nextPullOffset - 1),
          cachedMsgMinOffset: window.commitOffset,
          cachedMsgSizeInMiB: Math.floor(window.heldBytes / 1_048_576),
          commitOffset: window.commitOffset,
          droped: isDropped,
          lastConsumeTimestamp: lastConsumeMs,
          lastLockTimestamp: lockedMs,
          lastPullTimestamp: lastPullMs,
          locked: lockedMs > 0,
          transactionMsgCount: 0,
          transactionMsgMaxOffset: 0,
          transactionMsgMinOffset: 0,
          tryUnlockTimes: 0,
        },
      ] as const,
  );
  return {
    jstack: "",
    mqPopTable: {},
    mqTable: queueTable(queues),
    properties: {
      PROP_CLIENT_VERSION: "V5_5_0",
      PROP_CONSUMEORDERLY: String(settings.orderly),
      PROP_CONSUMER_START_TIMESTAMP: String(control.startedMs),
      PROP_CONSUME_TYPE: "CONSUME_PASSIVELY",
      PROP_THREADPOOL_CORE_SIZE: String(settings.maxInFlight),
      consumerGroup: settings.group,
      messageModel: settings.isBroadcasting ? "BROADCASTING" : "CLUSTERING",
    },
    statusTable: {},
    subscriptionSet: [...control.subscriptions()].map((subscription) => subscription.toJSON()),
    userConsumerInfo: {},
  };
}

function withBody(command: RemotingCommand, body: object): RemotingCommand {
  return response(command, ResponseCode.SUCCESS, undefined, {}, Buffer.from(writeJson(body)));
}

function notOurs(command: RemotingCommand): RemotingCommand {
  const group = command.extFields["group"] ?? command.extFields["consumerGroup"] ?? "";
  return response(command, ResponseCode.SYSTEM_ERROR, `no member of consumer group ${group} lives here`);
}
