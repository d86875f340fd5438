import type { Clock } from "../../base/clock.ts";
import { RestingTicker } from "../../base/resting-ticker.ts";
import { decodeMessage } from "../../format/record/message.ts";
import {
  ACK_TAG,
  type AckRecord,
  BATCH_ACK_TAG,
  CHECK_POINT_TAG,
  type CheckPointRecord,
  checkPointKey,
  decodeAck,
  decodeCheckPoint,
  encodeAck,
  encodeCheckPoint,
  REVIVE_GROUP,
} from "../../format/record/pop-records.ts";
import { PROPERTY } from "../../format/record/properties.ts";
import type { Log } from "../../observe/log.ts";
import type { OffsetLookup, TopicLookup } from "../contracts.ts";
import type { MessageStore, OutgoingMessage } from "../message-store.ts";
import { DueTicks } from "./due-ticks.ts";

export interface CheckPointsOptions {
  store: MessageStore;
  topics: TopicLookup;
  offsets: OffsetLookup;
  /** The revive topic. */
  topic: string;
  /** `ip:port` of the broker. */
  storeHost: string;
  clock: Clock;
  log: Log;
  /** Its time is over, and not all of its messages are acknowledged. */
  onDue: (point: CheckPoint) => void;
  /** Resolves once all that was due so far has come back, or could not; undefined: it has. */
  onIdle: () => Promise<void> | undefined;
  /** Found in the log at the start, newer than the saved offsets: the group has popped these messages. */
  onFound: (point: CheckPointRecord) => void;
  /** So many of a queue's messages are not invisible any more. */
  onSettled: (topic: string, group: string, queueId: number, count: number) => void;
}

/** Messages of one queue that were popped together, while at least one of them is not acknowledged. */
export interface CheckPoint extends CheckPointRecord {
  readonly key: string;
  readonly reviveQueueId: number;
  /** queueOffset of its newest record in the revive topic. */
  reviveOffset: number;
  /** Address of the consumer that popped them; unknown after a start. */
  holder: string | undefined;
  isDone: boolean;
  isMoving: boolean;
}

interface ReviveQueue {
  queueId: number;
  /** queueOffset of the next record that we have not seen. */
  next: number;
  /** queueOffsets of our own records from `next` on. */
  own: Set<number>;
  /** Records being stored. */
  pending: number;
  /** In the order of the queue; one whose point is done or has moved on means nothing. */
  places: { offset: number; point: CheckPoint }[];
  head: number;
}

/** More would cost too much memory: pops are refused. */
export const CHECK_POINTS_MAX = 1_000_000;
const TICK_MS = 100;
/** While nothing is popped. */
const IDLE_TICK_MS = 500;
/** A check point so far behind the end of its queue is written again at the end, so that the next start reads little. */
const DISTANCE_MAX = 20_000;
/** What RocketMQ's timer delivers comes late: acknowledgements a second after their check point. */
const TIMER_GRACE_MS = 3000;
const TIMER_OUT_MS = "TIMER_OUT_MS";
const LOG_EVERY = 100_000;

/**
 * What is popped and invisible. The truth is in the revive topic, where a pop stores a check point before its messages
 * go out, and an acknowledgement is stored before it is answered; here is the part of it that is not settled, so that
 * nothing has to be read back. The offset of REVIVE_GROUP stands before the oldest unsettled check point: a start reads
 * from there. Control thread only.
 *
 * RocketMQ brings these records to the topic by its timer, at the time when they matter; we store them there at once.
 * Source: Apache `PopReviveService.consumeReviveMessage`, `PopBufferMergeService`, `AckMessageProcessor.appendAck`.
 */
export class CheckPoints {
  readonly #o: CheckPointsOptions;
  readonly #points = new Map<string, CheckPoint>();
  readonly #due = new DueTicks<CheckPoint>(TICK_MS);
  readonly #queues: ReviveQueue[] = [];
  #ticker: RestingTicker | undefined;

  constructor(options: CheckPointsOptions) {
    this.#o = options;
  }

  get size(): number {
    return this.#points.size;
  }

  /**
   * Reads what is not settled. Once, when topics and offsets are there.
   * @param offsetsSavedMs when the offsets were saved that the groups go on from
   */
  load(offsetsSavedMs: number): void {
    const { store, topics, offsets, topic, log, clock } = this.#o;
    const queueNums = topics.get(topic)?.readQueueNums ?? 0;
    for (let queueId = 0; queueId < queueNums; queueId++) {
      const from = Math.max(offsets.get(REVIVE_GROUP, topic, queueId) + 1, store.minQueueOffset(topic, queueId));
      const queue: ReviveQueue = { queueId, next: from, own: new Set(), pending: 0, places: [], head: 0 };
      this.#queues.push(queue);
      this.#catchUp(queue, store.maxQueueOffset(topic, queueId), offsetsSavedMs);
      this.#advance(queue);
    }
    if (this.#points.size > 0) log.info({ checkPoints: this.#points.size }, "popped messages wait for their acknowledgement");
    this.#ticker = new RestingTicker(
      clock,
      () => {
        this.#tick();
        return this.#o.onIdle(); // A virtual clock waits for it.
      },
      TICK_MS,
      IDLE_TICK_MS,
      () => this.#nextMs(),
    );
  }

  /** When there may be something to do, ms: while nothing is popped and no records are to be read, never. */
  #nextMs(): number {
    const { store, topic } = this.#o;
    const hasMore = ({ queueId, next }: ReviveQueue): boolean => store.maxQueueOffset(topic, queueId) > next;
    return this.#points.size > 0 || this.#queues.some(hasMore) ? 0 : Number.POSITIVE_INFINITY;
  }

  #tick(): void {
    for (const point of this.#due.takeDue(this.#o.clock.now())) if (!point.isDone) this.#o.onDue(point);
    for (const queue of this.#queues) {
      const end = this.#o.store.maxQueueOffset(this.#o.topic, queue.queueId);
      if (queue.pending === 0 && end > queue.next) this.#catchUp(queue, end, Number.POSITIVE_INFINITY);
    }
    this.#ticker?.setBusy(this.#nextMs() === 0);
  }

  /** Reads records that are not ours: those of the time before the start, and what a timer has brought. */
  #catchUp(queue: ReviveQueue, end: number, offsetsSavedMs: number): void {
    const { store, topic, log } = this.#o;
    for (; queue.next < end; queue.next++) {
      if (queue.own.delete(queue.next)) continue;
      if (queue.next % LOG_EVERY === LOG_EVERY - 1)
        log.info({ queueId: queue.queueId, at: queue.next, end }, "check points are read");
      const entry = store.queueEntry(topic, queue.queueId, queue.next);
      const record = entry === undefined ? undefined : store.readRecord(entry.physicalOffset);
      if (record === undefined) continue;
      const { properties, body } = decodeMessage(record);
      const tag = properties.get(PROPERTY.TAGS);
      if (tag === CHECK_POINT_TAG) {
        const point = decodeCheckPoint(body);
        if (point === undefined) {
          log.warn({ topic, queueId: queue.queueId, queueOffset: queue.next }, "this is no check point: passed over");
          continue;
        }
        if (point.popTime > offsetsSavedMs) this.#o.onFound(point);
        this.#enter(point, queue, queue.next, properties.has(TIMER_OUT_MS) ? TIMER_GRACE_MS : 0);
      } else if (tag === ACK_TAG || tag === BATCH_ACK_TAG) {
        const ack = decodeAck(body, tag === BATCH_ACK_TAG);
        const point = ack === undefined ? undefined : this.#points.get(checkPointKey(ack));
        if (point === undefined || ack === undefined) continue;
        point.bitMap |= bitsOf(point, ack.offsets);
        this.settleIfDone(point);
      }
    }
  }

  #enter(record: CheckPointRecord, queue: ReviveQueue, reviveOffset: number, graceMs: number, holder?: string): CheckPoint {
    const key = checkPointKey(record);
    const known = this.#points.get(key);
    if (known !== undefined) {
      // Written again at the end of the queue, with what was acknowledged until then.
      known.bitMap |= record.bitMap;
      known.reviveOffset = reviveOffset;
      queue.places.push({ offset: reviveOffset, point: known });
      return known;
    }
    const point: CheckPoint = {
      ...record,
      key,
      reviveQueueId: queue.queueId,
      reviveOffset,
      holder,
      isDone: false,
      isMoving: false,
    };
    this.#points.set(key, point);
    this.#ticker?.setBusy(true);
    queue.places.push({ offset: reviveOffset, point });
    this.#due.add(point.popTime + point.invisibleTime + graceMs, point);
    this.settleIfDone(point);
    return point;
  }

  /** The popTime, from `nowMs` on, with which the check point is told from all others. */
  freeTime(record: Omit<CheckPointRecord, "popTime">, nowMs: number): number {
    let popTime = nowMs;
    while (this.#points.has(checkPointKey({ ...record, popTime }))) popTime++;
    return popTime;
  }

  /** Stores the check point; from then on its messages come back unless they are acknowledged. @throws MillraceError as `append` */
  async add(record: CheckPointRecord, reviveQueueId: number, holder?: string): Promise<CheckPoint> {
    const queue = this.#queueOf(reviveQueueId);
    const due = record.popTime + record.invisibleTime;
    const offset = await this.#store(queue, CHECK_POINT_TAG, encodeCheckPoint(record), due - 1000, `${checkPointKey(record)}@ck`);
    return this.#enter(record, queue, offset, 0, holder);
  }

  /**
   * Stores the acknowledgement of messages. One that is known already, or comes too late, changes nothing.
   * @throws MillraceError as `append`: then they may come back
   */
  async acknowledge(ack: AckRecord, invisibleTime: number, reviveQueueId: number): Promise<void> {
    const point = this.#points.get(checkPointKey(ack));
    const isOver = ack.popTime + invisibleTime < this.#o.clock.now();
    if (point === undefined && isOver) return;
    const bits = point === undefined ? 0 : bitsOf(point, ack.offsets) & ~point.bitMap;
    if (point !== undefined && bits === 0) return;
    if (point !== undefined) point.bitMap |= bits; // At once: it must not come back while this is being stored.
    try {
      await this.#storeAck(ack, invisibleTime, reviveQueueId);
    } catch (error) {
      if (point !== undefined) point.bitMap &= ~bits;
      throw error;
    }
    if (point === undefined) return;
    this.#o.onSettled(point.topic, point.group, point.queueId, countOf(bits));
    this.settleIfDone(point);
  }

  /** The messages have been put where they are found again. Where this cannot be stored they come twice after a crash. */
  async revived(point: CheckPoint, offsets: readonly number[]): Promise<void> {
    const { topic, group, queueId, startOffset, popTime, brokerName } = point;
    const ack: AckRecord = { topic, group, queueId, startOffset, popTime, brokerName, offsets };
    point.bitMap |= bitsOf(point, offsets);
    try {
      await this.#storeAck(ack, point.invisibleTime, point.reviveQueueId);
    } catch (error) {
      this.#o.log.warn({ topic, group, queueId, error: String(error) }, "that messages came back could not be stored");
    }
    this.#o.onSettled(topic, group, queueId, offsets.length);
    this.settleIfDone(point);
  }

  /** Looks at it again later. */
  postpone(point: CheckPoint, delayMs: number): void {
    this.#due.add(this.#o.clock.now() + delayMs, point);
  }

  /** The newest unsettled check point that the message was popped with. Looks at all of them. */
  newestOf(
    topic: string,
    group: string,
    queueId: number,
    queueOffset: number,
  ): { point: CheckPoint; isAcked: boolean } | undefined {
    let newest: { point: CheckPoint; isAcked: boolean } | undefined;
    for (const point of this.#points.values()) {
      if (point.queueId !== queueId || point.topic !== topic || point.group !== group) continue;
      const index = point.distances.indexOf(queueOffset - point.startOffset);
      if (index < 0 || (newest !== undefined && newest.point.popTime > point.popTime)) continue;
      newest = { point, isAcked: this.isAcknowledged(point, index) };
    }
    return newest;
  }

  isAcknowledged(point: CheckPoint, index: number): boolean {
    return (point.bitMap & (1 << index)) !== 0;
  }

  settleIfDone(point: CheckPoint): void {
    const all = point.distances.length === 32 ? -1 : (1 << point.distances.length) - 1;
    if (point.isDone || (point.bitMap & all) !== all) return;
    point.isDone = true;
    this.#points.delete(point.key);
    this.#advance(this.#queueOf(point.reviveQueueId));
  }

  #queueOf(reviveQueueId: number): ReviveQueue {
    return this.#queues[reviveQueueId] ?? this.#queues[0]!;
  }

  /** Is it a queue of the revive topic? */
  hasQueue(reviveQueueId: number): boolean {
    return this.#queues[reviveQueueId] !== undefined;
  }

  get queueCount(): number {
    return this.#queues.length;
  }

  #storeAck(ack: AckRecord, invisibleTime: number, reviveQueueId: number): Promise<number> {
    const isBatch = ack.offsets.length > 1;
    const tag = isBatch ? BATCH_ACK_TAG : ACK_TAG;
    const key = `${checkPointKey(ack)}@${ack.offsets[0]}@${tag}`;
    return this.#store(this.#queueOf(reviveQueueId), tag, encodeAck(ack), ack.popTime + invisibleTime, key);
  }

  /** @returns queueOffset */
  async #store(queue: ReviveQueue, tag: string, body: Buffer, deliverMs: number, uniqueKey: string): Promise<number> {
    const { store, topic, storeHost, clock } = this.#o;
    const message: OutgoingMessage = {
      topic,
      queueId: queue.queueId,
      flag: 0,
      sysFlag: 0,
      bornTimestamp: clock.now(),
      bornHost: storeHost,
      reconsumeTimes: 0,
      preparedTransactionOffset: 0,
      properties: new Map([
        [PROPERTY.UNIQ_KEY, uniqueKey],
        [PROPERTY.TAGS, tag],
        [PROPERTY.TIMER_DELIVER_MS, String(deliverMs)],
      ]),
      body,
    };
    queue.pending++;
    try {
      const { queueOffset } = await store.append(message);
      queue.own.add(queueOffset);
      while (queue.own.delete(queue.next)) queue.next++; // What else stands there, of a timer, is read by and by.
      return queueOffset;
    } finally {
      queue.pending--;
    }
  }

  /** Moves the place where a start begins to read up to the oldest check point that is not settled. */
  #advance(queue: ReviveQueue): void {
    const { offsets, topic, log } = this.#o;
    const { places } = queue;
    let first = places[queue.head];
    while (first !== undefined && (first.point.isDone || first.point.reviveOffset !== first.offset)) first = places[++queue.head];
    if (queue.head > 1024 && queue.head * 2 > places.length) {
      places.splice(0, queue.head);
      queue.head = 0;
    }
    const settled = (first === undefined ? queue.next : first.offset) - 1;
    if (settled > offsets.get(REVIVE_GROUP, topic, queue.queueId)) offsets.commit(REVIVE_GROUP, topic, queue.queueId, settled);
    if (first === undefined || queue.next - first.offset < DISTANCE_MAX || first.point.isMoving) return;
    const { point } = first;
    point.isMoving = true;
    this.add(point, queue.queueId)
      .catch((error: unknown) => log.warn({ topic, error: String(error) }, "a check point could not be written again"))
      .finally(() => {
        point.isMoving = false;
        this.#advance(queue);
      });
  }

  close(): void {
    this.#ticker?.cancel();
  }
}

/** Bits of those of the messages that are the check point's. */
function bitsOf(point: CheckPointRecord, offsets: readonly number[]): number {
  let bits = 0;
  for (const offset of offsets) {
    const index = point.distances.indexOf(offset - point.startOffset);
    if (index >= 0) bits |= 1 << index;
  }
  return bits;
}

function countOf(bits: number): number {
  let count = 0;
  for (let rest = bits; rest !== 0; rest &= rest - 1) count++;
  return count;
}
