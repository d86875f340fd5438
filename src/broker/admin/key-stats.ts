import type { Clock, Timer } from "../../base/clock.ts";
import type { TopicLookup } from "../contracts.ts";
import type { MessageStore } from "../message-store.ts";
import type { Offsets } from "../offsets/offsets.ts";

export interface KeyStatsOptions {
  topics: TopicLookup;
  offsets: Offsets;
  store: MessageStore;
  clock: Clock;
}

/** One window of VIEW_BROKER_STATS_DATA. Source: Apache `BrokerStatsItem`. */
export interface StatsWindow {
  sum: number;
  /** A second. */
  tps: number;
  /** Value of one count. */
  avgpt: number;
}

/** Source: Apache `BrokerStatsData`. */
export interface StatsData {
  statsMinute: StatsWindow;
  statsHour: StatsWindow;
  statsDay: StatsWindow;
}

interface Sample {
  atMs: number;
  total: number;
}

const SAMPLE_MS = 10_000;
/** Samples between those of the hour and of the day: 10 minutes, 1 hour. */
const HOUR_EVERY = 60;
const DAY_EVERY = 360;
const MINUTE_SAMPLES = 7;
const HOUR_SAMPLES = 7;
const DAY_SAMPLES = 25;

class Item {
  total = 0;
  readonly minute: Sample[] = [];
  readonly hour: Sample[] = [];
  readonly day: Sample[] = [];
}

/**
 * What single topics and groups do: TOPIC_PUT_NUMS (key `topic`) and GROUP_GET_NUMS (key `topic@group`). Nothing is
 * counted per message: every 10 seconds we look how far queues and cells have come. What never moved is not kept.
 * Source: Apache `StatsItem`, `BrokerStatsManager`.
 */
export class KeyStats {
  readonly #o: KeyStatsOptions;
  readonly #items = new Map<string, Item>();
  /** Last seen: by topic the messages of all its queues, by offset cell what its group was served. */
  readonly #putsSeen = new Map<string, number>();
  readonly #servedSeen: number[] = [];
  readonly #ticker: Timer;
  #sampleCount = 0;

  constructor(options: KeyStatsOptions) {
    this.#o = options;
    this.#ticker = options.clock.setTicker(() => this.#tick(), SAMPLE_MS);
  }

  /** Takes the state at the start as what was there before. */
  load(): void {
    this.#look(() => {});
  }

  #look(add: (name: string, count: number) => void): void {
    const { topics, offsets, store } = this.#o;
    for (const { topicName, readQueueNums, writeQueueNums } of topics.all()) {
      let puts = 0;
      for (let queueId = Math.max(readQueueNums, writeQueueNums) - 1; queueId >= 0; queueId--)
        puts += store.appendedQueueOffset(topicName, queueId);
      const seen = this.#putsSeen.get(topicName) ?? 0;
      if (puts === seen) continue;
      this.#putsSeen.set(topicName, puts);
      if (puts > seen) add(`TOPIC_PUT_NUMS ${topicName}`, puts - seen);
    }
    offsets.eachServed((group, topic, cell, served) => {
      const seen = this.#servedSeen[cell] ?? 0;
      this.#servedSeen[cell] = served;
      if (served > seen) add(`GROUP_GET_NUMS ${topic}@${group}`, served - seen);
    });
  }

  #tick(): void {
    this.#look((name, count) => {
      let item = this.#items.get(name);
      if (item === undefined) {
        item = new Item();
        const before = { atMs: this.#o.clock.now() - SAMPLE_MS, total: 0 };
        for (const samples of [item.minute, item.hour, item.day]) samples.push(before);
        this.#items.set(name, item);
      }
      item.total += count;
    });
    this.#sampleCount++;
    const atMs = this.#o.clock.now();
    for (const { total, minute, hour, day } of this.#items.values()) {
      keep(minute, { atMs, total }, MINUTE_SAMPLES);
      if (this.#sampleCount % HOUR_EVERY === 0) keep(hour, { atMs, total }, HOUR_SAMPLES);
      if (this.#sampleCount % DAY_EVERY === 0) keep(day, { atMs, total }, DAY_SAMPLES);
    }
  }

  /** undefined: nothing was counted under that name and key. */
  view(name: string, key: string): StatsData | undefined {
    const item = this.#items.get(`${name} ${key}`);
    if (item === undefined) return undefined;
    const now = { atMs: this.#o.clock.now(), total: item.total };
    return {
      statsMinute: window([...item.minute]),
      statsHour: window([...item.hour, now]),
      statsDay: window([...item.day, now]),
    };
  }

  /** Messages a second of the last minute that the group got of the topic. */
  consumeTps(group: string, topic: string): number {
    return this.view("GROUP_GET_NUMS", `${topic}@${group}`)?.statsMinute.tps ?? 0;
  }

  close(): void {
    this.#ticker.cancel();
  }
}

function keep(samples: Sample[], sample: Sample, countMax: number): void {
  samples.push(sample);
  if (samples.length > countMax) samples.shift();
}

function window(samples: readonly Sample[]): StatsWindow {
  const first = samples[0]!;
  const last = samples.at(-1)!;
  const sum = last.total - first.total;
  const elapsedMs = last.atMs - first.atMs;
  return { sum, tps: elapsedMs <= 0 ? 0 : (sum * 1000) / elapsedMs, avgpt: sum === 0 ? 0 : 1 };
}
