// Consumers that pop: some messages they acknowledge, of some they change the invisible time, some they leave.
import { setTimeout as sleep } from "node:timers/promises";
import { type DecodedMessage, decodeMessages } from "../../src/format/record/message.ts";
import { RequestCode, ResponseCode } from "../../src/format/remoting/remoting-codes.ts";
import type { RemotingCommand } from "../../src/format/remoting/remoting-command.ts";
import type { RawClient } from "../broker-e2e/raw-client.ts";
import * as requests from "../broker-e2e/requests.ts";
import type { Random } from "./random.ts";
import { must } from "./scenario.ts";

export const POPPED = "TorturePopped";
export const POP_QUEUE_COUNT = 2;
const GROUP = "torture-pop";
const INVISIBLE_MS = 1500;
/** What is said later than so long before the end of the invisible time may come too late. */
const GRACE_MS = 500;
const REST_MS_MAX = 6;

interface Popped {
  /** Well within its time, and the broker has said so. */
  isAcked: boolean;
  /** Acknowledged at all: it may have been done. */
  isDone: boolean;
  /** Not to be had before, ms; when it was sent, to begin with. */
  hiddenUntilMs: number;
  /** A kill may have left two copies of it: while it changed its invisible time, or while it was put back. */
  isDoubtful: boolean;
  seen: number;
  /** For the one who looks for the fault. */
  history: string[];
}

/** End of the time for which the messages of a pop are invisible, ms. */
function untilMs({ extFields }: RemotingCommand): number {
  return Number(extFields["popTime"]) + INVISIBLE_MS;
}

export class PopLoad {
  readonly #messages = new Map<string, Popped>();
  /** Acknowledged by the broker when they were sent, and not yet when they were popped. */
  readonly #open = new Set<string>();
  readonly #killsMs: number[] = [];
  #id = 0;
  sent = 0;
  acked = 0;
  changed = 0;
  cameBack = 0;
  repeated = 0;

  killed(atMs: number): void {
    this.#killsMs.push(atMs);
  }

  get open(): number {
    return this.#open.size;
  }

  /** With what is known of them. */
  openIds(): string[] {
    return [...this.#open].map((id) => this.#textOf(id, "is not acknowledged"));
  }

  #textOf(id: string, fault: string): string {
    return [`${id} ${fault}`, ...this.#messages.get(id)!.history, `kills ${this.#killsMs.join(" ")}`].join("\n  ");
  }

  /** Popped, invisible, and not acknowledged. */
  inFlight(nowMs: number): number {
    let count = 0;
    for (const { isAcked, hiddenUntilMs } of this.#messages.values()) if (!isAcked && hiddenUntilMs > nowMs) count++;
    return count;
  }

  async send(client: RawClient, random: Random): Promise<void> {
    const id = `p${this.#id++}`;
    this.#messages.set(id, { isAcked: false, isDone: false, hiddenUntilMs: Date.now(), isDoubtful: false, seen: 0, history: [] });
    const header = requests.sendHeaderV2({ topic: POPPED, queueId: this.#id % POP_QUEUE_COUNT, properties: { UNIQ_KEY: id } });
    const { code } = await client.ask(requests.SEND_V2, header, Buffer.from(id));
    must(code === ResponseCode.SUCCESS, `a send was answered ${code}`);
    this.sent++;
    if (!this.#messages.get(id)!.isDone) this.#open.add(id);
    await sleep(random.below(REST_MS_MAX));
  }

  /** @param isLast acknowledge everything */
  async pop(client: RawClient, random: Random, isLast: boolean): Promise<void> {
    const bornTime = Date.now();
    const answer = await client.ask(RequestCode.POP_MESSAGE, {
      ...{
        consumerGroup: GROUP,
        topic: POPPED,
        queueId: -1,
        maxMsgNums: 8,
        invisibleTime: INVISIBLE_MS,
        pollTime: 300,
        bornTime,
      },
      ...{ initMode: 0, order: false },
    });
    const seenMs = Date.now();
    if (answer.code !== ResponseCode.SUCCESS) return;
    const messages = decodeMessages(answer.body);
    const popTime = Number(answer.extFields["popTime"]);
    for (const message of messages) this.#seen(message, popTime, seenMs);
    for (const message of messages) {
      const what = isLast ? 0 : random.below(10);
      if (what < 5) await this.#acknowledge(client, answer, message);
      else if (what < 7) await this.#change(client, answer, message, random.pick([300, 1000, 2500]));
    }
  }

  #seen({ body, queueId, queueOffset, reconsumeTimes, storeTimestamp }: DecodedMessage, popTime: number, seenMs: number): void {
    const id = body.toString();
    const known = this.#messages.get(id);
    must(known !== undefined, `${id} was popped, and nobody has sent it`);
    // Between the end of the time before and now; also of a pop whose answer was lost. It may have been put back twice.
    if (this.#killsMs.some((ms) => ms >= known.hiddenUntilMs && ms <= seenMs)) known.isDoubtful = true;
    if (known.seen++ > 0) this.cameBack++;
    known.history.push(
      `seen ${seenMs}, popped ${popTime}, at ${queueId}/${queueOffset} try ${reconsumeTimes} of ${storeTimestamp}`,
    );
    if (known.isDoubtful) {
      if (known.isAcked) this.repeated++;
    } else {
      must(!known.isAcked, () => this.#textOf(id, "was acknowledged, and comes again"));
      must(seenMs >= known.hiddenUntilMs, () =>
        this.#textOf(id, `is early: it was to be invisible until ${known.hiddenUntilMs}`),
      );
    }
    known.hiddenUntilMs = popTime + INVISIBLE_MS;
  }

  #handle({ extFields }: RemotingCommand, { queueId, queueOffset, properties }: DecodedMessage): Record<string, string | number> {
    const parts = (extFields["startOffsetInfo"] ?? "").split(";").map((part) => part.split(" "));
    const starts = new Map(parts.filter(([kind]) => kind === "0").map(([, queue, start]) => [queue, start])); // Retries have their own.
    const own = properties.get("POP_CK");
    const { popTime, invisibleTime, reviveQid } = extFields;
    const extraInfo = own ?? `${starts.get(String(queueId))} ${popTime} ${invisibleTime} ${reviveQid} 0 b ${queueId}`;
    const topic = own === undefined ? POPPED : `%RETRY%${GROUP}_${POPPED}`;
    return { consumerGroup: GROUP, topic, queueId, offset: queueOffset, extraInfo };
  }

  async #acknowledge(client: RawClient, answer: RemotingCommand, message: DecodedMessage): Promise<void> {
    const id = message.body.toString();
    const popped = this.#messages.get(id)!;
    popped.history.push(`acknowledging ${Date.now()}`);
    popped.isDone = true;
    this.#open.delete(id);
    const { code, remark } = await client.ask(RequestCode.ACK_MESSAGE, this.#handle(answer, message));
    must(code === ResponseCode.SUCCESS, `an acknowledgement was answered ${code}: ${remark}`);
    popped.history.push(`acknowledged ${Date.now()}`);
    if (Date.now() < untilMs(answer) - GRACE_MS) popped.isAcked = true;
    this.acked++;
  }

  async #change(client: RawClient, answer: RemotingCommand, message: DecodedMessage, invisibleTime: number): Promise<void> {
    const popped = this.#messages.get(message.body.toString())!;
    const before = untilMs(answer);
    const isSure = popped.isDoubtful;
    popped.isDoubtful = true;
    popped.hiddenUntilMs = Math.min(popped.hiddenUntilMs, Date.now() + invisibleTime);
    popped.history.push(`changing to ${invisibleTime} ${Date.now()}`);
    const header = { ...this.#handle(answer, message), invisibleTime };
    const { code, remark, extFields } = await client.ask(RequestCode.CHANGE_MESSAGE_INVISIBLETIME, header);
    must(code === ResponseCode.SUCCESS, `a new invisible time was answered ${code}: ${remark}`);
    popped.history.push(`changed ${Date.now()}`);
    this.changed++;
    if (Date.now() >= before - GRACE_MS) return;
    // Somebody else may have it already, where the new time is short.
    popped.isDoubtful = isSure;
    if (popped.hiddenUntilMs <= before) popped.hiddenUntilMs = Number(extFields["popTime"]) + invisibleTime;
  }
}
