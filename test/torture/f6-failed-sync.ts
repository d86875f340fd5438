import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Command } from "../cli/command.ts";
import { driveModule, firedFaults, setFaults } from "./faulty-drive.ts";
import { createTopic, Ledger } from "./ledger.ts";
import { type Figures, must, type Scenario, type Torture } from "./scenario.ts";

const PRODUCER_COUNT = 32;
/** 100 on a machine that is not busy, which it is in the tests; the figure is printed. */
const NOT_READY_MS_MAX = 200;
const SLACK_MS_SHORT = 5000;
const EXIT_MS_MAX = 2000;
const FLUSH_DISK_TIMEOUT = 10;
const SERVICE_NOT_AVAILABLE = 14;
export const SIZES: readonly string[] = [
  "mappedFileSizeCommitLog=1048576",
  "mappedFileSizeConsumeQueue=20000",
  "maxHashSlotNum=1000",
  "maxIndexNum=4000",
];

export const scenario: Scenario = {
  id: "F6",
  title: "fdatasync fails with EIO: no ack after it, none tried again, clients answered, the process ends",
  async run(torture) {
    const totals = { rounds: 0, acknowledged: 0, answered: 0, "not ready ms": 0, "exit ms": 0, lost: 0 };
    do {
      const round = await failOnce(torture, totals.rounds++);
      totals.acknowledged += round.acked;
      totals.answered += round.answered;
      totals["not ready ms"] = Math.max(totals["not ready ms"], round.notReadyMs);
      totals["exit ms"] = Math.max(totals["exit ms"], round.exitMs);
    } while (torture.hasNext(totals.rounds, torture.isShort ? 1 : Number.POSITIVE_INFINITY));
    return totals satisfies Figures;
  },
};

async function failOnce({ drive, directory, random, isShort }: Torture, round: number) {
  const slackMs = isShort ? SLACK_MS_SHORT : 0;
  const store = join(directory, `store-${round}`);
  const control = join(directory, `faults-${round}.json`);
  const mode = round % 2 === 0 ? "SYNC_FLUSH" : "ASYNC_FLUSH";
  const broker = launch(store, driveModule(drive, control), [...SIZES, `flushDiskType=${mode}`, "flushIntervalCommitLog=50"]);
  const ledger = new Ledger();
  try {
    const [address, http] = await broker.ready;
    await createTopic(address);
    must((await fetch(`http://${http}/readyz`)).status === 200, "not ready before anything has failed");
    const producers = Array.from({ length: PRODUCER_COUNT }, () =>
      ledger.produce(address, random.between(100, 3000), () => true),
    );
    await sleep(random.between(300, 900));
    must(ledger.acked > 0, "nothing was acknowledged: the round proves nothing");
    setFaults(control, [{ call: "sync", path: "commitlog", action: "eio" }]);
    const notReadyAtMs = await untilNotReady(http);
    const code = await endOf(broker);
    const exitedAtMs = Date.now();
    await Promise.all(producers);
    const fired = firedFaults(control);
    must(fired.length === 1, `the failed fdatasync was tried ${fired.length} times`);
    const { atMs } = fired[0]!;
    const late = ledger.answers.filter(({ code: answer, sentMs }) => answer === 0 && sentMs > atMs);
    must(late.length === 0, `${late.length} sends were acknowledged that came after the failure`);
    const answered = ledger.countOf(FLUSH_DISK_TIMEOUT) + ledger.countOf(SERVICE_NOT_AVAILABLE);
    must(mode === "ASYNC_FLUSH" || answered > 0, "nobody who waited for the disk was answered");
    must(code !== 0 && code !== null, `the process ended with ${code}`);
    must(notReadyAtMs - atMs <= NOT_READY_MS_MAX + slackMs, `not ready only ${notReadyAtMs - atMs} ms after the failure`);
    must(exitedAtMs - atMs <= EXIT_MS_MAX + slackMs, `the process ended only ${exitedAtMs - atMs} ms after the failure`);
    await checkStore(store, drive === "native-free", ledger);
    return { acked: ledger.acked, answered, notReadyMs: notReadyAtMs - atMs, exitMs: exitedAtMs - atMs };
  } finally {
    broker.kill();
  }
}

/** @returns when /readyz no longer said 200, or nothing at all */
async function untilNotReady(http: string): Promise<number> {
  for (const deadline = Date.now() + 20_000; ; ) {
    must(Date.now() < deadline, "the broker still says that it is ready");
    try {
      const answer = await fetch(`http://${http}/readyz`);
      if (answer.status === 503) return Date.now();
    } catch {
      return Date.now(); // It has ended already.
    }
    await sleep(5);
  }
}

/** What was acknowledged is there when a broker without faults opens the store. */
export async function checkStore(store: string, isNativeFree: boolean, ledger: Ledger): Promise<number> {
  const sets = SIZES.flatMap((text) => ["--set", text]);
  const args = ["up", "--host", "127.0.0.1", "--port", "0", "--no-namesrv", "--store", store, ...sets];
  const broker = new Command(isNativeFree ? [...args, "--native-free"] : args);
  try {
    const [, address] = await broker.line(/^ready namesrv=\S+ broker=(\S+) pid=\d+$/m);
    return await ledger.check(address!);
  } finally {
    await broker.end("SIGTERM");
  }
}

/** Exit code of a broker that is about to end. */
export async function endOf({ ended }: FaultyBroker, limitMs = 20_000): Promise<number | null> {
  const timer = new AbortController();
  const late = sleep(limitMs, "late" as const, { signal: timer.signal }).catch(() => "late" as const);
  const code = await Promise.race([ended, late]);
  timer.abort();
  must(code !== "late", `the process has not ended within ${limitMs} ms`);
  return code;
}

export interface FaultyBroker {
  /** Addresses of the broker and of its HTTP listener. */
  ready: Promise<readonly [address: string, http: string]>;
  /** Exit code. */
  ended: Promise<number | null>;
  kill(signal?: NodeJS.Signals): void;
  rssBytes(): number;
}

/** Starts faulty-broker.ts. */
export function launch(store: string, module: string, sets: readonly string[], prefix: readonly string[] = []): FaultyBroker {
  const script = join(import.meta.dirname, "faulty-broker.ts");
  const command = [...prefix, process.execPath, script, store, module, "httpPort=0", ...sets];
  const child = spawn(command[0]!, command.slice(1), { stdio: ["ignore", "pipe", "pipe"] });
  const ended = once(child, "close").then(([code]) => code as number | null);
  let out = "";
  child.stderr.on("data", (chunk) => (out += chunk));
  const ready = new Promise<readonly [string, string]>((resolve, reject) => {
    child.stdout.on("data", (chunk) => {
      out += chunk;
      const found = /^ready namesrv=\S+ broker=(\S+) pid=\d+ http=(\S+)$/m.exec(out);
      if (found !== null) resolve([found[1]!, found[2]!]);
    });
    void ended.then((code) => reject(new Error(`the broker ended with ${code} before it was ready: ${out}`)));
  });
  return {
    ready,
    ended,
    kill: (signal = "SIGKILL") => void child.kill(signal),
    rssBytes: () => residentBytes(child.pid!),
  };
}

function residentBytes(pid: number): number {
  const found = /VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, "utf8"));
  return Number(found?.[1] ?? 0) * 1024;
}
