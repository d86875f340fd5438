import type { Clock } from "../../base/clock.ts";
import type { DecodedMessage } from "../../format/record/message.ts";
import type { Finding } from "../../format/remoting/explanation.ts";
import type { ConsumerLookup } from "../contracts.ts";
import type { Pop } from "../pop/pop.ts";

/** What pops say of a message; a part of explain.ts. */
export interface PopSources {
  pop: Pick<Pop, "popped" | "poppedInOrder">;
  consumers: ConsumerLookup;
  clock: Clock;
}

/** @returns undefined: the group has not popped it, or all that it popped with it is settled */
export function poppedFinding(
  { pop, consumers, clock }: PopSources,
  group: string,
  message: DecodedMessage,
): Finding | undefined {
  const { topic, queueId, queueOffset } = message;
  const popped = pop.popped(topic, group, queueId, queueOffset);
  if (popped === undefined) return undefined;
  const { untilMs, holder, isAcked, failedTimes } = popped;
  const clients = [...(consumers.group(group)?.clients.values() ?? [])];
  const client = clients.find(({ channel }) => channel.remoteAddress === holder);
  const who = client?.clientId ?? (holder === "" ? "a consumer" : holder);
  const by = { group, clientId: client?.clientId ?? holder };
  if (isAcked) return { state: "acked", ...by, text: `acked: popped by ${who} and acknowledged` };
  if (untilMs > clock.now()) {
    return {
      state: "invisible",
      ...by,
      until: untilMs,
      text: `invisible: popped by ${who} and not acked, until ${time(untilMs)}`,
    };
  }
  const failed = failedTimes === 0 ? "" : `; putting it back has failed ${failedTimes} times`;
  const text = `popped by ${who} and not acked until ${time(untilMs)}: on its way back to the group${failed}`;
  return { state: "reviving", ...by, until: untilMs, text };
}

/** Of a queue that is popped in order; @returns undefined: nothing of it is unsettled, or it does not touch the message */
export function poppedInOrderFinding({ pop, clock }: PopSources, group: string, message: DecodedMessage): Finding | undefined {
  const { topic, queueId, queueOffset } = message;
  const place = pop.poppedInOrder(topic, group, queueId, queueOffset);
  if (place === undefined) return undefined;
  const { isPopped, isAcked, untilMs, before } = place;
  const isInvisible = untilMs > clock.now();
  const again = before === 0 ? "" : `, popped ${before} times before,`;
  if (isAcked) return { state: "acked", group, text: "acked: popped in order and acknowledged" };
  if (isPopped && isInvisible) {
    const text = `invisible: popped in order${again} and not acked, until ${time(untilMs)}; the queue gives out nothing behind it`;
    return { state: "invisible", group, until: untilMs, text };
  }
  if (isPopped) {
    return {
      state: "waiting",
      group,
      text: `popped in order${again} and not acked until ${time(untilMs)}: comes again with the next pop`,
    };
  }
  if (!isInvisible) return undefined;
  const text = `waits behind messages that are popped in order and not acked, until ${time(untilMs)} at the latest`;
  return { state: "waiting", group, until: untilMs, text };
}

/** A time for people. */
export function time(ms: number): string {
  return Number.isFinite(new Date(ms).getTime()) ? new Date(ms).toISOString() : String(ms);
}
