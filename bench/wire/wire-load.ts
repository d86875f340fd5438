import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { Worker } from "node:worker_threads";
import { type Usage, UsageWindow } from "../load/usage.ts";
import type { WireCommand, WireJob, WireMark } from "./wire-thread.ts";

/** One measured window. Rates by the second, CPU in µs, memory and throughput in 10^6 bytes. */
export interface WireResult {
  seconds: number;
  messagesPerSecond: number;
  megabytesPerSecond: number;
  /** Broker's CPU by message, and by 10^9 bytes of bodies (of a read: of records). */
  cpuMicrosPerMessage: number;
  cpuSecondsPerGigabyte: number;
  /** User and system time of it, s. */
  cpuUser: number;
  cpuSystem: number;
  anonMb: number;
  p50: number;
  p99: number;
  p999: number;
  max: number;
  lateness: number;
  refused: number;
  refusal: string;
  /** CPU that belonged to neither broker nor generator, cores. */
  othersCores: number;
}

/** A generator in a thread of its own, from its first request on. */
export class WireLoad {
  readonly #worker: Worker;
  readonly #failed: Promise<never>;

  private constructor(worker: Worker) {
    this.#worker = worker;
    this.#failed = once(worker, "error").then(([error]) => Promise.reject(error as Error));
    this.#failed.catch(() => {}); // Whoever waits for something of the worker's races with it.
  }

  /** @throws Error when nobody listens there */
  static async start(job: WireJob): Promise<WireLoad> {
    const load = new WireLoad(new Worker(new URL("wire-thread.ts", import.meta.url), { workerData: job }));
    await load.#next();
    return load;
  }

  async #next(): Promise<unknown> {
    return (await Promise.race([once(this.#worker, "message"), this.#failed]))[0];
  }

  /** @throws Error when the broker hangs up */
  async ask(what: "mark" | "stop" | "drain"): Promise<WireMark> {
    this.#worker.postMessage(what satisfies WireCommand);
    return (await this.#next()) as WireMark;
  }

  tell(what: "pause" | "resume"): void {
    this.#worker.postMessage(what satisfies WireCommand);
  }

  /** @throws Error when the broker hangs up */
  async lasts(ms: number): Promise<void> {
    await Promise.race([sleep(ms), this.#failed]);
  }

  async end(): Promise<void> {
    await this.#worker.terminate();
  }
}

/** Throws the load for `warmup` + `seconds`, and measures the latter. @throws Error when the broker hangs up */
export async function runWire(job: WireJob, pids: readonly number[], warmup: number, seconds: number): Promise<WireResult> {
  const load = await WireLoad.start(job);
  try {
    await load.lasts(1000 * warmup);
    await load.ask("mark");
    const window = new UsageWindow(pids);
    await load.lasts(1000 * seconds);
    return resultOf(await load.ask("stop"), window.close());
  } finally {
    await load.end();
  }
}

/** Of a window that began and ended with the mark. */
export function resultOf(mark: WireMark, usage: Usage): WireResult {
  const { seconds, cpu } = usage;
  return {
    seconds,
    messagesPerSecond: Math.round(mark.messages / seconds),
    megabytesPerSecond: round(mark.bytes / 1e6 / seconds),
    cpuMicrosPerMessage: round((1e6 * cpu) / Math.max(1, mark.messages)),
    cpuSecondsPerGigabyte: round(cpu / Math.max(1e-9, mark.bytes / 1e9)),
    cpuUser: usage.user,
    cpuSystem: usage.system,
    anonMb: usage.anonMb,
    p50: mark.p50,
    p99: mark.p99,
    p999: mark.p999,
    max: mark.max,
    lateness: mark.lateness,
    refused: mark.refused,
    refusal: mark.refusal.slice(0, 300),
    othersCores: round(usage.othersCpu / seconds),
  };
}

function round(value: number): number {
  return Math.round(value * 1000) / 1000;
}
