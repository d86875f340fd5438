import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { Worker } from "node:worker_threads";
import { UsageWindow } from "../load/usage.ts";
import type { WireJob, WireMark } from "./wire-thread.ts";

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

/** Throws the load for `warmup` + `seconds`, and measures the latter. @throws Error when the broker hangs up */
export async function runWire(job: WireJob, pids: readonly number[], warmup: number, seconds: number): Promise<WireResult> {
  const worker = new Worker(new URL("wire-thread.ts", import.meta.url), { workerData: job });
  const failed = once(worker, "error").then(([error]) => Promise.reject(error as Error));
  failed.catch(() => {}); // Whoever waits for something of the worker's races with it.
  const next = async (): Promise<unknown> => (await Promise.race([once(worker, "message"), failed]))[0];
  try {
    await next();
    await Promise.race([sleep(1000 * warmup), failed]);
    worker.postMessage("mark");
    await next();
    const window = new UsageWindow(pids);
    await Promise.race([sleep(1000 * seconds), failed]);
    worker.postMessage("stop");
    const mark = (await next()) as WireMark;
    return resultOf(mark, window.close());
  } finally {
    await worker.terminate();
  }
}

function resultOf(mark: WireMark, usage: ReturnType<UsageWindow["close"]>): WireResult {
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
