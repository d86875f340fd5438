import { MillraceError } from "../../src/base/errors.ts";
import { javaHash } from "../../src/base/java-hash.ts";
import type { Channel } from "../../src/broker/channel.ts";
import type {
  AppendResult,
  IndexQueryResult,
  MessageStore,
  OutgoingMessage,
  PickedMessages,
  QueueEntry,
} from "../../src/broker/message-store.ts";
import type { PublishedGroup, PublishedTopic, TablePublisher } from "../../src/broker/table-publisher.ts";
import type { EntryFilter } from "../../src/filter/entry-filter.ts";
import { encodeMessage, STORE_TIMESTAMP_OFFSET_V4, writeInt64 } from "../../src/format/record/message.ts";
import { encodeProperties } from "../../src/format/record/properties.ts";
import type { RemotingCommand } from "../../src/format/remoting/remoting-command.ts";
import { READ_FOUND, READ_NO_MATCH } from "../../src/store/queue/queue-reader.ts";

/** A store in memory that appends at once. Its records are real ones; all hosts are IPv4. */
export class FakeStore implements MessageStore {
  readonly appended: OutgoingMessage[] = [];
  readonly dropped: string[] = [];
  /** Number of queues by topic. */
  readonly queueCounts: Map<string, number> = new Map();
  /** What happened, in order; shared with FakeTables where the order between the two matters. */
  readonly events: string[];
  readonly #records = new Map<number, Buffer>();
  readonly #queues = new Map<string, { entries: QueueEntry[]; storedMs: number[]; min: number }>();
  #end = 0;
  /** Next appends fail with it. */
  failure: Error | undefined;
  nowMs = 1_000_000;

  constructor(events: string[] = []) {
    this.events = events;
  }

  #queue(topic: string, queueId: number): { entries: QueueEntry[]; storedMs: number[]; min: number } {
    const key = `${topic}@${queueId}`;
    let queue = this.#queues.get(key);
    if (queue === undefined) {
      queue = { entries: [], storedMs: [], min: 0 };
      this.#queues.set(key, queue);
    }
    return queue;
  }

  /** As if the older messages had been deleted. */
  setMinQueueOffset(topic: string, queueId: number, min: number): void {
    this.#queue(topic, queueId).min = min;
  }

  minQueueOffset(topic: string, queueId: number): number {
    return this.#queue(topic, queueId).min;
  }

  maxQueueOffset(topic: string, queueId: number): number {
    return this.#queue(topic, queueId).entries.length;
  }

  appendedQueueOffset(topic: string, queueId: number): number {
    return this.maxQueueOffset(topic, queueId);
  }

  queueEntry(topic: string, queueId: number, queueOffset: number): QueueEntry | undefined {
    const queue = this.#queue(topic, queueId);
    return queueOffset < queue.min ? undefined : queue.entries[queueOffset];
  }

  readRecord(physicalOffset: number): Buffer | undefined {
    const record = this.#records.get(physicalOffset);
    return record === undefined ? undefined : Buffer.from(record);
  }

  storeTimestamp(topic: string, queueId: number, queueOffset: number): number {
    return this.#queue(topic, queueId).storedMs[queueOffset] ?? -1;
  }

  searchOffset(topic: string, queueId: number, timestampMs: number, boundary: "LOWER" | "UPPER"): number {
    const { storedMs } = this.#queue(topic, queueId);
    const at = storedMs.findIndex((stored) => (boundary === "LOWER" ? stored >= timestampMs : stored > timestampMs));
    const end = at < 0 ? storedMs.length : at;
    return boundary === "LOWER" ? end : Math.max(0, end - 1);
  }

  queryIndex(_topic: string, _key: string, _maxCount: number, _beginMs: number, _endMs: number): IndexQueryResult {
    return { physicalOffsets: [...this.#records.keys()].reverse(), lastUpdateTimestampMs: 0, lastUpdatePhysicalOffset: 0 };
  }

  async append(message: OutgoingMessage): Promise<AppendResult> {
    if (this.failure !== undefined) throw this.failure;
    const { topic, queueId } = message;
    if (!(queueId < (this.queueCounts.get(topic) ?? 0))) {
      throw new MillraceError("MILLRACE_TOPIC_UNKNOWN", `no queue ${queueId} of topic ${topic}`, { topic, queueId });
    }
    const queue = this.#queue(topic, queueId);
    const record = encodeMessage({
      ...message,
      properties: encodeProperties(message.properties),
      storeHost: "10.1.2.3:10911",
      bodyCrc: 0,
    });
    const physicalOffset = this.#end;
    writeInt64(record, queue.entries.length, 20);
    writeInt64(record, physicalOffset, 28);
    writeInt64(record, this.nowMs, STORE_TIMESTAMP_OFFSET_V4);
    this.#records.set(physicalOffset, record);
    this.#end += record.length;
    const tags = message.properties.get("TAGS");
    queue.entries.push({ physicalOffset, size: record.length, tagsCode: tags === undefined ? 0 : javaHash(tags) });
    queue.storedMs.push(this.nowMs);
    this.appended.push(message);
    if (this.watched.delete(`${topic}@${queueId}`)) setImmediate(() => this.onGrown(topic, queueId));
    return { physicalOffset, queueOffset: queue.entries.length - 1, storeTimestamp: this.nowMs, size: record.length };
  }

  pick(topic: string, queueId: number, queueOffset: number, count: number, filter: EntryFilter): PickedMessages {
    const picked: PickedMessages = { status: READ_NO_MATCH, nextOffset: queueOffset, queueOffsets: [], records: [] };
    while (picked.nextOffset < this.maxQueueOffset(topic, queueId) && picked.queueOffsets.length < count) {
      const entry = this.queueEntry(topic, queueId, picked.nextOffset)!;
      if (filter.matchesAll || filter.codes.has(entry.tagsCode)) {
        picked.status = READ_FOUND;
        picked.queueOffsets.push(picked.nextOffset);
        picked.records.push(entry.physicalOffset, entry.size);
      }
      picked.nextOffset++;
    }
    return picked;
  }

  readonly watched: Set<string> = new Set();
  onGrown: (topic: string, queueId: number) => void = () => {};

  watch(topic: string, queueId: number): void {
    this.watched.add(`${topic}@${queueId}`);
  }

  minPhysicalOffset(): number {
    return 0;
  }

  maxPhysicalOffset(): number {
    return this.#end;
  }

  dispatchedOffset(): number {
    return this.#end;
  }

  flushedOffset(): number {
    return this.#end;
  }

  ensureQueues(topic: string, queueCount: number): void {
    this.events.push(`queues ${topic} ${queueCount}`);
    this.queueCounts.set(topic, Math.max(queueCount, this.queueCounts.get(topic) ?? 0));
  }

  async dropQueues(topic: string): Promise<void> {
    this.dropped.push(topic);
    this.events.push(`dropped ${topic}`);
    this.queueCounts.delete(topic);
    for (const key of this.#queues.keys()) if (key.startsWith(`${topic}@`)) this.#queues.delete(key);
  }
}

/** Keeps what was published. */
export class FakeTables implements TablePublisher {
  readonly topics: Map<string, PublishedTopic> = new Map();
  readonly groups: Map<string, PublishedGroup> = new Map();
  readonly cells: Map<string, number> = new Map();
  readonly events: string[];

  constructor(events: string[] = []) {
    this.events = events;
  }

  topicChanged(topic: PublishedTopic): void {
    this.events.push(`topic ${topic.topic}`);
    this.topics.set(topic.topic, topic);
  }

  topicRemoved(topic: string): void {
    this.events.push(`topic-removed ${topic}`);
    this.topics.delete(topic);
  }

  groupChanged(group: PublishedGroup): void {
    this.events.push(`group ${group.group}`);
    this.groups.set(group.group, group);
  }

  groupRemoved(group: string): void {
    this.events.push(`group-removed ${group}`);
    this.groups.delete(group);
  }

  offsetCell(group: string, topic: string, queueId: number, cell: number): void {
    this.cells.set(`${group}@${topic}@${queueId}`, cell);
  }
}

/** A client connection that keeps what was written to it; `answer` makes the responses to `invoke`. */
export class FakeChannel implements Channel {
  readonly id: number;
  readonly remoteAddress: string;
  readonly written: RemotingCommand[] = [];
  isClosed = false;
  answer: (command: RemotingCommand) => RemotingCommand = (command) => {
    throw new MillraceError("MILLRACE_TIMEOUT", `nobody answers ${command.code}`);
  };
  #opaque = 0;

  constructor(id = 1, remoteAddress = `10.9.8.7:${5000 + id}`) {
    this.id = id;
    this.remoteAddress = remoteAddress;
  }

  write(command: RemotingCommand): void {
    if (!this.isClosed) this.written.push(command);
  }

  writeRecords(command: RemotingCommand, records: readonly number[]): void {
    if (!this.isClosed) this.written.push({ ...command, body: Buffer.concat(this.recordsOf(records)) });
  }

  /** Of a store that the test knows. */
  recordsOf: (records: readonly number[]) => Buffer[] = () => [];

  async invoke(command: RemotingCommand, _timeoutMs: number): Promise<RemotingCommand> {
    this.written.push(command);
    return this.answer(command);
  }

  nextOpaque(): number {
    return ++this.#opaque;
  }

  close(): void {
    this.isClosed = true;
  }
}
