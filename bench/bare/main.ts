// `npm run bench:bare`: what this machine's system calls cost, and Millrace beside programs that do nothing else: pulls beside
// writev and sendfile of a file in memory, sends beside receiving, writing to the page cache and answering. bench/README.md.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { attempt, headline, parsed, positives, scratchIn, tell, writeJson, wrongFlag } from "../command.ts";
import type { Peer } from "../peers/peer.ts";
import { startPeer } from "../peers/start-peers.ts";
import { makeTopic } from "../peers/topics.ts";
import { textTable } from "../report/html.ts";
import { spreadOf, spreadText } from "../report/median.ts";
import { runWire, type WireResult } from "../wire/wire-load.ts";
import { type Costs, costTable, measureCosts } from "./costs.ts";
import type { BareJob } from "./server.ts";

const HELP = `npm run bench:bare -- [flags]          (about 4 minutes; --quick 40 s)

  --cases a,b       costs, pull, pull-long, send-1k, send-128, sync-1k (all)
  --seconds N       of each measurement (3)     --warmup N   before it (1)     --rounds N   alternations (5)
  --directory DIR   for the files (the system's temporary directory)
  --json FILE       --quick   two rounds of 1 s     --smoke   a moment each
`;

const { values: flags } = parsed("bench:bare", HELP, {
  options: {
    cases: { type: "string", default: "costs,pull,pull-long,send-1k,send-128,sync-1k" },
    seconds: { type: "string" },
    warmup: { type: "string" },
    rounds: { type: "string" },
    directory: { type: "string", default: tmpdir() },
    json: { type: "string" },
    quick: { type: "boolean", default: false },
    smoke: { type: "boolean", default: false },
    help: { type: "boolean", short: "h", default: false },
  },
});

type Contender = "millrace" | BareJob["kind"];

interface Case {
  name: string;
  title: string;
  contenders: readonly Contender[];
  /** Of a body. */
  size: number;
  /** Messages that are sent together: they lie side by side in the log. */
  batch: number;
  /** Of a pull. */
  records: number;
  job: Load;
}

interface Load {
  kind: "send" | "read";
  connections: number;
  depth: number;
}

const QUEUES = 8;
/** Share of the bare programs' bytes a second that a pull shall reach. */
const PULL_SHARE_MIN = 0.7;
const PULL = { kind: "read", connections: 4, depth: 1 } as const;
const CASES: readonly Case[] = [
  {
    name: "pull",
    title: "pull 1 KiB, 4 connections, 32 a pull, the queues' records in turn in the log",
    contenders: ["millrace", "writev"],
    size: 1024,
    batch: 1,
    records: 32,
    job: PULL,
  },
  {
    name: "pull-long",
    title: "pull 1 KiB, 4 connections, 200 a pull, side by side in the log",
    contenders: ["millrace", "sendfile"],
    size: 1024,
    batch: 500,
    records: 200,
    job: PULL,
  },
  ...[
    { name: "send-1k", title: "send 1 KiB, 8 × 64", size: 1024, connections: 8, depth: 64 },
    { name: "send-128", title: "send 128 B, 8 × 64", size: 128, connections: 8, depth: 64 },
    { name: "sync-1k", title: "send 1 KiB, one connection, one in flight", size: 1024, connections: 1, depth: 1 },
  ].map(({ name, title, size, connections, depth }) => ({
    name,
    title,
    size,
    batch: 1,
    records: 0,
    contenders: ["millrace", "store"] as const,
    job: { kind: "send" as const, connections, depth },
  })),
];
/** Pulls of 200 of 1 KiB. */
const SETTINGS = ["maxTransferCountOnMessageInMemory=200", "maxTransferBytesOnMessageInMemory=524288"];

interface Run {
  case: string;
  contender: Contender;
  round: number;
  result: WireResult;
}

await attempt(main);

async function main(): Promise<void> {
  const usual = flags.smoke ? { seconds: 0.3, warmup: 0.1, rounds: 1 } : { seconds: 3, warmup: 1, rounds: 5 };
  const short = flags.quick ? { seconds: 1, warmup: 0.5, rounds: 2 } : usual;
  const { seconds, rounds } = positives(flags, { seconds: short.seconds, rounds: short.rounds });
  const warmup = Number(flags.warmup ?? short.warmup);
  if (!(warmup >= 0)) wrongFlag(`--warmup ${flags.warmup}: must be a number`);
  const names = flags.cases.split(",");
  const known = ["costs", ...CASES.map(({ name }) => name)];
  for (const name of names) if (!known.includes(name)) wrongFlag(`--cases ${name}: must be one of ${known.join(", ")}`);
  const head = headline();
  const scratch = scratchIn(flags.directory);
  const costs: Costs[] = [];
  const runs: Run[] = [];
  const cases = CASES.filter(({ name }) => names.includes(name));
  if (names.includes("costs")) {
    for (let round = 0; round < rounds; round++) costs.push(measureCosts(scratch, flags.smoke));
    tell("", "bare costs", textTable(costTable(costs)));
  }
  if (cases.length > 0) {
    const broker = await startPeer("millrace", { scratch, heap: "", isSmoke: flags.smoke, settings: SETTINGS });
    try {
      for (const one of cases) {
        await makeTopic(broker, topicOf(one), QUEUES, false);
        // What is pulled, and a broker that is warm.
        const fill = { ...one, job: { kind: "send", connections: 8, depth: Math.ceil(64 / one.batch) } } as const;
        await load(broker.port, broker.pids, fill, warmup, seconds);
        if (one.job.kind === "read") await load(broker.port, broker.pids, one, 0, warmup);
      }
      for (let round = 1; round <= rounds; round++) {
        for (const one of cases) await alternate(broker, one, round, { scratch, warmup, seconds }, runs);
        if (rounds > 1) tell(`round ${round} of ${rounds}`);
      }
    } finally {
      await broker.stop();
    }
  }
  for (const one of cases) tell("", one.title, textTable(tableOf(one, runs)));
  writeJson(flags.json, { ...head, costs, runs });
  verdict(cases, runs);
}

function topicOf({ size, batch }: Case): string {
  return `bare-${size}-${batch}`;
}

async function alternate(
  broker: Peer,
  one: Case,
  round: number,
  { scratch, warmup, seconds }: { scratch: string; warmup: number; seconds: number },
  runs: Run[],
): Promise<void> {
  const { name, contenders, records, job } = one;
  // The bare programs answer as many bytes as Millrace does, which is measured first.
  const order = round % 2 === 1 ? contenders : contenders.toReversed();
  for (const contender of order) {
    let result: WireResult;
    if (contender === "millrace") {
      result = await load(broker.port, broker.pids, one, warmup, seconds);
      if (result.refused > 0) tell(`${name}: ${result.refused} refused: ${result.refusal}`);
    } else {
      const recordSize = recordSizeOf(runs, one);
      const bareJob = { kind: contender, connections: job.connections, directory: scratch, records, recordSize };
      const { child, port } = await startBare(bareJob);
      result = await load(port, [child.pid!], one, warmup, seconds);
      if (child.exitCode === null) await Promise.race([once(child, "exit"), sleep(5000).then(() => child.kill("SIGKILL"))]);
      if (job.kind === "read") result = countedByBytes(result, recordSize);
    }
    runs.push({ case: name, contender, round, result });
  }
}

function recordSizeOf(runs: readonly Run[], { name, size, job }: Case): number {
  if (job.kind === "send") return size;
  const { result } = runs.find((run) => run.case === name && run.contender === "millrace")!;
  return Math.round((1e6 * result.megabytesPerSecond) / result.messagesPerSecond);
}

/** The bare programs do not count messages. */
function countedByBytes(result: WireResult, recordSize: number): WireResult {
  const messagesPerSecond = (1e6 * result.megabytesPerSecond) / recordSize;
  return {
    ...result,
    messagesPerSecond: Math.round(messagesPerSecond),
    cpuMicrosPerMessage: (result.cpuSecondsPerGigabyte * recordSize) / 1000,
  };
}

function load(port: number, pids: readonly number[], one: Case, warmup: number, seconds: number): Promise<WireResult> {
  const { size, job, records } = one;
  const batch = job.kind === "send" ? one.batch : 1;
  const shape = { protocol: "remoting", topic: topicOf(one), queues: QUEUES, size, batch, countMax: records } as const;
  return runWire({ host: "127.0.0.1", port, shape, ...job, rate: 0 }, pids, warmup, seconds);
}

async function startBare(job: BareJob): Promise<{ child: ChildProcess; port: number }> {
  const child = spawn(process.execPath, [join(import.meta.dirname, "server.ts"), JSON.stringify(job)], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  process.once("exit", () => child.kill("SIGKILL"));
  const ended = once(child, "exit").then(() => Promise.reject(new Error(`the bare ${job.kind} program has ended`)));
  ended.catch(() => {});
  const [chunk] = (await Promise.race([once(child.stdout, "data"), ended])) as [Buffer];
  return { child, port: Number(/^port (\d+)/.exec(String(chunk))![1]) };
}

function valuesOf(runs: readonly Run[], name: string, contender: Contender, of: (result: WireResult) => number): number[] {
  return runs.filter((run) => run.case === name && run.contender === contender).map(({ result }) => of(result));
}

function tableOf({ name, contenders }: Case, runs: readonly Run[]) {
  const figures: [string, (result: WireResult) => number][] = [
    ["msg/s", ({ messagesPerSecond }) => messagesPerSecond],
    ["MB/s", ({ megabytesPerSecond }) => megabytesPerSecond],
    ["CPU-µs/msg", ({ cpuMicrosPerMessage }) => cpuMicrosPerMessage],
    ["CPU-s/GB", ({ cpuSecondsPerGigabyte }) => cpuSecondsPerGigabyte],
    ["p50 ms", ({ p50 }) => p50],
    ["others, cores", ({ othersCores }) => othersCores],
  ];
  const rows = contenders.map((contender) => [
    contender === "millrace" ? contender : `bare ${contender}`,
    ...figures.map(([, of]) => spreadText(spreadOf(valuesOf(runs, name, contender, of)))),
  ]);
  for (const contender of contenders.slice(1)) {
    const ratios = figures.slice(0, 5).map(([, of]) => {
      const theirs = valuesOf(runs, name, contender, of);
      return spreadText(spreadOf(valuesOf(runs, name, "millrace", of).map((value, i) => value / theirs[i]!)));
    });
    rows.push([`Millrace / ${contender}`, ...ratios, ""]);
  }
  return { head: ["", ...figures.map(([title]) => title)], rows };
}

/** Code 1 where pulls bring too little beside the bare program. */
function verdict(cases: readonly Case[], runs: readonly Run[]): void {
  for (const { name, contenders, job } of cases) {
    if (job.kind !== "read") continue;
    const of = ({ megabytesPerSecond }: WireResult): number => megabytesPerSecond;
    const theirs = valuesOf(runs, name, contenders[1]!, of);
    const share = spreadOf(valuesOf(runs, name, "millrace", of).map((value, i) => value / theirs[i]!))!.median;
    const isReached = share >= PULL_SHARE_MIN;
    tell(`${name}: ${(100 * share).toFixed(0)} % of bare ${contenders[1]}'s bytes/s; at least 70 %: ${isReached ? "yes" : "NO"}`);
    if (!isReached && !flags.smoke) process.exitCode = 1;
  }
}
