import { MillraceError } from "../../base/errors.ts";
import { type EntryFilter, isTagType } from "../../filter/entry-filter.ts";
import * as fields from "../../format/remoting/header-fields.ts";
import type { HeaderScan } from "../../format/remoting/header-scan.ts";
import { ResponseCode } from "../../format/remoting/remoting-codes.ts";
import { OFFSET_PENDING_RESET, OffsetCells } from "../../format/shared/offset-cells.ts";
import { BatchConsumeQueue } from "../../store/queue/batch-consume-queue.ts";
import type { ConsumeQueue } from "../../store/queue/consume-queue.ts";
import { type QueueReader, READ_COLD, READ_ENTRY_MISSING, READ_FOUND, READ_NO_MATCH } from "../../store/queue/queue-reader.ts";
import type { QueueSlots } from "../../store/queue/queue-slots.ts";
import type { RecentRecords } from "../../store/queue/recent-records.ts";
import type { TopicSlotsTable } from "../../store/queue/topic-slots.ts";
import type { IoConnection } from "../io-connection.ts";
import type { IoGroup, IoTables, IoTopic } from "../io-tables.ts";
import type { ColdReads } from "./cold-reads.ts";
import { HeldPulls } from "./held-pulls.ts";
import type { PullResponder } from "./pull-responder.ts";
import { TagFilters } from "./tag-filters.ts";
import { touchRecords } from "./touch-records.ts";

export const PULL_TAKEN = 0;
/** Not plain: the control thread decides. */
export const PULL_UNUSUAL = 2;

/** Pull sysFlag bits. Source: Apache `PullSysFlag`. */
const FLAG_COMMIT_OFFSET = 1;
const FLAG_SUSPEND = 2;
const FLAG_SUBSCRIPTION = 4;
const FLAG_CLASS_FILTER = 8;

/** Longest wait for the queue indexer to reach an acknowledged message, ms. */
const DISPATCH_MS_MAX = 1000;
/** What was appended so lately, since the start, is in memory, bytes. */
const HOT_SIZE = 268_435_456;
/** Entries so near the end of their queue are in memory: they share a granule with it, or nearly. */
const HOT_ENTRIES = 4096;
/** A pull waits so often for the disk; where memory is so short that what was read is gone again, it then takes its time. */
const LOADS_MAX = 3;
/** Pulls that one worker holds; further ones are answered at once. */
const HELD_MAX = 200_000;

/** One pull request, while it is answered or held. */
export interface PullRequest {
  readonly connection: IoConnection;
  readonly opaque: number;
  readonly topic: IoTopic;
  readonly groupSysFlag: number;
  readonly queue: ConsumeQueue;
  readonly slot: number;
  queueOffset: number;
  readonly asked: number;
  readonly count: number;
  readonly filter: EntryFilter;
  /** Of the group's offset; -1: none yet. */
  readonly cell: number;
  /** 0 until it is held. */
  deadlineMs: number;
  /** Where it stands among the deadlines; 0: nowhere. */
  tick: number;
  tickAt: number;
  /** Of those that wait for the same slot. */
  nextHeld: PullRequest | undefined;
  previousHeld: PullRequest | undefined;
  /** How often it has waited for old records to be read from the disk. */
  loads: number;
}

export interface PullPathOptions {
  tables: IoTables;
  queues: TopicSlotsTable;
  slots: QueueSlots;
  reader: QueueReader;
  responder: PullResponder;
  /** Where this thread writes the log itself: what it has just written. */
  recent: RecentRecords | undefined;
  cells: OffsetCells;
  worker: number;
  now: () => number;
  logEnd: () => number;
  /** longPollingEnable; else a suspended pull waits shortPollingMs only. */
  isLongPolling: boolean;
  shortPollingMs: number;
  cold: ColdReads;
  /** End of the log when this process started. */
  startOffset: number;
  /** A held pull waits for the queue indexer alone, which may nap. */
  onAwaited: () => void;
  /** A pull was served outside of a turn: what is staged is to leave. */
  onServed: () => void;
  /** A commit for which no cell is known yet. */
  onCommit: (group: string, topic: string, queueId: number, offset: number) => void;
}

/**
 * Serves pulls (11, 361) from the shared tables and the files, and holds those that find nothing. One
 * instance an I/O worker. Source: Apache `PullMessageProcessor`, `PullRequestHoldService`.
 */
export class PullPath {
  readonly #o: PullPathOptions;
  readonly #held: HeldPulls;
  /** Slots that grew while a client that holds a pull there did not read. */
  readonly #starved = new Set<number>();
  readonly #tagFilters = new TagFilters();
  /** Whether the pull that is served now may wait for the disk. */
  #isChecking = false;

  constructor(options: PullPathOptions) {
    this.#o = options;
    this.#held = new HeldPulls();
    const { cold, reader } = options;
    reader.isThere = (file, position, size, physicalOffset) =>
      !this.#isChecking || this.isHot(physicalOffset) || cold.has(file, position, size);
  }

  get heldCount(): number {
    return this.#held.size;
  }

  /** @param scan the header of the frame in `bytes` */
  take(connection: IoConnection, bytes: Buffer, scan: HeaderScan): number {
    const { tables, queues, now, isLongPolling, shortPollingMs } = this.#o;
    if (!scan.has(fields.FIELD_TOPIC) || !scan.has(fields.FIELD_CONSUMER_GROUP) || scan.isEscaped(fields.FIELD_TOPIC))
      return PULL_UNUSUAL;
    if (scan.isEscaped(fields.FIELD_CONSUMER_GROUP)) return PULL_UNUSUAL;
    const topic = tables.topics.get(bytes, scan.rawStart(fields.FIELD_TOPIC), scan.rawEnd(fields.FIELD_TOPIC));
    const group = tables.groups.get(bytes, scan.rawStart(fields.FIELD_CONSUMER_GROUP), scan.rawEnd(fields.FIELD_CONSUMER_GROUP));
    if (topic === undefined || group === undefined || !topic.isReadable || !group.mayPull) return PULL_UNUSUAL;
    const queueId = scan.integer(fields.FIELD_QUEUE_ID);
    const queueOffset = scan.integer(fields.FIELD_QUEUE_OFFSET);
    const count = scan.integer(fields.FIELD_MAX_MSG_NUMS);
    const sysFlag = scan.integer(fields.FIELD_SYS_FLAG);
    const suspendMs = scan.integer(fields.FIELD_SUSPEND_TIMEOUT_MILLIS);
    const commitOffset = scan.integer(fields.FIELD_COMMIT_OFFSET);
    if (!(queueId >= 0 && queueId < topic.readQueueNums && queueId < topic.slots.length)) return PULL_UNUSUAL;
    if (Number.isNaN(queueOffset + count + sysFlag + suspendMs + commitOffset) || (sysFlag & FLAG_CLASS_FILTER) !== 0)
      return PULL_UNUSUAL;
    if (topic.compactedUpTo !== undefined && queueOffset < (topic.compactedUpTo[queueId] ?? 0)) return PULL_UNUSUAL;
    const filter = this.#filterOf(bytes, scan, sysFlag, group, topic);
    if (filter === undefined) return PULL_UNUSUAL;
    const slot = topic.slots[queueId]!;
    const cell = group.cells.get(slot);
    if (cell !== undefined && (this.#o.cells.flags(cell) & OFFSET_PENDING_RESET) !== 0) return PULL_UNUSUAL;
    if (cell !== undefined) this.#o.cells.setPullOffset(cell, queueOffset);
    if ((sysFlag & FLAG_COMMIT_OFFSET) !== 0 && commitOffset >= 0) {
      if (cell !== undefined) this.#o.cells.setOffset(cell, commitOffset);
      else this.#o.onCommit(group.group, topic.topic, queueId, commitOffset);
    }
    const request: PullRequest = {
      connection,
      opaque: scan.opaque,
      topic,
      groupSysFlag: group.groupSysFlag,
      queue: queues.queue(topic, queueId),
      slot,
      queueOffset,
      asked: queueOffset,
      count,
      filter,
      cell: cell ?? -1,
      deadlineMs: 0,
      tick: 0,
      tickAt: 0,
      nextHeld: undefined,
      previousHeld: undefined,
      loads: 0,
    };
    const maySuspend = (sysFlag & FLAG_SUSPEND) !== 0 && suspendMs > 0 && this.#held.size < HELD_MAX;
    // Acknowledged but not yet in the queue: whoever has the ack shall find the message, also without a long poll.
    const isOnItsWay = this.#o.slots.appendedOffset(slot) > queueOffset;
    if (this.#serve(request, maySuspend || isOnItsWay)) return PULL_TAKEN;
    const patienceMs = isLongPolling ? suspendMs : Math.min(suspendMs, shortPollingMs);
    request.deadlineMs = now() + (maySuspend ? patienceMs : DISPATCH_MS_MAX);
    this.#hold(request);
    return PULL_TAKEN;
  }

  #filterOf(bytes: Buffer, scan: HeaderScan, sysFlag: number, group: IoGroup, topic: IoTopic): EntryFilter | undefined {
    if ((sysFlag & FLAG_SUBSCRIPTION) !== 0) {
      const known = this.#tagFilters.find(bytes, scan);
      if (known !== undefined) return known;
      const type = scan.has(fields.FIELD_EXPRESSION_TYPE) ? scan.text(fields.FIELD_EXPRESSION_TYPE) : "";
      const text = scan.has(fields.FIELD_SUBSCRIPTION) ? scan.text(fields.FIELD_SUBSCRIPTION) : "";
      const { tables } = this.#o;
      if (isTagType(type)) return this.#tagFilters.note(bytes, scan, tables.filters.find(type, text));
      return group.mayFilter ? tables.filters.find(type, text) : undefined; // Of what is wrong the control thread answers why.
    }
    const subscription = group.subscriptions.get(topic.topic);
    return subscription !== undefined && subscription.subVersion >= scan.integer(fields.FIELD_SUB_VERSION)
      ? subscription
      : undefined;
  }

  /** @returns false if nothing is there yet and the request may wait for it */
  #serve(request: PullRequest, maySuspend: boolean): boolean {
    const { slots, reader, responder, logEnd } = this.#o;
    const { slot, queueOffset } = request;
    const min = slots.minOffset(slot);
    const indexed = slots.maxOffset(slot);
    const recent = this.#recentOf(request);
    const appended = recent === undefined ? indexed : Math.max(indexed, slots.appendedOffset(slot));
    const isRecent = queueOffset >= indexed && queueOffset < appended && recent!.find(slot, queueOffset, appended) > 0;
    const isOnItsWay = queueOffset > indexed && queueOffset < appended && !isRecent;
    const max = queueOffset > indexed || isRecent ? appended : indexed;
    if (max === 0) {
      if (queueOffset !== 0) responder.empty(request, ResponseCode.PULL_OFFSET_MOVED, "NO_MESSAGE_IN_QUEUE", 0, min, max);
      else if (maySuspend) return false;
      else responder.empty(request, ResponseCode.PULL_NOT_FOUND, "NO_MESSAGE_IN_QUEUE", 0, min, max);
      return true;
    }
    if (queueOffset < min) {
      responder.empty(request, ResponseCode.PULL_OFFSET_MOVED, "OFFSET_TOO_SMALL", min, min, max);
      return true;
    }
    if (queueOffset === max || isOnItsWay) {
      if (maySuspend) return false;
      // What was looked at and did not match while the request was held is not offered again.
      const code = request.asked === queueOffset ? ResponseCode.PULL_NOT_FOUND : ResponseCode.PULL_RETRY_IMMEDIATELY;
      responder.empty(request, code, "OFFSET_OVERFLOW_ONE", queueOffset, min, max);
      return true;
    }
    if (queueOffset > max) {
      responder.empty(request, ResponseCode.PULL_OFFSET_MOVED, "OFFSET_OVERFLOW_BADLY", max, min, max);
      return true;
    }
    const { queue, filter } = request;
    const count = Math.max(1, request.count);
    this.#isChecking = !isRecent && request.loads < LOADS_MAX;
    if (this.#isChecking && !this.#hasEntries(queue, queueOffset, Math.min(count, max - queueOffset), max)) {
      this.#awaitLoad(request, maySuspend);
      return true;
    }
    let status: number;
    try {
      status = isRecent
        ? reader.readRecent(recent!, queueOffset, count, filter, logEnd())
        : reader.read(queue, queueOffset, max, count, filter, logEnd(), slots.entryCount(slot));
    } catch (error) {
      // A file cannot be opened or read: this request fails, the others go on.
      if (!(error instanceof MillraceError)) throw error;
      responder.empty(request, ResponseCode.SYSTEM_ERROR, error.code, queueOffset, min, max);
      return true;
    }
    if (status === READ_COLD || (status === READ_FOUND && this.#isChecking && !this.#hasRecords())) {
      this.#awaitLoad(request, maySuspend);
      return true;
    }
    if (status === READ_FOUND) {
      if (request.cell >= 0) this.#o.cells.addServed(request.cell, reader.messageCount);
      if (isRecent || this.#isChecking) touchRecords(reader);
      responder.found(request, reader, min, max);
    } else if (status === READ_NO_MATCH) {
      if (request.deadlineMs > 0 && maySuspend) {
        request.queueOffset = reader.nextOffset;
        return false;
      }
      responder.empty(request, ResponseCode.PULL_RETRY_IMMEDIATELY, "NO_MATCHED_MESSAGE", reader.nextOffset, min, max);
    } else if (status === READ_ENTRY_MISSING) {
      const next = (Math.floor(queueOffset / request.queue.entriesPerFile) + 1) * request.queue.entriesPerFile;
      responder.empty(request, ResponseCode.PULL_NOT_FOUND, "OFFSET_FOUND_NULL", Math.min(next, max), min, max);
    } else {
      responder.empty(request, ResponseCode.PULL_RETRY_IMMEDIATELY, "MESSAGE_WAS_REMOVING", reader.nextOffset, min, max);
    }
    return true;
  }

  /** Whether the record was appended so lately, by this process, that it is in memory. */
  isHot(physicalOffset: number): boolean {
    return physicalOffset >= this.#o.startOffset && this.#o.logEnd() - physicalOffset <= HOT_SIZE;
  }

  /** Whether the entries can be read without waiting for the disk. */
  #hasEntries(queue: ConsumeQueue, queueOffset: number, count: number, max: number): boolean {
    const { cold } = this.#o;
    cold.begin();
    if (max - queueOffset <= HOT_ENTRIES || queue instanceof BatchConsumeQueue) return true;
    const file = queue.fileOf(queueOffset);
    if (file?.mapped === undefined) return true; // Not mapped: so few bytes are read by a call.
    const at = queue.positionInFile(queueOffset);
    return cold.has(file, at, Math.min(count * queue.entrySize, file.size - at));
  }

  /** The same of the records that the reader has picked. */
  #hasRecords(): boolean {
    const { cold, reader } = this.#o;
    if (this.isHot(reader.firstPhysicalOffset)) return true;
    cold.begin();
    let hasAll = true;
    for (let i = 0; i < reader.partCount; i++)
      hasAll = cold.has(reader.files[i]!, reader.positions[i]!, reader.sizes[i]!) && hasAll;
    return hasAll;
  }

  /** What the pull wants is being read from the disk: it is served again after that. Meanwhile all others go on. */
  #awaitLoad(request: PullRequest, maySuspend: boolean): void {
    const again: PullRequest = { ...request, tick: 0, nextHeld: undefined, previousHeld: undefined, loads: request.loads + 1 };
    this.#o.cold.whenLoaded(() => {
      if (again.connection.isClosed) return;
      const { isChoked } = again.connection;
      if (isChoked || !this.#serve(again, maySuspend)) {
        again.deadlineMs ||= this.#o.now() + DISPATCH_MS_MAX;
        if (!isChoked) this.#hold(again);
        else {
          this.#held.add(again);
          this.#starved.add(again.slot);
        }
      }
      this.#o.onServed();
    });
  }

  /** Queues of whole batches are read by their own entries only. */
  #recentOf(request: PullRequest): RecentRecords | undefined {
    return request.queue instanceof BatchConsumeQueue ? undefined : this.#o.recent;
  }

  #answerNothing(request: PullRequest): void {
    const { slots, responder } = this.#o;
    const { slot, queueOffset } = request;
    responder.empty(
      request,
      ResponseCode.PULL_NOT_FOUND,
      "OFFSET_OVERFLOW_ONE",
      queueOffset,
      slots.minOffset(slot),
      slots.maxOffset(slot),
    );
  }

  #hold(request: PullRequest): void {
    const { slots, worker } = this.#o;
    this.#held.add(request);
    const recent = this.#recentOf(request);
    if (recent !== undefined && slots.appendedOffset(request.slot) <= request.queueOffset) {
      recent.watch(request.slot); // We shall append the next record ourselves.
      return;
    }
    slots.setWaiting(request.slot, worker);
    // It may have come between the look and the bit: look again, or nobody will wake us.
    if (slots.maxOffset(request.slot) > request.queueOffset) this.wake(request.slot);
    else if (slots.appendedOffset(request.slot) > request.queueOffset) this.#o.onAwaited();
  }

  /** The queue has grown: serves what is held there. */
  wake(slot: number): void {
    let next = this.#held.takeSlot(slot);
    while (next !== undefined) {
      const request = next;
      next = request.nextHeld;
      request.nextHeld = undefined;
      if (request.connection.isChoked) {
        this.#held.add(request);
        this.#starved.add(slot);
      } else if (request.connection.isClosed || this.#serve(request, true)) this.#held.settle(request);
      else this.#hold(request);
    }
  }

  /** The log was written in this thread: serves what waits for just that. */
  wakeRecent(): void {
    this.#o.recent?.takeGrown(this.#wakeSlot);
  }

  readonly #wakeSlot = (slot: number): void => this.wake(slot);

  /** Some client reads again: serves what was kept from it. */
  wakeStarved(): void {
    if (this.#starved.size === 0) return;
    const slots = [...this.#starved];
    this.#starved.clear();
    for (const slot of slots) this.wake(slot);
  }

  /** Some wake-ups were dropped: looks at everything that is held. */
  wakeAll(): void {
    for (const slot of this.#held.slotsHeld()) this.wake(slot);
  }

  /** Answers requests whose time is over. */
  expire(): void {
    this.#held.takeExpired(this.#o.now(), (request) => {
      if (request.connection.isClosed) return;
      if (request.connection.isChoked) this.#answerNothing(request);
      else this.#serve(request, false);
    });
  }
}
