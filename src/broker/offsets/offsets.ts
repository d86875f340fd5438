import type { Clock, Timer } from "../../base/clock.ts";
import { MillraceError } from "../../base/errors.ts";
import { isLmq, LMQ_PREFIX } from "../../format/names.ts";
import { OFFSET_CELLS_MAX, OFFSET_PENDING_RESET, type OffsetCells } from "../../format/shared/offset-cells.ts";
import { entriesOf, memberOf, parseJson, writeJson } from "../../format/text/fastjson.ts";
import { type DataVersion, dataVersionFrom } from "../../format/topic-config.ts";
import type { Log } from "../../observe/log.ts";
import type { ConfigFile } from "../config-file.ts";
import type { OffsetLookup } from "../contracts.ts";
import type { TablePublisher } from "../table-publisher.ts";

export interface OffsetsOptions {
  clock: Clock;
  log: Log;
  cells: OffsetCells;
  tables: Pick<TablePublisher, "offsetCell">;
  /** config/consumerOffset.json; with enableLmq config/lmqConsumerOffset.json, */
  file: ConfigFile;
  /** and this is what it begins with. */
  earlier?: ConfigFile | undefined;
  /** flushConsumerOffsetInterval, ms */
  saveIntervalMs: number;
}

const NONE = -1;

/**
 * Committed offsets of all consumer groups. The truth is in the shared cells: once the I/O workers know a cell they
 * write commits into it without a word to us, so nothing here keeps a copy of an offset. A cell belongs to its
 * (group, topic, queueId) for as long as the broker runs, even when that was deleted: a worker that has not yet
 * heard of it must not write into another's cell. Control thread only.
 * Source: Apache `ConsumerOffsetManager`.
 */
export class Offsets implements OffsetLookup {
  readonly #o: OffsetsOptions;
  /** Cell by group, topic and queueId. */
  readonly #cells = new Map<string, Map<string, Map<number, number>>>();
  readonly #groupsByTopic = new Map<string, Set<string>>();
  #cellCount = 0;
  /** Offset by cell, of server-side resets that no pull has taken yet. */
  readonly #resets = new Map<number, number>();
  /** What the file says, by cell. */
  #saved: Float64Array = new Float64Array(1024).fill(NONE);
  #version: DataVersion = { counter: 0, stateVersion: 0, timestamp: 0 };
  readonly #ticker: Timer;
  #saving: Promise<void> | undefined;
  /** When the oldest of the pops was whose new offsets are not committed yet, ms; Infinity: there is none. */
  oldestOpenPopMs: () => number = () => Number.POSITIVE_INFINITY;

  constructor(options: OffsetsOptions) {
    this.#o = options;
    this.#ticker = options.clock.setTicker(() => this.#saveQuietly(), options.saveIntervalMs);
  }

  /**
   * Before any client is served.
   * @throws MillraceError MILLRACE_STORE_CORRUPT when neither the file nor its backup can be read
   */
  load(): void {
    const read = (json: string): unknown => parseJson(json);
    const text = this.#o.file.read(read) ?? this.#o.earlier?.read(read);
    if (text === undefined) return;
    this.#version = dataVersionFrom(memberOf(text, "dataVersion") ?? {});
    for (const [key, queues] of entriesOf(memberOf(text, "offsetTable"))) {
      const at = typeof key === "string" ? key.indexOf("@") : -1;
      if (typeof key !== "string" || at <= 0 || at === key.length - 1) {
        this.#o.log.warn({ key: String(key), file: this.#o.file.path }, "offset entry is not topic@group: left out");
        continue;
      }
      for (const [queueId, offset] of entriesOf(queues)) this.#loadOne(key.slice(at + 1), key.slice(0, at), queueId, offset);
    }
    for (const [key, offset] of entriesOf(memberOf(text, "lmqOffsetTable"))) {
      const at = typeof key === "string" ? key.indexOf(`@${LMQ_PREFIX}`) : -1;
      if (typeof key === "string" && at > 0) this.#loadOne(key.slice(at + 1), key.slice(0, at), 0, offset);
      else this.#o.log.warn({ key: String(key), file: this.#o.file.path }, "offset entry is not topic@%LMQ%group: left out");
    }
  }

  /** Waits for the last save. */
  async close(): Promise<void> {
    this.#ticker.cancel();
    await this.save();
  }

  get(group: string, topic: string, queueId: number): number {
    const cell = this.#cellOf(group, topic, queueId);
    if (cell === undefined) return NONE;
    return this.#resets.get(cell) ?? Math.max(NONE, this.#o.cells.offset(cell));
  }

  /**
   * Any value is stored, also a smaller one; nothing is while a reset waits for the next pull.
   * @throws MillraceError MILLRACE_BUSY when there are no cells left
   */
  commit(group: string, topic: string, queueId: number, offset: number): void {
    const cell = this.#cellOrNew(group, topic, queueId);
    if (!this.#resets.has(cell)) this.#o.cells.setOffset(cell, offset);
  }

  groupsOf(topic: string): string[] {
    return [...(this.#groupsByTopic.get(topic) ?? [])].filter((group) => this.queuesOf(group, topic).size > 0);
  }

  topicsOf(group: string): string[] {
    return [...(this.#cells.get(group)?.keys() ?? [])].filter((topic) => this.queuesOf(group, topic).size > 0);
  }

  /** The group's committed offsets of the topic, by queueId. */
  queuesOf(group: string, topic: string): Map<number, number> {
    const offsets = new Map<number, number>();
    for (const queueId of this.#cells.get(group)?.get(topic)?.keys() ?? []) {
      const offset = this.get(group, topic, queueId);
      if (offset !== NONE) offsets.set(queueId, offset);
    }
    return offsets;
  }

  /** How far the group has pulled, or 0: at or before what it was given last. */
  pullOffset(group: string, topic: string, queueId: number): number {
    const cell = this.#cellOf(group, topic, queueId);
    return cell === undefined ? 0 : this.#o.cells.pullOffset(cell);
  }

  /** Messages went out that no I/O worker has counted. */
  noteServed(group: string, topic: string, queueId: number, count: number): void {
    const cell = this.#cellOf(group, topic, queueId);
    if (cell !== undefined) this.#o.cells.addServed(cell, count);
  }

  /** Pops of until then, ms, have their offsets in the file; those of later may. 0: it was never written. */
  get savedMs(): number {
    return this.#version.timestamp;
  }

  /** Calls `visit` with every queue of every group that has ever pulled or committed. */
  eachServed(visit: (group: string, topic: string, cell: number, served: number) => void): void {
    for (const [group, topics] of this.#cells) {
      for (const [topic, queues] of topics) {
        for (const cell of queues.values()) visit(group, topic, cell, this.#o.cells.served(cell));
      }
    }
  }

  /** For pulls that the control thread answers. */
  notePull(group: string, topic: string, queueId: number, queueOffset: number): void {
    const cell = this.#cellOf(group, topic, queueId);
    if (cell !== undefined) this.#o.cells.setPullOffset(cell, queueOffset);
  }

  /** Also forgets resets. */
  removeTopic(topic: string): void {
    for (const group of this.#groupsByTopic.get(topic) ?? []) this.#empty(this.#cells.get(group)?.get(topic));
  }

  removeGroup(group: string): void {
    for (const queues of this.#cells.get(group)?.values() ?? []) this.#empty(queues);
  }

  /** The group goes on at `offset` with its next pull; commits until then are ignored. */
  reset(group: string, topic: string, queueId: number, offset: number): void {
    const cell = this.#cellOrNew(group, topic, queueId);
    this.#resets.set(cell, offset);
    // The mark first: from then on the workers leave the cell and the group's pulls to us.
    this.#o.cells.setFlags(cell, OFFSET_PENDING_RESET);
    this.#o.cells.setOffset(cell, offset);
    this.#o.cells.setPullOffset(cell, 0);
  }

  pendingReset(group: string, topic: string, queueId: number): number {
    const cell = this.#cellOf(group, topic, queueId);
    return (cell === undefined ? undefined : this.#resets.get(cell)) ?? NONE;
  }

  takeReset(group: string, topic: string, queueId: number): number {
    const cell = this.#cellOf(group, topic, queueId);
    const offset = cell === undefined ? undefined : this.#resets.get(cell);
    if (cell === undefined || offset === undefined) return NONE;
    this.#resets.delete(cell);
    // Again, since a worker may have been just past the mark's check when the reset came.
    this.#o.cells.setOffset(cell, offset);
    this.#o.cells.setFlags(cell, 0);
    return offset;
  }

  /** The workers keep a cell only where they know group and topic: tell them again once they do. */
  republish(group: string): void {
    for (const [topic, queues] of this.#cells.get(group) ?? []) {
      for (const [queueId, cell] of queues) this.#o.tables.offsetCell(group, topic, queueId, cell);
    }
  }

  republishTopic(topic: string): void {
    for (const group of this.#groupsByTopic.get(topic) ?? []) {
      for (const [queueId, cell] of this.#cells.get(group)?.get(topic) ?? [])
        this.#o.tables.offsetCell(group, topic, queueId, cell);
    }
  }

  /** The text of the file, with the offsets as they are now. */
  encode(): string {
    const offsetTable = new Map<string, Map<number, number>>();
    const groupTopicMap = new Map<string, string[]>();
    const lmqOffsetTable = new Map<string, number>();
    const hasLmq = this.#o.earlier !== undefined;
    for (const group of this.#cells.keys()) {
      const topics = this.topicsOf(group);
      if (hasLmq && isLmq(group)) {
        for (const topic of topics) lmqOffsetTable.set(`${topic}@${group}`, this.get(group, topic, 0));
        continue;
      }
      if (topics.length > 0) groupTopicMap.set(group, topics);
      for (const topic of topics) offsetTable.set(`${topic}@${group}`, this.queuesOf(group, topic));
    }
    const members = { dataVersion: this.#version, groupTopicMap, offsetTable, pullOffsetTable: {} };
    return writeJson(hasLmq ? { ...members, lmqOffsetTable } : members);
  }

  /**
   * Writes the file if any offset differs from what it says.
   * @throws MillraceError MILLRACE_STORE_IO, MILLRACE_STORE_FULL, MILLRACE_STORE_UNWRITABLE; tried again at the next interval
   */
  async save(): Promise<void> {
    while (this.#saving !== undefined) await this.#saving.catch(() => {});
    const now = this.#changedOffsets();
    if (now === undefined) return;
    this.#saving = this.#write(now);
    try {
      await this.#saving;
    } finally {
      this.#saving = undefined;
    }
  }

  async #write(offsets: Float64Array): Promise<void> {
    const { counter, stateVersion } = this.#version;
    const timestamp = Math.min(this.#o.clock.now(), this.oldestOpenPopMs() - 1);
    this.#version = { counter: counter + 1, stateVersion, timestamp };
    // The text may be newer than `offsets`; then the next interval writes once more than it had to.
    await this.#o.file.saveLater(() => this.encode());
    this.#saved = offsets;
  }

  #saveQuietly(): void {
    if (this.#saving !== undefined) return;
    this.save().catch((error: unknown) => {
      this.#o.log.error({ error: String(error), file: this.#o.file.path }, "consumer offsets could not be saved");
    });
  }

  /** Every cell's offset, or undefined if the file says the same. */
  #changedOffsets(): Float64Array | undefined {
    const offsets = new Float64Array(Math.max(this.#saved.length, this.#cellCount)).fill(NONE);
    let isChanged = false;
    for (let cell = 0; cell < this.#cellCount; cell++) {
      const offset = this.#resets.get(cell) ?? Math.max(NONE, this.#o.cells.offset(cell));
      offsets[cell] = offset;
      if (offset !== (this.#saved[cell] ?? NONE)) isChanged = true;
    }
    return isChanged ? offsets : undefined;
  }

  #loadOne(group: string, topic: string, queueIdText: unknown, offset: unknown): void {
    const queueId = Number(queueIdText);
    if (!Number.isInteger(queueId) || queueId < 0 || typeof offset !== "number" || !Number.isSafeInteger(offset)) {
      this.#o.log.warn({ group, topic, queueId: String(queueIdText), file: this.#o.file.path }, "offset is no integer: left out");
      return;
    }
    if (offset < 0) return;
    const cell = this.#cellOrNew(group, topic, queueId);
    this.#o.cells.setOffset(cell, offset);
    this.#saved = grown(this.#saved, cell + 1);
    this.#saved[cell] = offset;
  }

  #cellOf(group: string, topic: string, queueId: number): number | undefined {
    return this.#cells.get(group)?.get(topic)?.get(queueId);
  }

  #cellOrNew(group: string, topic: string, queueId: number): number {
    const known = this.#cellOf(group, topic, queueId);
    if (known !== undefined) return known;
    if (this.#cellCount === OFFSET_CELLS_MAX) {
      throw new MillraceError(
        "MILLRACE_BUSY",
        `no room for more consumer offsets: ${OFFSET_CELLS_MAX} queues of groups are known`,
        { group, topic },
      );
    }
    const cell = this.#cellCount++;
    this.#o.cells.setOffset(cell, NONE);
    const topics = entryOf(this.#cells, group, () => new Map<string, Map<number, number>>());
    entryOf(topics, topic, () => new Map<number, number>()).set(queueId, cell);
    entryOf(this.#groupsByTopic, topic, () => new Set<string>()).add(group);
    this.#o.tables.offsetCell(group, topic, queueId, cell);
    return cell;
  }

  #empty(queues: ReadonlyMap<number, number> | undefined): void {
    for (const cell of queues?.values() ?? []) {
      this.#resets.delete(cell);
      this.#o.cells.setOffset(cell, NONE);
      this.#o.cells.setPullOffset(cell, 0);
      this.#o.cells.setFlags(cell, 0);
    }
  }
}

function entryOf<K, V>(map: Map<K, V>, key: K, make: () => V): V {
  let value = map.get(key);
  if (value === undefined) {
    value = make();
    map.set(key, value);
  }
  return value;
}

function grown(array: Float64Array, size: number): Float64Array {
  if (array.length >= size) return array;
  const larger = new Float64Array(size * 2).fill(NONE);
  larger.set(array);
  return larger;
}
