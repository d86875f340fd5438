import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openTarget } from "../load/target.ts";
import type { BenchResult } from "../micro/harness.ts";
import type { Peer } from "../peers/peer.ts";
import { makeTopic } from "../peers/topics.ts";
import { runWire, type WireResult } from "../wire/wire-load.ts";

/** Loads on a whole broker whose CPU is watched. */
const LOADS = [
  { name: "send 1 KiB, 8 × 64", size: 1024, batch: 1, connections: 8, depth: 64, isWhole: false },
  { name: "send 128 B, 8 × 64", size: 128, batch: 1, connections: 8, depth: 64, isWhole: false },
  { name: "send 128 B in batches of 32", size: 128, batch: 32, connections: 8, depth: 16, isWhole: false },
  { name: "send 100 B in whole batches of 128", size: 100, batch: 128, connections: 4, depth: 5, isWhole: true },
] as const;

export interface MeasureOptions {
  isSmoke: boolean;
  seconds: number;
  tell: (line: string) => void;
}

/** Watched figures of one run of everything: name -> [value, unit]. */
export type Measured = Map<string, [value: number, unit: string]>;

/** The micro benchmarks, each in a process of its own. */
export function measureMicro(into: Measured, words: readonly string[], isSmoke: boolean): void {
  const scratch = mkdtempSync(join(tmpdir(), "millrace-guard-"));
  try {
    const file = join(scratch, "micro.json");
    const all = join(import.meta.dirname, "../micro/all.ts");
    const args = [all, ...words, "--json", file, ...(isSmoke ? ["--smoke"] : [])];
    const { status, stderr } = spawnSync(process.execPath, args, { encoding: "utf8", stdio: ["ignore", "ignore", "pipe"] });
    if (status !== 0) throw new Error(`the micro benchmarks failed: ${stderr.slice(-1000)}`);
    const { results } = JSON.parse(readFileSync(file, "utf8")) as { results: BenchResult[] };
    for (const { title, tasks } of results) {
      for (const [name, { nanoseconds }] of Object.entries(tasks)) into.set(`${title}: ${name}`, [nanoseconds, "ns"]);
    }
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

/** CPU of the broker for each message, and its instructions where `perf` can count them. */
export async function measureLoads(into: Measured, { isSmoke, seconds, tell }: MeasureOptions): Promise<void> {
  const options = { against: undefined, pids: [], store: undefined, port: 0, namesrvPort: 0, isSmoke, brokerArgs: [] };
  const target = await openTarget(options);
  try {
    const port = Number(target.brokerAddress.split(":").at(-1));
    const peer: Peer = { name: "millrace", title: "Millrace", port, pids: target.pids, startMs: 0, stop: () => target.stop() };
    for (const [index, { name, size, batch, connections, depth, isWhole }] of LOADS.entries()) {
      const topic = `guard-${index}`;
      await makeTopic(peer, topic, 8, isWhole);
      const shape = { protocol: "remoting", topic, queues: 8, size, batch } as const;
      const job = { host: "127.0.0.1", port, shape, kind: "send", connections, depth, rate: 0 } as const;
      const warmup = isSmoke ? 0.1 : 1.5;
      const counter = isSmoke ? undefined : countInstructions(target.pids[0]!, warmup, seconds);
      const result = await runWire(job, target.pids, warmup, seconds);
      const isNothing = result.messagesPerSecond === 0 && !isSmoke;
      if (result.refused > 0 || isNothing) throw new Error(`${name}: ${result.refused} refused: ${result.refusal}`);
      into.set(`${name}: broker CPU`, [result.cpuMicrosPerMessage, "µs/msg"]);
      const instructions = await counter;
      if (instructions !== undefined) into.set(`${name}: instructions`, [perMessage(instructions, result), "/msg"]);
      tell(`  ${name}: ${result.cpuMicrosPerMessage} µs/msg, others used ${result.othersCores} cores`);
    }
  } finally {
    await target.stop();
  }
}

function perMessage(instructions: number, { messagesPerSecond, seconds }: WireResult): number {
  return Math.round(instructions / (messagesPerSecond * seconds));
}

/** Instructions of the process in a window that begins after `delay` seconds; undefined where perf is missing or not allowed. */
async function countInstructions(pid: number, delay: number, seconds: number): Promise<number | undefined> {
  const args = ["stat", "-x", ",", "-e", "instructions", "-D", String(Math.round(1000 * delay)), "-p", String(pid)];
  const perf = spawn("perf", [...args, "--", "sleep", String(delay + seconds)], { stdio: ["ignore", "ignore", "pipe"] });
  let said = "";
  perf.stderr.on("data", (chunk) => (said += chunk));
  const code = await new Promise<number | null>((resolve) => {
    perf.once("error", () => resolve(-1));
    perf.once("close", resolve);
  });
  const [, count] = /^(\d+),.*instructions/m.exec(said) ?? [];
  return code === 0 && count !== undefined ? Number(count) : undefined;
}
