import type { Clock, Timer } from "../../base/clock.ts";
import { type DecodedMessage, decodeMessage } from "../../format/record/message.ts";
import { offsetMessageId } from "../../format/record/message-id.ts";
import { PROPERTY } from "../../format/record/properties.ts";
import { RequestCode } from "../../format/remoting/remoting-codes.ts";
import { FLAG_ONEWAY, request } from "../../format/remoting/remoting-command.ts";
import type { Log } from "../../observe/log.ts";
import type { OffsetLookup } from "../contracts.ts";
import type { Producers } from "../groups/producers.ts";
import type { AppendResult, MessageStore, OutgoingMessage } from "../message-store.ts";
import { HALF_MARK_TOPIC, HALF_TOPIC } from "../topics/system-topics.ts";
import { type HalfMarks, MarkReader } from "./half-marks.ts";
import { checkBody, checkedAgain, givenUp, stillImmune } from "./half-messages.ts";

/** Names as in the configuration. */
export interface HalfCheckSettings {
  brokerName: string;
  /** ms */
  transactionTimeOut: number;
  transactionCheckMax: number;
  /** ms */
  transactionCheckInterval: number;
  /** hours */
  fileReservedTime: number;
}

export interface HalfCheckOptions {
  settings: HalfCheckSettings;
  store: MessageStore;
  offsets: Pick<OffsetLookup, "get" | "commit">;
  producers: Pick<Producers, "anyChannel">;
  marks: HalfMarks;
  /** `ip:port` that clients are told. */
  brokerAddress: string;
  clock: Clock;
  log: Log;
}

/** The group whose offsets tell how far the rounds have come. Source: Apache `MixAll.CID_SYS_RMQ_TRANS`. */
const GROUP = "CID_RMQ_SYS_TRANS";
const ROUND_MAX_MS = 60_000;
const HOUR_MS = 3_600_000;
/** Marks that are read at once, between two turns of the event loop. */
const MARKS_AT_ONCE = 32;
/** Half messages that are looked at, and stored anew, at once. */
const WINDOW_COUNT = 256;

/** What is done about a half message. */
interface Step {
  offset: number;
  half: DecodedMessage;
  message: OutgoingMessage;
  kind: "ask" | "immune" | "give up";
}

/**
 * Looks through the half messages, round by round, for transactions that nobody has ended, and asks a producer of their
 * group. A half message that is asked about is first stored anew at the end of the queue, so that the place in the queue
 * can move on; who has been asked too often is given up. Control thread only.
 * Source: Apache `TransactionalMessageServiceImpl.check`, `TransactionalMessageCheckService`.
 */
export class HalfCheck {
  readonly #o: HalfCheckOptions;
  #timer: Timer | undefined;
  #round: Promise<void> | undefined;
  #isClosed = false;

  constructor(options: HalfCheckOptions) {
    this.#o = options;
  }

  /** Once, when the store is open. A place is saved on its own: after a crash its queue may be shorter, and what comes next counts. */
  load(): void {
    const { store, offsets, log } = this.#o;
    for (const topic of [HALF_TOPIC, HALF_MARK_TOPIC]) {
      const [offset, end] = [offsets.get(GROUP, topic, 0), store.appendedQueueOffset(topic, 0)];
      if (offset <= end) continue;
      log.warn({ topic, offset, end }, "the place of the checks of transactions is beyond its queue, and is set back");
      offsets.commit(GROUP, topic, 0, end);
    }
  }

  /** The next round begins one interval from now; again where the interval has changed. */
  start(): void {
    this.#timer?.cancel();
    if (this.#isClosed) return;
    const { clock, settings } = this.#o;
    const next = (): number => (this.#hasWork() ? clock.now() : Number.POSITIVE_INFINITY);
    this.#timer = clock.setTicker(() => this.#runRound(), settings.transactionCheckInterval, next);
  }

  #runRound(): Promise<void> {
    this.#round ??= this.#check()
      .catch((error: unknown) => this.#o.log.error({ error: String(error) }, "half messages could not be checked"))
      .finally(() => (this.#round = undefined));
    return this.#round;
  }

  /** Whether there are half messages or marks that no round is done with. */
  #hasWork(): boolean {
    const { store } = this.#o;
    return [HALF_TOPIC, HALF_MARK_TOPIC].some((topic) => this.#placeOf(topic) < store.maxQueueOffset(topic, 0));
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#timer?.cancel();
    await this.#round;
  }

  /** How far the rounds have come. */
  #placeOf(topic: string): number {
    const { store, offsets } = this.#o;
    return Math.max(offsets.get(GROUP, topic, 0), store.minQueueOffset(topic, 0), 0);
  }

  async #check(): Promise<void> {
    const { store, clock, log, marks } = this.#o;
    const startMs = clock.now();
    const firstHalf = this.#placeOf(HALF_TOPIC);
    const end = store.maxQueueOffset(HALF_TOPIC, 0);
    marks.forgetWritten();
    const reader = new MarkReader(store, log, this.#placeOf(HALF_MARK_TOPIC), firstHalf);
    let offset = firstHalf;
    let isOver = false;
    while (!isOver && offset < end && !this.#isClosed && clock.now() - startMs <= ROUND_MAX_MS) {
      const steps: Step[] = [];
      let next = offset;
      for (const until = Math.min(end, offset + WINDOW_COUNT); next < until; next++) {
        const step = await this.#look(next, startMs, reader);
        if (step === "stop") {
          isOver = true;
          break;
        }
        if (step !== "pass") steps.push(step);
      }
      const failed = await this.#doAll(steps);
      if (failed !== undefined) isOver = true;
      offset = failed ?? next;
      this.#moveOn(HALF_TOPIC, offset);
      await new Promise((resolve) => setImmediate(resolve));
    }
    // All the marks of what has been passed; where there is nothing to look at, older marks are done with all the same.
    reader.read(MARKS_AT_ONCE);
    this.#moveOn(HALF_MARK_TOPIC, reader.doneUntil());
  }

  #moveOn(topic: string, offset: number): void {
    const { offsets } = this.#o;
    if (offset > Math.max(0, offsets.get(GROUP, topic, 0))) offsets.commit(GROUP, topic, 0, offset);
  }

  async #look(offset: number, startMs: number, reader: MarkReader): Promise<Step | "pass" | "stop"> {
    const { store, marks, settings, clock, log } = this.#o;
    if (reader.take(offset) || marks.isEnded(offset)) return "pass";
    const entry = store.queueEntry(HALF_TOPIC, 0, offset);
    const record = entry === undefined ? undefined : store.readRecord(entry.physicalOffset);
    if (record === undefined) {
      log.error({ offset }, "a half message cannot be read, and is passed over");
      return "pass";
    }
    const half = decodeMessage(record);
    const ageMs = clock.now() - half.bornTimestamp;
    const checkTimes = integerOf(half.properties.get(PROPERTY.TRANSACTION_CHECK_TIMES));
    const isGivenUp =
      (checkTimes !== undefined && checkTimes >= settings.transactionCheckMax) || ageMs > settings.fileReservedTime * HOUR_MS;
    const ownTime = half.properties.get(PROPERTY.CHECK_IMMUNITY_TIME);
    const isYoung = ageMs >= 0 && ageMs <= immunityMs(ownTime, settings.transactionTimeOut);
    // One without a time of its own is as old as those before it: behind it there is nothing to ask about.
    if (!isGivenUp && (half.storeTimestamp >= startMs || (isYoung && ownTime === undefined))) return "stop";
    // Now something is stored: before that, no mark must be overlooked.
    while (reader.read(MARKS_AT_ONCE)) await new Promise((resolve) => setImmediate(resolve));
    const first = integerOf(half.properties.get(PROPERTY.TRANSACTION_PREPARED_OFFSET));
    if (reader.take(offset) || marks.isEnded(offset) || (first !== undefined && isYoung && reader.take(first))) return "pass";
    if (marks.isEnding(offset)) return "stop";
    if (isGivenUp) return { offset, half, message: givenUp(half), kind: "give up" };
    if (isYoung) return { offset, half, message: stillImmune(half), kind: "immune" };
    return { offset, half, message: checkedAgain(half, (checkTimes ?? 0) + 1), kind: "ask" };
  }

  /** All at once, as each may wait for the disk. @returns the offset of the first half message for which it failed */
  async #doAll(steps: readonly Step[]): Promise<number | undefined> {
    const { store, marks, log } = this.#o;
    const results = await Promise.allSettled(steps.map(({ message }) => store.append(message)));
    let failed: number | undefined;
    for (const [index, result] of results.entries()) {
      const step = steps[index]!;
      const { offset, kind } = step;
      if (result.status === "rejected") {
        log.warn({ offset, error: String(result.reason) }, "a half message cannot be stored anew now, and is looked at again");
        failed ??= offset;
      } else if (kind === "give up") this.#tellGivenUp(step);
      else if (marks.renewed(offset, result.value.queueOffset) && kind === "ask") this.#ask(step, result.value);
    }
    return failed;
  }

  #tellGivenUp({ offset, half }: Step): void {
    const { properties } = half;
    const [topic, uniqueKey] = [properties.get(PROPERTY.REAL_TOPIC), properties.get(PROPERTY.UNIQ_KEY)];
    const checkTimes = properties.get(PROPERTY.TRANSACTION_CHECK_TIMES);
    this.#o.log.error({ topic, uniqueKey, offset, checkTimes }, "nobody has decided about a half message: it is given up");
  }

  /** The answer comes as END_TRANSACTION. Where nobody of the group is there, or nobody answers, a later round asks again. */
  #ask({ half, message }: Step, at: AppendResult): void {
    const { producers, brokerAddress, settings, log } = this.#o;
    const { properties } = message;
    const group = properties.get(PROPERTY.PRODUCER_GROUP) ?? "";
    const channel = producers.anyChannel(group);
    const uniqueKey = properties.get(PROPERTY.UNIQ_KEY);
    if (channel === undefined) {
      log.warn({ group, uniqueKey }, "nobody of the producer group can be asked about a half message");
      return;
    }
    const header = {
      topic: HALF_TOPIC,
      tranStateTableOffset: at.queueOffset,
      commitLogOffset: at.physicalOffset,
      msgId: uniqueKey,
      transactionId: uniqueKey,
      offsetMsgId: offsetMessageId(brokerAddress, at.physicalOffset),
      bname: settings.brokerName,
    };
    const body = checkBody(half, message, at);
    channel.write({ ...request(RequestCode.CHECK_TRANSACTION_STATE, channel.nextOpaque(), header, body), flag: FLAG_ONEWAY });
  }
}

/** How long after its birth a half message is not asked about, ms. */
function immunityMs(ownTime: string | undefined, timeoutMs: number): number {
  const seconds = integerOf(ownTime);
  return seconds === undefined || seconds === -1 ? timeoutMs : seconds * 1000;
}

function integerOf(text: string | undefined): number | undefined {
  return text !== undefined && /^[+-]?\d{1,15}$/.test(text) ? Number(text) : undefined;
}
