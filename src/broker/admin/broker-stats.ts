import type { Clock, Timer } from "../../base/clock.ts";
import type { TopicLookup } from "../contracts.ts";
import type { MessageStore } from "../message-store.ts";
import type { KeyStats, StatsData, StatsWindow } from "./key-stats.ts";

export interface BrokerStatsOptions {
  topics: TopicLookup;
  store: MessageStore;
  /** What has been done since the start. */
  served: () => ServedTotals;
  keys: Pick<KeyStats, "view">;
  clock: Clock;
}

export interface ServedTotals {
  /** Messages that were stored, their bytes in the log, and messages that the store has refused. */
  puts: number;
  putBytes: number;
  putsFailed: number;
  /** Messages and their bytes that pulls were answered with. */
  messages: number;
  bytes: number;
  pullsFound: number;
  pullsEmpty: number;
}

interface Sample extends ServedTotals {
  atMs: number;
}

const SAMPLE_MS = 1000;
/** One more than the longest window, 600 s. */
const SAMPLES_MAX = 601;
const WINDOWS_S = [10, 60, 600] as const;

/** Rates of the broker, from totals sampled once a second. Source: Apache `StoreStatsService`. */
export class BrokerStats {
  readonly #o: BrokerStatsOptions;
  readonly #samples: Sample[] = [];
  readonly #ticker: Timer;
  #dayStartMs = 0;
  #today: Sample;
  #yesterday: Sample;

  constructor(options: BrokerStatsOptions) {
    this.#o = options;
    this.#today = this.#sample();
    this.#yesterday = this.#today;
    this.#dayStartMs = dayStart(this.#today.atMs);
    this.#samples.push(this.#today);
    this.#ticker = options.clock.setTicker(() => this.#tick(), SAMPLE_MS);
  }

  #sample(): Sample {
    return { atMs: this.#o.clock.now(), ...this.#o.served() };
  }

  #tick(): void {
    const sample = this.#sample();
    this.#samples.push(sample);
    if (this.#samples.length > SAMPLES_MAX) this.#samples.shift();
    if (dayStart(sample.atMs) !== this.#dayStartMs) {
      this.#dayStartMs = dayStart(sample.atMs);
      this.#yesterday = this.#today;
      this.#today = sample;
    }
  }

  /** Per second over 10, 60 and 600 s, separated by blanks. */
  #rates(of: (sample: Sample) => number): string {
    const last = this.#samples.at(-1)!;
    return WINDOWS_S.map((seconds) => {
      const first = this.#samples[Math.max(0, this.#samples.length - 1 - seconds)]!;
      const elapsedMs = last.atMs - first.atMs;
      return elapsedMs <= 0 ? "0.0" : String(((of(last) - of(first)) * 1000) / elapsedMs);
    }).join(" ");
  }

  /** The figures that GET_BROKER_RUNTIME_INFO shows under RocketMQ's names. */
  runtimeInfo(): Record<string, string> {
    const now = this.#sample();
    return {
      putTps: this.#rates(({ puts }) => puts),
      getFoundTps: this.#rates(({ pullsFound }) => pullsFound),
      getMissTps: this.#rates(({ pullsEmpty }) => pullsEmpty),
      getTotalTps: this.#rates(({ pullsFound, pullsEmpty }) => pullsFound + pullsEmpty),
      getTransferredTps: this.#rates(({ messages }) => messages),
      getTransferedTps: this.#rates(({ messages }) => messages), // The older spelling, which consoles still read.
      putMessageTimesTotal: String(now.puts),
      putMessageSizeTotal: String(now.putBytes),
      putMessageAverageSize: String(now.puts === 0 ? 0 : now.putBytes / now.puts),
      putMessageFailedTimes: String(now.putsFailed),
      msgPutTotalYesterdayMorning: String(this.#yesterday.puts),
      msgPutTotalTodayMorning: String(this.#today.puts),
      msgPutTotalTodayNow: String(now.puts),
      msgGetTotalYesterdayMorning: String(this.#yesterday.messages),
      msgGetTotalTodayMorning: String(this.#today.messages),
      msgGetTotalTodayNow: String(now.messages),
    };
  }

  /** Store time of the oldest message of the log, ms; -1 where it is empty. */
  earliestMessageTimestamp(): number {
    const { store, topics } = this.#o;
    let earliest = -1;
    for (const { topicName, readQueueNums } of topics.all()) {
      for (let queueId = 0; queueId < readQueueNums; queueId++) {
        if (store.maxQueueOffset(topicName, queueId) === 0) continue;
        const timestamp = store.storeTimestamp(topicName, queueId, store.minQueueOffset(topicName, queueId));
        if (timestamp >= 0 && (earliest < 0 || timestamp < earliest)) earliest = timestamp;
      }
    }
    return earliest;
  }

  /** VIEW_BROKER_STATS_DATA: the broker's own totals, and those of topics and groups; undefined for what is not counted. */
  view(name: string, key: string): StatsData | undefined {
    const of =
      name === "BROKER_PUT_NUMS"
        ? (sample: Sample) => sample.puts
        : name === "BROKER_GET_NUMS"
          ? (sample: Sample) => sample.messages
          : undefined;
    if (of === undefined) return this.#o.keys.view(name, key);
    const window = (seconds: number): StatsWindow => {
      const last = this.#samples.at(-1)!;
      const first = this.#samples[Math.max(0, this.#samples.length - 1 - seconds)]!;
      const sum = of(last) - of(first);
      const elapsedS = Math.max(1, (last.atMs - first.atMs) / 1000);
      return { avgpt: 0, sum, tps: sum / elapsedS };
    };
    return {
      statsDay: { avgpt: 0, sum: of(this.#samples.at(-1)!) - of(this.#today), tps: 0 },
      statsHour: window(600),
      statsMinute: window(60),
    };
  }

  close(): void {
    this.#ticker.cancel();
  }
}

function dayStart(ms: number): number {
  const date = new Date(ms);
  return new Date(date.getFullYear(), date.getMonth(), date.getDate()).getTime();
}
