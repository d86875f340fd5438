import path from "node:path";
import { type Clock, monotonicMs, type Timer } from "../../base/clock.ts";
import { MillraceError } from "../../base/errors.ts";
import { innerTopicNameFault } from "../../format/names.ts";
import { entriesOf, memberOf, parseJson } from "../../format/text/fastjson.ts";
import {
  type DataVersion,
  PERM_INHERIT,
  PERM_READ,
  PERM_WRITE,
  type TopicConfig,
  topicConfigFrom,
  topicConfigMembers,
} from "../../format/topic-config.ts";
import type { Log } from "../../observe/log.ts";
import { LineJournal } from "../../os/line-journal.ts";
import { ConfigFile } from "../config-file.ts";
import type { HandlerTable, TopicLookup } from "../contracts.ts";
import type { MessageStore } from "../message-store.ts";
import type { SendRefusal } from "../send/send-responses.ts";
import type { TablePublisher } from "../table-publisher.ts";
import { nextVersion, storedVersion } from "../versioned-table.ts";
import { isBatchTopic } from "./attributes.ts";
import type { LmqTopics } from "./lmq-topics.ts";
import { type SystemTopicSettings, SystemTopics, TEMPLATE_TOPIC } from "./system-topics.ts";
import { topicHandlers } from "./topic-requests.ts";

/** Names as in the configuration. */
export interface TopicSettings extends SystemTopicSettings {
  clearRetryTopicWhenDeleteTopic: boolean;
  validateSystemTopicWhenUpdateTopic: boolean;
  enableMixedMessageType: boolean;
}

export interface TopicsOptions {
  /** topics.json. */
  file: ConfigFile;
  settings: TopicSettings;
  store: MessageStore;
  tables: TablePublisher;
  clock: Clock;
  log: Log;
  /** Topics were made or changed: name servers must hear of it. Deleted ones are not announced. */
  onChanged: (topics: readonly TopicConfig[]) => void;
  /** The topic is gone, with its queues: forget what is kept of it elsewhere, its offsets above all. */
  onDeleted: (topic: string) => void;
  /** Groups that have offsets of the topic. */
  groupsOf: (topic: string) => readonly string[];
  /** Topics that the store has queues of, known here or not. */
  storedTopics: () => readonly string[];
  /** Perm bits of the whole broker, read at each publication. Default: read and write. */
  brokerPermission?: () => number;
  /** undefined: there are no queues of further names. */
  lmq?: LmqTopics;
  /** PublishedTopic.compactedUpTo of the topic. */
  compactedUpTo?: (topic: string) => readonly number[] | undefined;
}

/** The file is written again when the time that it took last has passed so often: each write takes all topics. */
const SAVE_PAUSE = 10;

/** More queues than this are refused: each costs memory in all threads. */
export const TOPIC_QUEUES_MAX = 65_536;

/**
 * All topics of this broker. A change comes into force in the order: queues in the store, tables of the I/O workers,
 * name servers; then a line of the journal, which is what those who ask wait for, and in the background the file, which makes
 * the journal empty again. Control thread only.
 * Source: Apache `TopicConfigManager`.
 */
export class Topics implements TopicLookup {
  readonly system: SystemTopics;
  readonly #o: TopicsOptions;
  readonly #table = new Map<string, TopicConfig>();
  /** Queues of further names that the I/O workers know. */
  readonly #servedLmq = new Set<string>();
  readonly #journal: LineJournal;
  #version: DataVersion;
  /** Counter of the version that the file has. */
  #saved = 0;
  #saveTimer: Timer | undefined;
  #isSaving = false;

  constructor(options: TopicsOptions) {
    this.#o = options;
    this.#version = { counter: 0, stateVersion: 0, timestamp: options.clock.now() };
    this.#journal = journalOf(options.file);
    this.system = new SystemTopics(options.settings);
  }

  get dataVersion(): DataVersion {
    return this.#version;
  }

  get size(): number {
    return this.#table.size;
  }

  /** By name, for those who answer with all of them. */
  get table(): ReadonlyMap<string, TopicConfig> {
    return this.#table;
  }

  handlers(): HandlerTable {
    return topicHandlers(this, this.#o);
  }

  /**
   * Reads the file, adds the system topics that it has not, and publishes all. Once, before anything else.
   * @throws MillraceError MILLRACE_STORE_CORRUPT
   */
  load(): void {
    const stored = readTopics(this.#o.file, this.#journal);
    for (const config of this.system.configs) this.#table.set(config.topicName, config);
    for (const config of stored?.configs ?? []) this.#table.set(config.topicName, config);
    if (stored !== undefined) this.#version = stored.version;
    for (const config of this.#table.values()) this.#publish(config);
  }

  /** Writes the file. Resolves once the disk has all topics as they are now. @throws MillraceError MILLRACE_STORE_… */
  async save(): Promise<void> {
    let saved: number | undefined;
    await this.#o.file.saveLater(() => {
      saved = this.#version.counter;
      return this.#text();
    });
    if (saved === undefined) return; // Somebody else's call has made the text, and goes on here.
    this.#saved = saved;
    if (saved === this.#version.counter) await this.#journal.clear();
  }

  /** Resolves once the disk has all topics made so far, in the file or in the journal. @throws MillraceError MILLRACE_STORE_… */
  settled(): Promise<void> {
    return this.#journal.settled();
  }

  /** The last save. @throws MillraceError MILLRACE_STORE_… */
  async close(): Promise<void> {
    this.#saveTimer?.cancel();
    this.#saveTimer = undefined;
    this.#isSaving = true; // No more in the background.
    try {
      await this.save();
    } finally {
      await this.#journal.close();
    }
  }

  /** At once, or when the last save is long enough ago. */
  async #saveSoon(): Promise<void> {
    if (this.#isSaving || this.#saveTimer !== undefined) return;
    this.#isSaving = true;
    const started = monotonicMs();
    try {
      await this.save();
    } catch (error) {
      this.#o.log.error({ file: this.#o.file.path, error: String(error) }, "topics could not be saved");
    }
    const pauseMs = SAVE_PAUSE * (monotonicMs() - started);
    this.#saveTimer = this.#o.clock.setTimer(() => {
      this.#saveTimer = undefined;
      this.#isSaving = false;
      if (this.#saved !== this.#version.counter) void this.#saveSoon();
    }, pauseMs);
  }

  get(topic: string): TopicConfig | undefined {
    return this.#table.get(topic) ?? this.#o.lmq?.config(topic);
  }

  serve(topic: string): SendRefusal | undefined {
    const { lmq } = this.#o;
    const config = this.#table.has(topic) ? undefined : lmq?.config(topic);
    if (config === undefined || this.#servedLmq.has(topic)) return undefined;
    const refusal = lmq?.ensure(topic);
    if (refusal !== undefined) return refusal;
    this.#servedLmq.add(topic);
    this.#publish(config);
    return undefined;
  }

  all(): Iterable<TopicConfig> {
    return this.#table.values();
  }

  /** @throws MillraceError MILLRACE_MESSAGE_ILLEGAL when the name is none */
  ensure(topic: string, queueNums: number, perm: number, topicSysFlag = 0): TopicConfig {
    const known = this.#table.get(topic);
    if (known !== undefined) return known;
    const fault = innerTopicNameFault(topic);
    if (fault !== undefined) throw new MillraceError("MILLRACE_MESSAGE_ILLEGAL", fault, { topic });
    const config = newTopic(topic, queueNums, perm, topicSysFlag);
    this.#putQuietly([config]);
    return config;
  }

  /**
   * The topic that a message is sent to, made from the template that the sender names where that one may be inherited.
   * @param clientQueueNums queues that the sender wants at most
   * @returns undefined: there is no such topic
   * Source: Apache `TopicConfigManager.createTopicInSendMessageMethod`.
   */
  createForSend(topic: string, defaultTopic: string, clientQueueNums: number, topicSysFlag: number): TopicConfig | undefined {
    const known = this.#table.get(topic);
    if (known !== undefined) return known;
    const template = this.#table.get(defaultTopic);
    if (template === undefined) return undefined;
    // The template may have been stored when creating topics was still allowed.
    if (defaultTopic === TEMPLATE_TOPIC && !this.#o.settings.autoCreateTopicEnable) return undefined;
    if ((template.perm & PERM_INHERIT) === 0) return undefined;
    const queueNums = Math.max(0, Math.min(clientQueueNums, template.writeQueueNums));
    const config = newTopic(topic, queueNums, template.perm & ~PERM_INHERIT, topicSysFlag);
    config.topicFilterType = template.topicFilterType;
    this.#putQuietly([config]);
    this.#o.log.info({ topic, template: defaultTopic, queueNums }, "topic created by a send");
    return config;
  }

  /** Makes or replaces topics whose values were checked. @returns resolves once the disk has them */
  put(wanted: readonly TopicConfig[]): Promise<void> {
    // As Apache's broker: nothing can be said of a queue that stands in no table.
    const configs = wanted.filter(({ topicName }) => this.#table.has(topicName) || this.#o.lmq?.config(topicName) === undefined);
    // All queues first: where the store has no room for them, nothing has changed.
    for (const config of configs)
      this.#o.store.ensureQueues(config.topicName, queueCountOf(config), isBatchTopic(config.attributes));
    for (const config of configs) {
      this.#table.set(config.topicName, config);
      this.#publish(config);
    }
    this.#version = nextVersion(this.#version, this.#o.clock);
    this.#o.onChanged(configs);
    return this.#keep(configs);
  }

  /** What cannot be written to the journal is made good by the next save of the file. */
  async #keep(configs: readonly TopicConfig[]): Promise<void> {
    const line: JournalLine = { dataVersion: this.#version, topics: configs.map((config) => topicConfigMembers(config)) };
    const appended = this.#journal.append(line);
    void this.#saveSoon();
    await appended;
  }

  /** Forgets the topics and deletes their queues; unknown ones too, since queues may be left of them. */
  async delete(topics: readonly string[]): Promise<void> {
    const { tables, store, onDeleted, log } = this.#o;
    for (const topic of topics) {
      const isKnown = this.#table.delete(topic);
      tables.topicRemoved(topic);
      this.#servedLmq.delete(topic);
      this.#o.lmq?.forget(topic);
      await store.dropQueues(topic);
      onDeleted(topic);
      if (isKnown) this.#version = nextVersion(this.#version, this.#o.clock);
      log.info({ topic, isKnown }, "topic deleted");
    }
    await this.save();
  }

  /** The permission of the whole broker has changed, which is a new version of every topic. */
  republish(): void {
    this.#version = nextVersion(this.#version, this.#o.clock);
    for (const config of this.#table.values()) this.#publish(config);
    for (const topic of this.#servedLmq) this.#publish(this.get(topic)!);
  }

  /** What is published of the topic beside its config has changed. */
  republishOne(topic: string): void {
    const config = this.#table.get(topic);
    if (config !== undefined) this.#publish(config);
  }

  /** For changes that nobody waits for: a failed save is logged, and made good by the next one. */
  #putQuietly(configs: readonly TopicConfig[]): void {
    this.put(configs).catch((error: unknown) => {
      this.#o.log.error({ file: this.#o.file.path, error: String(error) }, "topics could not be saved");
    });
  }

  #publish(config: TopicConfig): void {
    const { topicName, ...rest } = config;
    const allowed = this.#o.brokerPermission?.() ?? PERM_READ_WRITE;
    this.#o.store.ensureQueues(topicName, queueCountOf(config), isBatchTopic(config.attributes));
    this.#o.tables.topicChanged({
      topic: topicName,
      ...rest,
      perm: config.perm & (allowed | ~PERM_READ_WRITE),
      refusesSends: config.order && (allowed & PERM_WRITE) === 0,
      compactedUpTo: this.#o.compactedUpTo?.(topicName),
    });
  }

  #text(): string {
    const table = Object.fromEntries([...this.#table].map(([name, config]) => [name, topicConfigMembers(config)]));
    return JSON.stringify({ dataVersion: this.#version, topicConfigTable: table }, undefined, "\t");
  }
}

function queueCountOf(config: TopicConfig): number {
  return Math.max(config.readQueueNums, config.writeQueueNums);
}

function newTopic(topicName: string, queueNums: number, perm: number, topicSysFlag: number): TopicConfig {
  return {
    topicName,
    readQueueNums: queueNums,
    writeQueueNums: queueNums,
    perm,
    topicFilterType: "SINGLE_TAG",
    topicSysFlag,
    order: false,
    attributes: {},
  };
}

/** The file's names become directories, so they are checked like those from the wire. */
function storedTopic(name: string, value: unknown): TopicConfig {
  const config = topicConfigFrom(name, value);
  const fault = innerTopicNameFault(name) ?? topicConfigFault(config);
  if (fault !== undefined) throw new MillraceError("MILLRACE_STORE_CORRUPT", fault, { topic: name });
  return config;
}

/** Why no topic can have these values, or undefined. */
export function topicConfigFault(config: TopicConfig): string | undefined {
  const { topicName, readQueueNums, writeQueueNums, perm, topicFilterType } = config;
  for (const [name, value] of [
    ["readQueueNums", readQueueNums],
    ["writeQueueNums", writeQueueNums],
  ] as const) {
    if (!(value >= 0 && value <= TOPIC_QUEUES_MAX))
      return `topic[${topicName}]: ${name} ${value} is not within 0..${TOPIC_QUEUES_MAX}`;
  }
  if (!(perm >= 0 && perm <= PERMS)) return `topic[${topicName}]: perm ${perm} is not within 0..${PERMS}`;
  if (topicFilterType !== "SINGLE_TAG" && topicFilterType !== "MULTI_TAG") {
    return `topic[${topicName}]: topicFilterType ${topicFilterType} is neither SINGLE_TAG nor MULTI_TAG`;
  }
  return undefined;
}

/** All permission bits. Source: Apache `PermName`. */
const PERMS = 15;

/** What retry and dead-letter topics have. */
export const PERM_READ_WRITE: number = PERM_READ | PERM_WRITE;

/** Topics that were made or changed, and the version of the table since then. */
interface JournalLine {
  dataVersion: DataVersion;
  topics: readonly object[];
}

interface StoredTopics {
  version: DataVersion;
  /** Later ones replace earlier ones of the same name. */
  configs: TopicConfig[];
}

function journalOf(file: ConfigFile): LineJournal {
  return new LineJournal(`${file.path}.journal`);
}

/** @throws MillraceError MILLRACE_STORE_CORRUPT */
function readTopics(file: ConfigFile, journal: LineJournal): StoredTopics | undefined {
  let stored = file.read((text): StoredTopics => {
    const parsed = parseJson(text);
    const configs = entriesOf(memberOf(parsed, "topicConfigTable")).map(([name, value]) => storedTopic(String(name), value));
    return { version: storedVersion(parsed), configs };
  });
  for (const line of journal.read()) {
    const version = storedVersion(line);
    // What the file has already; or another broker has had the store since, and its word counts.
    if (stored !== undefined && (version.counter <= stored.version.counter || version.timestamp < stored.version.timestamp))
      continue;
    const values = memberOf(line, "topics") as readonly unknown[];
    const configs = values.map((value) => storedTopic(String(memberOf(value, "topicName")), value));
    stored = { version, configs: [...(stored?.configs ?? []), ...configs] };
  }
  return stored;
}

/**
 * Topics of the store whose queues hold whole batches. The store asks before the table is loaded.
 * @throws MillraceError MILLRACE_STORE_CORRUPT
 */
export function storedBatchTopics(configDirectory: string): ReadonlySet<string> {
  const file = new ConfigFile(path.join(configDirectory, TOPICS_FILE));
  const configs = new Map(readTopics(file, journalOf(file))?.configs.map((config) => [config.topicName, config]));
  return new Set([...configs.values()].filter(({ attributes }) => isBatchTopic(attributes)).map(({ topicName }) => topicName));
}

export const TOPICS_FILE = "topics.json";
