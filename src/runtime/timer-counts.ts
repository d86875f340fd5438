import type { Clock } from "../base/clock.ts";
import { ConfigFile } from "../broker/config-file.ts";
import type { Log } from "../observe/log.ts";

/** Shortest time between two saves, ms. */
const SAVE_MS = 10_000;

/**
 * How many messages wait in the timer, by topic; kept over restarts in config/timermetrics, in Apache's form. After a kill it
 * may be off by what came and went since the last save: the timer log does not name topics. Control thread only.
 * Source: Apache `TimerMetrics`.
 */
export class TimerCounts {
  readonly counts: Map<string, { count: number; timeStamp: number }> = new Map();
  readonly #file: ConfigFile;
  readonly #clock: Clock;
  readonly #log: Log;
  #version = 0;
  #savedMs = 0;
  #isChanged = false;

  constructor(path: string, clock: Clock, log: Log) {
    this.#file = new ConfigFile(path);
    this.#clock = clock;
    this.#log = log;
    try {
      this.#file.read((text) => this.#decode(JSON.parse(text)));
    } catch (error) {
      log.warn({ reason: String(error) }, "timermetrics is not readable: waiting messages are counted from zero");
      this.counts.clear();
    }
  }

  /** @param waiting all that wait: none means none of any topic */
  change(changes: ReadonlyMap<string, number>, waiting: number): void {
    if (changes.size === 0) return;
    const timeStamp = this.#clock.now();
    for (const [topic, change] of changes) {
      this.counts.set(topic, { count: Math.max(0, (this.counts.get(topic)?.count ?? 0) + change), timeStamp });
    }
    if (waiting === 0) for (const entry of this.counts.values()) entry.count = 0;
    this.#version++;
    this.#isChanged = true;
    if (Math.abs(timeStamp - this.#savedMs) >= SAVE_MS) this.save();
  }

  /** Does nothing when nothing has changed. A failed save is told, and tried again with the next change. */
  save(): void {
    if (!this.#isChanged) return;
    this.#savedMs = this.#clock.now();
    this.#isChanged = false;
    this.#file.saveLater(() => this.#encode()).catch((error: unknown) => this.#onFailed(error));
  }

  close(): void {
    if (!this.#isChanged) return;
    this.#isChanged = false;
    try {
      this.#file.save(this.#encode());
    } catch (error) {
      this.#onFailed(error);
    }
  }

  #onFailed(error: unknown): void {
    this.#isChanged = true;
    this.#log.warn({ reason: String(error) }, "timermetrics was not saved");
  }

  #encode(): string {
    const dataVersion = { counter: this.#version, stateVersion: 0, timestamp: this.#clock.now() };
    return JSON.stringify({ dataVersion, timingCount: Object.fromEntries(this.counts) });
  }

  #decode(value: unknown): void {
    const { timingCount, dataVersion } = value as { timingCount?: object; dataVersion?: { counter?: unknown } };
    if (Number.isSafeInteger(dataVersion?.counter)) this.#version = dataVersion!.counter as number;
    for (const [topic, entry] of Object.entries(timingCount ?? {})) {
      const { count, timeStamp } = entry as { count?: unknown; timeStamp?: unknown };
      if (!Number.isSafeInteger(count) || !Number.isSafeInteger(timeStamp)) throw new Error(`the count of ${topic}`);
      this.counts.set(topic, { count: Math.max(0, count as number), timeStamp: timeStamp as number });
    }
  }
}
