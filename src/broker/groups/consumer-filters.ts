import type { Clock, Timer } from "../../base/clock.ts";
import { MillraceError } from "../../base/errors.ts";
import { type BloomData, BloomFilter } from "../../filter/bloom-filter.ts";
import { isTagType } from "../../filter/entry-filter.ts";
import { FilterCache } from "../../filter/filter-cache.ts";
import type { HeartbeatSubscription } from "../../format/remoting/heartbeat.ts";
import { entriesOf, memberOf, parseJson, writeJson } from "../../format/text/fastjson.ts";
import type { Log } from "../../observe/log.ts";
import type { TopicFiltersUpdate } from "../../store/queue/queue-ext-maker.ts";
import type { ConfigFile } from "../config-file.ts";

export interface ConsumerFiltersOptions {
  /** consumerFilter.json. */
  file: ConfigFile;
  /** Names as in the configuration. */
  settings: { maxErrorRateOfBloomFilter: number; expectConsumerNumUseFilter: number; filterDataCleanTimeSpan: number };
  clock: Clock;
  log: Log;
  /**
   * Has messages marked from now on, when they are stored, by what groups filter their topics by; undefined: nobody marks any.
   * @returns store time, ms, above which messages are marked
   * @throws MillraceError MILLRACE_BUSY
   */
  mark?: ((updates: readonly TopicFiltersUpdate[]) => number) | undefined;
}

/** An expression of another type than TAG that a group has subscribed with. Source: Apache `ConsumerFilterData`. */
export interface ConsumerFilter {
  readonly consumerGroup: string;
  readonly topic: string;
  readonly expression: string;
  readonly expressionType: string;
  readonly bornTime: number;
  /** 0 while the group has a consumer. */
  deadTime: number;
  readonly bloomFilterData: BloomData;
  /** subVersion of the client. */
  clientVersion: number;
}

const SAVE_MS = 10_000;
/** Characters of all expressions of one heart-beat: to compile them holds up everybody else, 0.3 ms for 1,000. */
const TEXT_TOTAL_MAX = 131_072;
/** A filter that was alive when the broker ended has been dead for so long when it starts. */
const DEAD_AT_LOAD_MS = 30_000;

/**
 * The expressions that consumer groups filter by. One that does not compile is not in here, and pulls that rely on it get
 * FILTER_DATA_NOT_EXIST. Outlives the group's consumers by filterDataCleanTimeSpan. Control thread only.
 * Source: Apache `ConsumerFilterManager`.
 */
export class ConsumerFilters {
  readonly #o: ConsumerFiltersOptions;
  readonly #expressions = new FilterCache();
  readonly #byTopic = new Map<string, Map<string, ConsumerFilter>>();
  readonly #bloom: BloomFilter;
  readonly #ticker: Timer;
  #savedText = "";

  constructor(options: ConsumerFiltersOptions) {
    this.#o = options;
    const { maxErrorRateOfBloomFilter, expectConsumerNumUseFilter } = options.settings;
    this.#bloom = new BloomFilter(maxErrorRateOfBloomFilter, expectConsumerNumUseFilter);
    this.#ticker = options.clock.setTicker(() => {
      this.save().catch((error: unknown) => options.log.error({ error: String(error) }, "consumer filters were not saved"));
    }, SAVE_MS);
  }

  get(topic: string, group: string): ConsumerFilter | undefined {
    return this.#byTopic.get(topic)?.get(group);
  }

  ofGroup(group: string): ConsumerFilter[] {
    return [...this.#byTopic.values()].flatMap((groups) => groups.get(group) ?? []);
  }

  /** All subscriptions of the group, of a heart-beat. @returns has anything changed? */
  register(group: string, subscriptions: readonly HeartbeatSubscription[]): boolean {
    let isChanged = false;
    let textTotal = 0;
    for (const subscription of subscriptions) {
      if (isTagType(subscription.expressionType) || subscription.subString === "") continue;
      textTotal += subscription.subString.length;
      if (textTotal > TEXT_TOTAL_MAX) {
        this.#o.log.warn({ group, topic: subscription.topic, textTotal }, "a heart-beat with too much to filter by: left out");
        continue;
      }
      isChanged = this.#registerOne(group, subscription) || isChanged;
    }
    const topics = new Set(subscriptions.map(({ topic }) => topic));
    for (const filter of this.ofGroup(group)) {
      if (topics.has(filter.topic) || isDead(filter)) continue;
      filter.deadTime = this.#o.clock.now();
      isChanged = true;
    }
    return isChanged;
  }

  #registerOne(group: string, { topic, subString, expressionType, subVersion }: HeartbeatSubscription): boolean {
    const before = this.get(topic, group);
    const isSame = before?.expression === subString && before.expressionType === expressionType;
    if (before !== undefined && (subVersion <= before.clientVersion || isSame)) {
      const isNewer = subVersion > before.clientVersion;
      // An earlier member that repeats what it said does not undo what a later one wants.
      if (!isNewer && (subVersion < before.clientVersion || !isDead(before))) return false;
      before.clientVersion = subVersion;
      before.deadTime = 0;
      return true;
    }
    try {
      this.#expressions.get(expressionType, subString);
    } catch (error) {
      if (!(error instanceof MillraceError)) throw error;
      this.#o.log.warn({ group, topic, expression: subString, error: error.message }, "a consumer's filter is wrong");
      return before !== undefined && this.#byTopic.get(topic)!.delete(group);
    }
    const bloomFilterData = this.#bloom.dataOf(`${group}#${topic}`);
    const others = [...(this.#byTopic.get(topic)?.values() ?? [])].filter(({ consumerGroup }) => consumerGroup !== group);
    // Before it counts: what is stored after its birth must have been asked about it.
    const markedMs = this.#mark(topic, [...others, { expression: subString, expressionType, bloomFilterData }]);
    const filter: ConsumerFilter = {
      consumerGroup: group,
      topic,
      expression: subString,
      expressionType,
      bornTime: Math.max(this.#o.clock.now(), markedMs),
      deadTime: 0,
      bloomFilterData,
      clientVersion: subVersion,
    };
    this.#put(filter);
    this.#o.log.info({ group, topic, expression: subString }, "a consumer filters by an expression");
    return true;
  }

  #mark(topic: string, filters: Iterable<Pick<ConsumerFilter, "expression" | "expressionType" | "bloomFilterData">>): number {
    return this.#o.mark?.([markUpdate(topic, filters)]) ?? 0;
  }

  #put(filter: ConsumerFilter): void {
    const groups = this.#byTopic.get(filter.topic) ?? new Map<string, ConsumerFilter>();
    groups.set(filter.consumerGroup, filter);
    this.#byTopic.set(filter.topic, groups);
  }

  /** The group's last consumer has gone. */
  unregister(group: string): void {
    for (const filter of this.ofGroup(group)) if (!isDead(filter)) filter.deadTime = this.#o.clock.now();
  }

  /** Before any client is served. @throws MillraceError MILLRACE_STORE_CORRUPT when neither the file nor its backup can be read */
  load(): void {
    const stored = this.#o.file.read((text) => parseJson(text));
    const filters = entriesOf(memberOf(stored, "filterDataByTopic")).flatMap(([, byGroup]) =>
      entriesOf(memberOf(byGroup, "groupFilterData")).map(([, filter]) => filter),
    );
    for (const stored of filters) {
      const filter = storedFilter(stored);
      const isRight = filter !== undefined && this.#expressions.find(filter.expressionType, filter.expression) !== undefined;
      if (!isRight || !this.#bloom.isOurs(filter.bloomFilterData)) {
        this.#o.log.warn({ filter: writeJson(stored) }, "a consumer's filter cannot be used any more: left out");
        continue;
      }
      if (filter.deadTime === 0) filter.deadTime = Math.max(filter.bornTime, this.#o.clock.now() - DEAD_AT_LOAD_MS);
      this.#put(filter);
    }
    this.#o.mark?.([...this.#byTopic].map(([topic, groups]) => markUpdate(topic, groups.values())));
    this.#savedText = this.text();
  }

  /** As it stands in the file; what is dead for long goes. */
  text(): string {
    const now = this.#o.clock.now();
    const oldest = now - this.#o.settings.filterDataCleanTimeSpan;
    for (const [topic, groups] of this.#byTopic) {
      for (const [group, filter] of groups) if (isDead(filter) && filter.deadTime <= oldest) groups.delete(group);
      if (groups.size === 0) this.#byTopic.delete(topic);
    }
    const filterDataByTopic = new Map(
      [...this.#byTopic].map(([topic, groups]) => {
        const groupFilterData = new Map([...groups].map(([group, filter]) => [group, filterMembers(filter)]));
        return [topic, { groupFilterData, topic }];
      }),
    );
    return writeJson({ filterDataByTopic });
  }

  /** @throws MillraceError as ConfigFile */
  async save(): Promise<void> {
    const text = this.text();
    if (text === this.#savedText) return;
    await this.#o.file.saveLater(() => this.text());
    this.#savedText = text;
  }

  async close(): Promise<void> {
    this.#ticker.cancel();
    await this.save();
  }
}

function markUpdate(
  topic: string,
  filters: Iterable<Pick<ConsumerFilter, "expression" | "expressionType" | "bloomFilterData">>,
): TopicFiltersUpdate {
  const marks = [...filters].map(({ expression, expressionType, bloomFilterData: { bitPos, bitNum } }) => {
    return { expression, expressionType, bitPos, bitNum };
  });
  return { filtersOf: topic, filters: marks };
}

function isDead({ deadTime, bornTime }: ConsumerFilter): boolean {
  return deadTime >= bornTime;
}

/** The members in the order that Java writes. */
export function filterMembers(filter: ConsumerFilter): object {
  const { bitNum, bitPos } = filter.bloomFilterData;
  const { bornTime, clientVersion, consumerGroup, deadTime, expression, expressionType, topic } = filter;
  const dead = isDead(filter);
  return {
    bloomFilterData: { bitNum, bitPos },
    bornTime,
    clientVersion,
    consumerGroup,
    dead,
    deadTime,
    expression,
    expressionType,
    topic,
  };
}

function storedFilter(value: unknown): ConsumerFilter | undefined {
  const text = (name: string): string => {
    const member = memberOf(value, name);
    return typeof member === "string" ? member : "";
  };
  const number = (name: string): number => Number(memberOf(value, name) ?? 0);
  const bloom = memberOf(value, "bloomFilterData");
  const positions = memberOf(bloom, "bitPos");
  const filter: ConsumerFilter = {
    consumerGroup: text("consumerGroup"),
    topic: text("topic"),
    expression: text("expression"),
    expressionType: text("expressionType"),
    bornTime: number("bornTime"),
    deadTime: number("deadTime"),
    bloomFilterData: {
      bitPos: Array.isArray(positions) ? positions.map(Number) : [],
      bitNum: Number(memberOf(bloom, "bitNum") ?? 0),
    },
    clientVersion: number("clientVersion"),
  };
  return filter.topic === "" || filter.consumerGroup === "" ? undefined : filter;
}
