import type { Clock, Timer } from "../../base/clock.ts";
import { decodeMessage } from "../../format/record/message.ts";
import { PROPERTY } from "../../format/record/properties.ts";
import type { Log } from "../../observe/log.ts";
import type { MessageStore } from "../message-store.ts";
import { HALF_MARK_TOPIC } from "../topics/system-topics.ts";

export interface HalfMarksOptions {
  store: MessageStore;
  /** Names as in the configuration. */
  settings: { transactionOpMsgMaxSize: number; transactionOpBatchInterval: number };
  /** `ip:port` of the broker, which is the sender of the marks. */
  brokerAddress: string;
  clock: Clock;
  log: Log;
}

const MARK_TAG = "d";
const SEPARATOR = ",";
/** Half messages that were stored anew, of which the newer offset is known. */
const RENEWALS_MAX = 65_536;

/**
 * Marks half messages as ended: a mark is a message in the op topic, whose body lists their queueOffsets. Marks are
 * gathered for a while, so that a commit costs one record and not two; until they are written only the memory knows of
 * them. After a crash in between, the producer is asked again. Control thread only.
 * Source: Apache `TransactionalMessageServiceImpl.deletePrepareMessage`, `TransactionalOpBatchService`.
 */
export class HalfMarks {
  readonly #o: HalfMarksOptions;
  /** Not written yet. */
  #waiting: number[] = [];
  #waitingSize = 0;
  #timer: Timer | undefined;
  #writing: Promise<void> = Promise.resolve();
  /** Offsets whose mark cannot be read from the queue yet. */
  readonly #ended = new Set<number>();
  /** Written, but perhaps not indexed yet. */
  #written: { offsets: readonly number[]; markOffset: number }[] = [];
  /** How many decisions about the half message are being stored. */
  readonly #ending = new Map<number, number>();
  /** The newer copy of a half message, by its offset: who decides about the older decides about both. */
  readonly #renewals = new Map<number, number>();
  /** Copies that ended with an older one. */
  readonly #inherited = new Set<number>();

  constructor(options: HalfMarksOptions) {
    this.#o = options;
  }

  /** The decision about the half message is being stored; `end` it afterwards, whatever comes of it. */
  begin(halfOffset: number): void {
    this.#ending.set(halfOffset, (this.#ending.get(halfOffset) ?? 0) + 1);
  }

  end(halfOffset: number, isEnded: boolean): void {
    const count = (this.#ending.get(halfOffset) ?? 1) - 1;
    if (count === 0) this.#ending.delete(halfOffset);
    else this.#ending.set(halfOffset, count);
    if (!isEnded) return;
    this.#add(halfOffset);
    for (let at = this.#renewals.get(halfOffset); at !== undefined; at = this.#renewals.get(at)) this.#inherit(at);
  }

  isEnding(halfOffset: number): boolean {
    return this.#ending.has(halfOffset);
  }

  /** Has it ended, and its mark may not be found in the queue yet? */
  isEnded(halfOffset: number): boolean {
    return this.#ended.has(halfOffset);
  }

  /** Has it ended with an older copy? Producers answer each question, also those that were under way at the first answer. */
  isInherited(halfOffset: number): boolean {
    return this.#inherited.has(halfOffset);
  }

  #inherit(halfOffset: number): void {
    if (!this.#inherited.has(halfOffset)) this.#add(halfOffset);
    this.#inherited.add(halfOffset);
    if (this.#inherited.size > RENEWALS_MAX) this.#inherited.delete(this.#inherited.keys().next().value!);
  }

  /** The half message stands in its queue anew. @returns false: it has ended meanwhile, and so has the copy */
  renewed(from: number, to: number): boolean {
    if (this.#ended.has(from)) {
      this.#inherit(to);
      return false;
    }
    this.#renewals.set(from, to);
    if (this.#renewals.size > RENEWALS_MAX) this.#renewals.delete(this.#renewals.keys().next().value!);
    return true;
  }

  #add(halfOffset: number): void {
    const { settings, clock } = this.#o;
    this.#ended.add(halfOffset);
    this.#waiting.push(halfOffset);
    this.#waitingSize += String(halfOffset).length + SEPARATOR.length;
    if (this.#waitingSize > settings.transactionOpMsgMaxSize) void this.write();
    else this.#timer ??= clock.setTimer(() => this.write(), settings.transactionOpBatchInterval);
  }

  /** Forgets those whose mark is in its queue for everybody to read. */
  forgetWritten(): void {
    const end = this.#o.store.maxQueueOffset(HALF_MARK_TOPIC, 0);
    this.#written = this.#written.filter(({ offsets, markOffset }) => {
      if (markOffset >= end) return true;
      for (const offset of offsets) this.#ended.delete(offset);
      return false;
    });
  }

  /** Writes what waits. Never rejects: what cannot be written now waits on. */
  write(): Promise<void> {
    this.#timer?.cancel();
    this.#timer = undefined;
    const offsets = this.#waiting;
    this.#waiting = [];
    this.#waitingSize = 0;
    const { transactionOpMsgMaxSize } = this.#o.settings;
    const batches: Promise<void>[] = [];
    for (let from = 0; from < offsets.length; ) {
      let body = "";
      const first = from;
      do body += `${offsets[from++]}${SEPARATOR}`;
      while (from < offsets.length && body.length < transactionOpMsgMaxSize);
      batches.push(this.#writeBatch(offsets.slice(first, from), body));
    }
    this.forgetWritten();
    this.#writing = Promise.all([this.#writing, ...batches]).then(() => {});
    return this.#writing;
  }

  async #writeBatch(offsets: readonly number[], body: string): Promise<void> {
    const { store, settings, brokerAddress, clock, log } = this.#o;
    try {
      const { queueOffset } = await store.append({
        topic: HALF_MARK_TOPIC,
        queueId: 0,
        flag: 0,
        sysFlag: 0,
        bornTimestamp: clock.now(),
        bornHost: brokerAddress,
        reconsumeTimes: 0,
        preparedTransactionOffset: 0,
        properties: new Map([
          [PROPERTY.TAGS, MARK_TAG],
          [PROPERTY.WAIT, "true"],
        ]),
        body: Buffer.from(body),
      });
      this.#written.push({ offsets, markOffset: queueOffset });
    } catch (error) {
      log.warn({ count: offsets.length, error: String(error) }, "marks of ended transactions cannot be written now, and wait");
      this.#waiting.push(...offsets);
      this.#waitingSize += body.length;
      this.#timer ??= clock.setTimer(() => this.write(), Math.max(1000, settings.transactionOpBatchInterval));
    }
  }

  /** Writes what waits, once more; what fails now is lost, and its producer will be asked. */
  async close(): Promise<void> {
    await this.write();
    this.#timer?.cancel();
  }
}

/**
 * The marks from one place of their queue on, for one round of checks. It tells which of them are done with: those all
 * of whose half messages have been passed.
 * Source: Apache `TransactionalMessageServiceImpl.fillOpRemoveMap`, `calculateOpOffset`.
 */
export class MarkReader {
  readonly #store: MessageStore;
  readonly #log: Log;
  /** Mark by the half message's offset. */
  readonly #marks = new Map<number, number>();
  /** Half messages of each mark that have not been passed; 0: done with. */
  readonly #open = new Map<number, number>();
  /** Half messages before it have been passed in an earlier round. */
  readonly #firstHalf: number;
  #next: number;
  #firstOpen: number;

  constructor(store: MessageStore, log: Log, firstMark: number, firstHalf: number) {
    this.#store = store;
    this.#log = log;
    this.#firstHalf = firstHalf;
    this.#next = firstMark;
    this.#firstOpen = firstMark;
  }

  /** Has the half message ended? It counts as passed then. */
  take(halfOffset: number): boolean {
    const mark = this.#marks.get(halfOffset);
    if (mark === undefined) return false;
    this.#marks.delete(halfOffset);
    this.#open.set(mark, (this.#open.get(mark) ?? 1) - 1);
    return true;
  }

  /** Reads up to `count` further marks. @returns are there more? */
  read(count: number): boolean {
    const end = this.#store.maxQueueOffset(HALF_MARK_TOPIC, 0);
    const until = Math.min(end, this.#next + count);
    for (; this.#next < until; this.#next++) this.#readOne(this.#next);
    return this.#next < end;
  }

  #readOne(markOffset: number): void {
    const entry = this.#store.queueEntry(HALF_MARK_TOPIC, 0, markOffset);
    const record = entry === undefined ? undefined : this.#store.readRecord(entry.physicalOffset);
    let open = 0;
    if (record === undefined)
      this.#log.error({ offset: markOffset }, "marks of ended transactions cannot be read, and are passed over");
    else {
      for (const halfOffset of markedIn(record)) {
        if (halfOffset < this.#firstHalf || this.#marks.has(halfOffset)) continue;
        this.#marks.set(halfOffset, markOffset);
        open++;
      }
    }
    this.#open.set(markOffset, open);
  }

  /** One past the last of the marks from the start on that nobody needs any more. */
  doneUntil(): number {
    while (this.#open.get(this.#firstOpen) === 0) this.#open.delete(this.#firstOpen++);
    return this.#firstOpen;
  }
}

function markedIn(record: Buffer): number[] {
  const { body, properties } = decodeMessage(record);
  if (properties.get(PROPERTY.TAGS) !== MARK_TAG) return [];
  const texts = body.toString("latin1").split(SEPARATOR);
  return texts.filter((text) => /^\d{1,16}$/.test(text)).map(Number);
}
