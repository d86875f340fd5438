// Producers of delayed and timed messages, and a consumer that can handle nothing: what it reads it gives back until it is dead.
import { setTimeout as sleep } from "node:timers/promises";
import { type DecodedMessage, decodeMessages } from "../../src/format/record/message.ts";
import { RequestCode, ResponseCode } from "../../src/format/remoting/remoting-codes.ts";
import { RawClient } from "../broker-e2e/raw-client.ts";
import * as requests from "../broker-e2e/requests.ts";
import { LaterBooks } from "./later-books.ts";
import type { Random } from "./random.ts";
import { must } from "./scenario.ts";

export const QUEUE_COUNT = 2;
export const DELAYED = "TortureDelayed";
export const TIMED = "TortureTimed";
export const FAILING = "TortureFailing";
const GROUP = "torture-later";
const RETRY = `%RETRY%${GROUP}`;
const DEAD = `%DLQ%${GROUP}`;
/** Of level 1, 2 …; as in the broker's settings. */
export const LEVELS_S: readonly number[] = [1, 2, 1, 1, 1];
const FIRST_RETRY_LEVEL = 3;
const TRIES_MAX = 2;
/** From here on `maxReconsumeTimes` of a message that is given back counts. */
const VERSION = 500;
const REST_MS_MAX = 6;
const RECALL_ONE_IN = 8;

/** Runs until the connection ends. @throws Error of `must` only */
export async function untilGone(address: string, work: (client: RawClient) => Promise<void>): Promise<void> {
  let client: RawClient | undefined;
  try {
    client = await RawClient.connect(address);
    for (;;) await work(client);
  } catch (error) {
    if (String(error).includes("violated")) throw error;
  } finally {
    client?.close();
  }
}

export class LaterLoad {
  readonly delayed: LaterBooks = new LaterBooks();
  readonly timed: LaterBooks = new LaterBooks();
  /** What was given back, by its number and the try. */
  readonly failed: LaterBooks = new LaterBooks();
  readonly #next = new Map<string, number>();
  /** Given back, and not answered yet. */
  #toGiveBack: { id: string; tries: number; physicalOffset: number }[] = [];
  #id = 0;

  get all(): LaterBooks[] {
    return [this.delayed, this.timed, this.failed];
  }

  async #send(client: RawClient, topic: string, id: string, properties: Record<string, string>): Promise<string> {
    const queueId = this.#id % QUEUE_COUNT;
    const header = requests.sendHeaderV2({ topic, queueId, properties: { UNIQ_KEY: id, ...properties } });
    const answer = await client.ask(requests.SEND_V2, header, Buffer.from(id));
    must(answer.code === ResponseCode.SUCCESS, `a send to ${topic} was answered ${answer.code}: ${answer.remark}`);
    return answer.extFields["recallHandle"] ?? "";
  }

  async sendDelayed(client: RawClient, random: Random): Promise<void> {
    const id = `d${this.#id++}`;
    const level = random.between(1, 2);
    this.delayed.ask(id, Date.now() + 1000 * LEVELS_S[level - 1]!);
    await this.#send(client, DELAYED, id, { DELAY: String(level) });
    this.delayed.acknowledged(id);
    await sleep(random.below(REST_MS_MAX));
  }

  async sendTimed(client: RawClient, random: Random): Promise<void> {
    const id = `t${this.#id++}`;
    const delayMs = random.between(150, 2500);
    const now = Date.now();
    this.timed.ask(id, now + delayMs);
    const when = random.chance(2) ? { TIMER_DELAY_MS: String(delayMs) } : { TIMER_DELIVER_MS: String(now + delayMs) };
    const recallHandle = await this.#send(client, TIMED, id, when);
    const isLongAway = Date.now() < now + delayMs - 1000;
    if (isLongAway && random.chance(RECALL_ONE_IN)) {
      // Not counted as acknowledged before: where no answer comes, it may be there or not.
      const { code } = await client.ask(RequestCode.RECALL_MESSAGE, { producerGroup: "p", topic: TIMED, recallHandle });
      this.timed.acknowledged(id);
      if (code === ResponseCode.SUCCESS) this.timed.recall(id);
    } else this.timed.acknowledged(id);
    await sleep(random.below(REST_MS_MAX));
  }

  /** What is going to fail. */
  async sendFailing(client: RawClient, random: Random): Promise<void> {
    const id = `f${this.#id++}`;
    this.failed.ask(`${id} try 0`, Date.now());
    await this.#send(client, FAILING, id, {});
    this.failed.acknowledged(`${id} try 0`);
    await sleep(random.below(2 * REST_MS_MAX));
  }

  /** One look at all queues. */
  async consume(client: RawClient): Promise<void> {
    await this.#giveBack(client);
    for (let queueId = 0; queueId < QUEUE_COUNT; queueId++) {
      const seen = (books: LaterBooks) => (message: DecodedMessage, seenMs: number) =>
        books.arrived(message.body.toString(), message.storeTimestamp, seenMs);
      await this.#read(client, DELAYED, queueId, seen(this.delayed));
      await this.#read(client, TIMED, queueId, seen(this.timed));
      await this.#read(client, FAILING, queueId, (message, seenMs) => this.#fail(message, seenMs));
    }
    await this.#read(client, RETRY, 0, (message, seenMs) => this.#fail(message, seenMs));
    await this.#read(client, DEAD, 0, (message, seenMs) => this.#fail(message, seenMs));
    await sleep(5);
  }

  #fail({ body, reconsumeTimes, storeTimestamp, physicalOffset }: DecodedMessage, seenMs: number): void {
    const id = body.toString();
    this.failed.arrived(`${id} try ${reconsumeTimes}`, storeTimestamp, seenMs);
    if (reconsumeTimes <= TRIES_MAX) this.#toGiveBack.push({ id, tries: reconsumeTimes, physicalOffset });
  }

  /** What is not answered is given back again when the broker is back, as a consumer does that has not committed its offset. */
  async #giveBack(client: RawClient): Promise<void> {
    const all = this.#toGiveBack;
    this.#toGiveBack = [];
    const outcomes = await Promise.allSettled(
      all.map(async ({ id, tries, physicalOffset }) => {
        const key = `${id} try ${tries + 1}`;
        const waitMs = tries === TRIES_MAX ? 0 : 1000 * LEVELS_S[FIRST_RETRY_LEVEL + tries - 1]!;
        this.failed.ask(key, Date.now() + waitMs);
        const origin = { originMsgId: id, originTopic: FAILING, maxReconsumeTimes: TRIES_MAX };
        const header = { group: GROUP, offset: physicalOffset, delayLevel: 0, ...origin };
        const { code, remark } = await client.ask(requests.SEND_BACK, header, undefined, { version: VERSION });
        must(code === ResponseCode.SUCCESS, `${key} was not taken back: ${code} ${remark}`);
        this.failed.acknowledged(key);
      }),
    );
    for (const [i, { status }] of outcomes.entries()) if (status === "rejected") this.#toGiveBack.push(all[i]!);
    const failed = outcomes.find((outcome) => outcome.status === "rejected");
    if (failed !== undefined) throw failed.reason;
  }

  async #read(
    client: RawClient,
    topic: string,
    queueId: number,
    take: (message: DecodedMessage, seenMs: number) => void,
  ): Promise<void> {
    const key = `${topic}/${queueId}`;
    const offset = this.#next.get(key) ?? 0;
    const header = requests.pullHeader({ group: GROUP, topic, queueId, offset, count: 500 });
    const answer = await client.ask(requests.PULL, header);
    const seenMs = Date.now();
    const isThere = answer.code === ResponseCode.SUCCESS;
    const isNothing = answer.code === ResponseCode.PULL_NOT_FOUND || answer.code === ResponseCode.TOPIC_NOT_EXIST;
    must(isThere || isNothing, () => `pull at ${key}/${offset}: ${answer.code} ${answer.remark}`);
    if (!isThere) return;
    for (const message of decodeMessages(answer.body)) {
      take(message, seenMs);
      this.#next.set(key, message.queueOffset + 1);
    }
  }

  /** Acknowledged, and not there yet; or there, and not given back yet. */
  get open(): number {
    return this.delayed.open + this.timed.open + this.failed.open + this.#toGiveBack.length;
  }
}
