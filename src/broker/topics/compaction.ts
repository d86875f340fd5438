import type { Clock, Timer } from "../../base/clock.ts";
import { requiredInteger, requiredText } from "../../format/remoting/command-fields.ts";
import { ResponseCode } from "../../format/remoting/remoting-codes.ts";
import { type RemotingCommand, response } from "../../format/remoting/remoting-command.ts";
import type { TopicConfig } from "../../format/topic-config.ts";
import type { Log } from "../../observe/log.ts";
import type { CompactResult } from "../../store/queue/compact-queue.ts";
import type { CompactedQueue } from "../../store/queue/compacted-queue.ts";
import type { GroupLookup, TopicLookup } from "../contracts.ts";
import type { MessageStore } from "../message-store.ts";

/** The compacted files, as the runtime keeps them. */
export interface CompactionFiles {
  /** The newest whole file of the queue. */
  open(topic: string, queueId: number): CompactedQueue | undefined;
  /** Writes the next one, in another thread. @param previous the present one's path */
  compact(topic: string, queueId: number, previous: string | undefined, from: number, upTo: number): Promise<CompactResult>;
  /** Removes all other files of the queue, but sets aside what is damaged. @param damaged one that is known to be */
  keepOnly(topic: string, queueId: number, file: string, damaged: string | undefined): void;
  remove(topic: string): void;
}

export interface CompactionOptions {
  topics: TopicLookup;
  groups: GroupLookup;
  store: MessageStore;
  files: CompactionFiles;
  clock: Clock;
  log: Log;
  /** compactionScheduleInternal, ms. */
  intervalMs: number;
  sizeMax: number;
  countMax: number;
  /** The boundary of one of the topic's queues has moved. */
  onCompacted: (topic: string) => void;
}

/** A queue is compacted when it has so many new messages for each one that was kept: less would rewrite much for little. */
const NEW_RATIO_MIN = 0.25;

/** Does the topic keep the last message of each key for ever? */
export function isCompacted(topic: Pick<TopicConfig, "attributes"> | undefined): boolean {
  return topic?.attributes["cleanup.policy"] === "COMPACTION";
}

/**
 * Topics with cleanup.policy=COMPACTION. From time to time each of their queues is compacted up to its end: of all
 * messages below that boundary the last of each key is kept, at its queueOffset, in a file beside the log. Pulls below
 * the boundary are served from there, those above it from the queue as ever. Control thread only.
 * Source: Apache `CompactionService`, `CompactionStore`.
 */
export class Compaction {
  readonly #o: CompactionOptions;
  readonly #queues = new Map<string, Map<number, CompactedQueue>>();
  /** Of which a damaged message has been told. */
  readonly #told = new WeakSet<CompactedQueue>();
  #timer: Timer | undefined;
  #running: Promise<void> | undefined;
  #isClosed = false;

  constructor(options: CompactionOptions) {
    this.#o = options;
  }

  /** Once, when topics and store are there. */
  start(): void {
    for (const topic of this.#o.topics.all()) {
      if (!isCompacted(topic)) continue;
      for (let queueId = 0; queueId < topic.readQueueNums; queueId++) {
        const queue = this.#o.files.open(topic.topicName, queueId);
        if (queue !== undefined) this.#put(topic.topicName, queueId, queue);
      }
      this.#o.onCompacted(topic.topicName);
    }
    this.#timer = this.#o.clock.setTicker(() => this.compactAll(), this.#o.intervalMs, "once");
  }

  #put(topic: string, queueId: number, queue: CompactedQueue): void {
    const queues = this.#queues.get(topic) ?? new Map<number, CompactedQueue>();
    queues.get(queueId)?.close();
    queues.set(queueId, queue);
    this.#queues.set(topic, queues);
  }

  /** By queueId: below which queueOffset pulls are ours. undefined: the topic has nothing compacted. */
  bounds(topic: string): number[] | undefined {
    const queues = this.#queues.get(topic);
    if (queues === undefined) return undefined;
    const bounds = new Array<number>(Math.max(...queues.keys()) + 1).fill(0);
    for (const [queueId, { header }] of queues) bounds[queueId] = header.upTo;
    return bounds;
  }

  /** queueOffset of the first message that is kept; undefined: none is, or nothing was compacted. */
  firstOffset(topic: string, queueId: number): number | undefined {
    const queue = this.#queues.get(topic)?.get(queueId);
    return queue === undefined || queue.header.count === 0 ? undefined : queue.entry(0).queueOffset;
  }

  /**
   * Compacts what stands below the offset of the log, which is about to go.
   * @returns false: not all of it could be
   */
  async saveBelow(minPhysicalOffset: number): Promise<boolean> {
    if (this.#timer === undefined || this.#isSafeBelow(minPhysicalOffset)) return true;
    await this.compactAll(true);
    return this.#isSafeBelow(minPhysicalOffset);
  }

  #isSafeBelow(minPhysicalOffset: number): boolean {
    const { topics, store } = this.#o;
    for (const topic of topics.all()) {
      if (!isCompacted(topic)) continue;
      for (let queueId = 0; queueId < topic.readQueueNums; queueId++) {
        const upTo = this.#upTo(topic.topicName, queueId);
        if (upTo >= store.maxQueueOffset(topic.topicName, queueId)) continue;
        const entry = store.queueEntry(topic.topicName, queueId, upTo);
        if (entry === undefined || entry.physicalOffset < minPhysicalOffset) return false;
      }
    }
    return true;
  }

  #upTo(topic: string, queueId: number): number {
    return this.#queues.get(topic)?.get(queueId)?.header.upTo ?? 0;
  }

  /**
   * Compacts what is worth it, one queue after the other.
   * @param isForced also queues with few new messages
   */
  async compactAll(isForced = false): Promise<void> {
    if (this.#running !== undefined) {
      await this.#running;
      if (!isForced) return;
    }
    this.#running = this.#compactAll(isForced).finally(() => {
      this.#running = undefined;
    });
    await this.#running;
  }

  async #compactAll(isForced: boolean): Promise<void> {
    for (const topic of this.#o.topics.all()) {
      if (!isCompacted(topic)) continue;
      for (let queueId = 0; queueId < topic.readQueueNums && !this.#isClosed; queueId++) {
        await this.#compact(topic.topicName, queueId, isForced);
      }
    }
  }

  async #compact(topic: string, queueId: number, isForced: boolean): Promise<void> {
    const { store, files, log } = this.#o;
    const present = this.#queues.get(topic)?.get(queueId);
    const from = this.#upTo(topic, queueId);
    const upTo = store.maxQueueOffset(topic, queueId);
    const added = upTo - from;
    if (added <= 0 || (!isForced && added < NEW_RATIO_MIN * (present?.header.count ?? 0))) return;
    try {
      const { kept, damaged } = await files.compact(topic, queueId, present?.path, from, upTo);
      if (this.#isClosed || !isCompacted(this.#o.topics.get(topic))) return;
      const queue = files.open(topic, queueId);
      if (queue?.header.upTo !== upTo) {
        queue?.close();
        throw new Error("the new file cannot be read");
      }
      this.#put(topic, queueId, queue);
      this.#o.onCompacted(topic);
      if (damaged > 0)
        log.error({ topic, queueId, damaged, file: present?.path }, "compacted messages are damaged; their file is set aside");
      files.keepOnly(topic, queueId, queue.path, damaged > 0 ? present?.path : undefined);
      log.info({ topic, queueId, from, upTo, kept }, "queue compacted");
    } catch (error) {
      log.error({ topic, queueId, error: String(error) }, "a queue could not be compacted");
    }
  }

  /** Answers a pull that has passed all checks, where its offset is below the boundary. */
  serve(command: RemotingCommand): RemotingCommand | undefined {
    const topic = requiredText(command, "topic");
    const queueId = requiredInteger(command, "queueId");
    const queueOffset = requiredInteger(command, "queueOffset");
    const queue = this.#queues.get(topic)?.get(queueId);
    if (queue === undefined || queueOffset < 0 || queueOffset >= queue.header.upTo) return undefined;
    const { store, groups, topics, sizeMax, countMax } = this.#o;
    const wanted = Math.min(Math.max(1, requiredInteger(command, "maxMsgNums")), countMax);
    const records: Buffer[] = [];
    let size = 0;
    let next = queue.header.upTo;
    for (let i = queue.find(queueOffset); i < queue.header.count; i++) {
      const entry = queue.entry(i);
      if (records.length >= wanted || (records.length > 0 && size + entry.size > sizeMax)) {
        next = entry.queueOffset;
        break;
      }
      const record = queue.record(entry);
      if (record === undefined) {
        this.#tellDamaged(topic, queueId, queue, entry.queueOffset);
        continue;
      }
      records.push(record);
      size += record.length;
    }
    const header = {
      suggestWhichBrokerId: groups.get(requiredText(command, "consumerGroup"))?.brokerId ?? 0,
      nextBeginOffset: next,
      minOffset: store.minQueueOffset(topic, queueId),
      maxOffset: store.maxQueueOffset(topic, queueId),
      topicSysFlag: topics.get(topic)?.topicSysFlag ?? 0,
      groupSysFlag: 0,
    };
    if (records.length === 0) return response(command, ResponseCode.PULL_RETRY_IMMEDIATELY, "NO_MATCHED_MESSAGE", header);
    return { ...response(command, ResponseCode.SUCCESS, "FOUND", header), body: Buffer.concat(records) };
  }

  /** Once a file: readers may come again and again. */
  #tellDamaged(topic: string, queueId: number, queue: CompactedQueue, queueOffset: number): void {
    if (this.#told.has(queue)) return;
    this.#told.add(queue);
    this.#o.log.error({ topic, queueId, queueOffset, file: queue.path }, "a compacted message is damaged, and passed over");
  }

  topicDeleted(topic: string): void {
    for (const queue of this.#queues.get(topic)?.values() ?? []) queue.close();
    this.#queues.delete(topic);
    this.#o.files.remove(topic);
  }

  close(): void {
    this.#isClosed = true;
    this.#timer?.cancel();
    for (const queues of this.#queues.values()) for (const queue of queues.values()) queue.close();
    this.#queues.clear();
  }
}
