import type { Clock } from "../../base/clock.ts";
import { TIMER_PROPERTY } from "../../format/files/timer-record.ts";
import { PROPERTY } from "../../format/record/properties.ts";
import { ResponseCode } from "../../format/remoting/remoting-codes.ts";
import type { OutgoingMessage } from "../message-store.ts";
import type { SendRefusal } from "../send/send-responses.ts";
import { TIMER_TOPIC } from "../topics/system-topics.ts";

export interface TimerParkingOptions {
  /** Names as in the configuration. */
  settings: { timerWheelEnable: boolean; timerMaxDelaySec: number; timerPrecisionMs: number };
  clock: Clock;
}

/** Puts messages with a delivery time of their own into the timer topic. Source: Apache `HookUtils.transformTimerMessage`. */
export class TimerParking {
  readonly #o: TimerParkingOptions;

  constructor(options: TimerParkingOptions) {
    this.#o = options;
  }

  /** @returns the message to store: `message` itself where its time is over */
  park(message: OutgoingMessage): OutgoingMessage | SendRefusal {
    const { settings, clock } = this.#o;
    const { timerMaxDelaySec, timerPrecisionMs } = settings;
    if (!settings.timerWheelEnable) {
      return { code: ResponseCode.SYSTEM_ERROR, remark: "accurate timer message is not enabled, timerWheelEnable is false" };
    }
    const now = clock.now();
    const { properties } = message;
    const deliverMs = deliveryTime(properties, now);
    const isMark = properties.has(TIMER_PROPERTY.DELETE_KEY);
    const isWrong = deliverMs === undefined || deliverMs - now > timerMaxDelaySec * 1000 || (isMark && deliverMs <= now);
    if (isWrong) {
      const furthest = `the delay time should not be bigger than the max delay ${timerMaxDelaySec * 1000}ms`;
      const remark = `timer message illegal, ${furthest}; or if set del msg, the delay time should be bigger than the current time`;
      return { code: ResponseCode.MESSAGE_ILLEGAL, remark };
    }
    if (deliverMs <= now) return message;
    // A slot is read when it is over, so what is due at its start belongs to the one before.
    const outMs = (Math.ceil(deliverMs / timerPrecisionMs) - 1) * timerPrecisionMs;
    const parked = new Map(properties);
    parked.set(TIMER_PROPERTY.OUT_MS, String(outMs));
    parked.set(PROPERTY.REAL_TOPIC, message.topic);
    parked.set(PROPERTY.REAL_QUEUE_ID, String(message.queueId));
    return { ...message, topic: TIMER_TOPIC, queueId: 0, properties: parked };
  }
}

/** ms; undefined: what stands there is no number that Java takes for a long. */
function deliveryTime(properties: ReadonlyMap<string, string>, now: number): number | undefined {
  const { TIMER_DELAY_SEC, TIMER_DELAY_MS, TIMER_DELIVER_MS } = PROPERTY;
  const seconds = properties.get(TIMER_DELAY_SEC);
  const ms = properties.get(TIMER_DELAY_MS);
  const text = seconds ?? ms ?? properties.get(TIMER_DELIVER_MS) ?? "";
  if (!/^[+-]?\d{1,15}$/.test(text)) return undefined;
  if (seconds !== undefined) return now + Number(text) * 1000;
  return ms !== undefined ? now + Number(text) : Number(text);
}
