import type { Clock } from "../../base/clock.ts";
import { RequestCode, ResponseCode } from "../../format/remoting/remoting-codes.ts";
import { type RemotingCommand, response } from "../../format/remoting/remoting-command.ts";
import { writeJson } from "../../format/text/fastjson.ts";
import type { HandlerTable } from "../contracts.ts";
import type { MessageStore } from "../message-store.ts";
import { TIMER_TOPIC } from "../topics/system-topics.ts";
import type { TimerView } from "./timer-view.ts";

export interface TimerRequestsOptions {
  /** undefined: timerWheelEnable is off. */
  timer: TimerView | undefined;
  store: MessageStore;
  clock: Clock;
}

/** What administrators and replicas are told of the timer. Source: Apache `AdminBrokerProcessor`. */
export class TimerRequests {
  readonly #o: TimerRequestsOptions;
  /** For the rates, which are those since the last time that somebody asked. */
  #last = { atMs: 0, enqueued: 0, delivered: 0 };

  constructor(options: TimerRequestsOptions) {
    this.#o = options;
  }

  handlers(): HandlerTable {
    return new Map([
      [RequestCode.GET_TIMER_CHECK_POINT, (command) => this.#checkpoint(command)],
      [RequestCode.GET_TIMER_METRICS, (command) => this.#metrics(command)],
    ]);
  }

  #checkpoint(command: RemotingCommand): RemotingCommand {
    const { timer } = this.#o;
    if (timer === undefined) return response(command, ResponseCode.SYSTEM_ERROR, "The checkpoint is null");
    return response(command, ResponseCode.SUCCESS, undefined, {}, timer.checkpoint());
  }

  #metrics(command: RemotingCommand): RemotingCommand {
    const { timer } = this.#o;
    if (timer === undefined) return response(command, ResponseCode.SYSTEM_ERROR, "The timer message store is null");
    const dataVersion = { counter: 0, stateVersion: 0, timestamp: this.#o.clock.now() };
    const text = writeJson({ dataVersion, timingCount: Object.fromEntries(timer.counts()) });
    return response(command, ResponseCode.SUCCESS, undefined, {}, Buffer.from(text));
  }

  /** For GET_BROKER_RUNTIME_INFO: Apache's five figures, and how accurate deliveries were. */
  runtimeInfo(): Record<string, string> {
    const { timer, store, clock } = this.#o;
    if (timer === undefined) {
      return {
        timerReadBehind: "0",
        timerOffsetBehind: "0",
        timerCongestNum: "0",
        timerEnqueueTps: "0.0",
        timerDequeueTps: "0.0",
      };
    }
    const now = clock.now();
    const { readMs, queueOffset, waiting, enqueued, delivered, ...late } = timer.figures();
    const elapsedS = Math.max(1, (now - this.#last.atMs) / 1000);
    const enqueueTps = (enqueued - this.#last.enqueued) / elapsedS;
    const dequeueTps = (delivered - this.#last.delivered) / elapsedS;
    this.#last = { atMs: now, enqueued, delivered };
    return {
      timerReadBehind: String(Math.max(0, Math.floor((now - readMs) / 1000))),
      timerOffsetBehind: String(Math.max(0, store.maxQueueOffset(TIMER_TOPIC, 0) - queueOffset)),
      timerCongestNum: String(waiting),
      timerEnqueueTps: String(enqueueTps),
      timerDequeueTps: String(dequeueTps),
      timerDelivered: String(delivered),
      timerLateP50Ms: String(late.lateP50Ms),
      timerLateP99Ms: String(late.lateP99Ms),
      timerLateMaxMs: String(late.lateMaxMs),
      timerEarly: String(late.early),
    };
  }
}
