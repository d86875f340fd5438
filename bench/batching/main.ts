// `npm run bench:batching`: our producer's accumulator against single sends, over sizes and linger times; whole batches as one
// record against a record a message. Each point is a run of bench/load. bench/README.md says what the figures mean.
import { spawnSync } from "node:child_process";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { attempt, breathe, headline, parsed, positives, scratchIn, wrongFlag } from "../command.ts";
import type { CaseResult } from "../load/case-run.ts";
import { htmlReport, type Plot, type Table, textTable } from "../report/html.ts";
import { shortly } from "../report/median.ts";

/** One way to send. */
interface Way {
  name: string;
  args: readonly string[];
}

interface Point {
  way: string;
  size: number;
  messagesPerSecond: number;
  brokerMicros: number;
  clientMicros: number;
  p50: number | undefined;
  p99: number | undefined;
}

const HELP = `npm run bench:batching -- [flags]

  --sizes a,b       bytes of a body (64,256,1024,4096,16384,65536)     --lingers a,b   ms (0,1,5,20)
  --seconds N       window of each point (2)                           --rate N        messages/s of the latency runs (2000)
  --json FILE --html FILE       --quick   three sizes, two lingers     --smoke   one point a way, a moment each
`;

const { values: flags } = parsed("bench:batching", HELP, {
  options: {
    sizes: { type: "string" },
    lingers: { type: "string" },
    seconds: { type: "string" },
    rate: { type: "string" },
    json: { type: "string" },
    html: { type: "string" },
    quick: { type: "boolean", default: false },
    smoke: { type: "boolean", default: false },
    help: { type: "boolean", short: "h", default: false },
  },
});
await attempt(run);

function numbers(text: string | undefined, usual: readonly number[]): number[] {
  return text === undefined ? [...usual] : text.split(",").map(Number);
}

async function run(): Promise<void> {
  const { smoke, quick } = flags;
  const sizes = numbers(flags.sizes, smoke ? [1024] : quick ? [64, 1024, 16_384] : [64, 256, 1024, 4096, 16_384, 65_536]);
  const lingers = numbers(flags.lingers, smoke ? [5] : quick ? [0, 5] : [0, 1, 5, 20]);
  const ways: Way[] = [
    { name: "single", args: [] },
    ...lingers.map((linger) => ({ name: `linger ${linger} ms`, args: ["--linger", String(linger)] })),
    { name: "linger 5 ms, whole", args: ["--linger", "5", "--whole"] },
    { name: "linger 5 ms, whole, lz4", args: ["--linger", "5", "--whole", "--compression", "lz4"] },
  ];
  const chosen = smoke ? [ways[0]!, ways.at(-1)!] : ways;
  const plan = positives(flags, { seconds: 2, rate: 2000 });
  if (!sizes.every((size) => size > 0)) wrongFlag(`--sizes ${flags.sizes}: must be numbers above 0`);
  if (!lingers.every((linger) => linger >= 0)) wrongFlag(`--lingers ${flags.lingers}: must be numbers`);
  const head = headline();
  const points: Point[] = [];
  for (const size of sizes) {
    for (const way of chosen) {
      points.push(measure(way, size, plan));
      await breathe();
    }
  }
  const table = tableOf(points);
  process.stdout.write(`${textTable(table)}\n`);
  const { json: _json, html: _html, ...settings } = flags;
  const data = { ...head, settings, points };
  if (flags.json !== undefined) writeFileSync(flags.json, `${JSON.stringify(data, undefined, 1)}\n`);
  if (flags.html === undefined) return;
  const plot = (title: string, yTitle: string, value: (point: Point) => number | undefined): Plot => ({
    kind: "line",
    title,
    x: sizes.map(String),
    xTitle: "bytes of a body",
    yTitle,
    isLogarithmic: true,
    series: ways.map(({ name }) => ({
      label: name,
      values: sizes.map((size) => {
        const point = points.find((candidate) => candidate.way === name && candidate.size === size);
        return point === undefined ? undefined : value(point);
      }),
    })),
  });
  const plots = [
    plot("Throughput, closed loop", "msg/s", ({ messagesPerSecond }) => messagesPerSecond),
    plot("CPU of the broker, closed loop", "µs a message", ({ brokerMicros }) => brokerMicros),
    plot("CPU of the clients, closed loop", "µs a message", ({ clientMicros }) => clientMicros),
    plot(`Latency to the consumer at ${plan.rate} msg/s, p50`, "ms", ({ p50 }) => p50),
    plot(`Latency to the consumer at ${plan.rate} msg/s, p99`, "ms", ({ p99 }) => p99),
  ];
  const text = ["Batches of up to 16 KiB (256 KiB for bodies of 16 KiB and more). Latencies count from when a message was due."];
  const subtitle = `${head.date}, commit ${head.commit}, ${head.cpu}, ${head.cores} cores`;
  writeFileSync(
    flags.html,
    htmlReport("Batching against single sends", subtitle, [{ heading: "All", text, plots, table }], data),
  );
}

function measure({ name, args }: Way, size: number, plan: { seconds: number; rate: number }): Point {
  const cases = name === "single" ? "send,flow" : "send-batch,flow-batch";
  const scratch = scratchIn(tmpdir());
  try {
    const json = join(scratch, "result.json");
    const window = flags.smoke ? ["--smoke"] : ["--seconds", String(plan.seconds), "--warmup", "1"];
    const batchSize = size >= 16_384 ? "262144" : "16384";
    const load = [join(import.meta.dirname, "../load/main.ts"), "--cases", cases, "--size", String(size)];
    const more = [
      ...args,
      "--batch-size",
      batchSize,
      "--rate",
      flags.smoke ? "200" : String(plan.rate),
      "--json",
      json,
      ...window,
    ];
    const { status, stderr } = spawnSync(process.execPath, [...load, ...more], { encoding: "utf8" });
    if (status !== 0) throw new Error(`${name}, ${size} bytes: ${stderr.slice(-1000)}`);
    const { cases: results } = JSON.parse(readFileSync(json, "utf8")) as { cases: CaseResult[] };
    const [closed, flow] = results as [CaseResult, CaseResult];
    const micros = (cpu: number): number => Math.round((1e9 * cpu) / Math.max(1, closed.messages)) / 1000;
    return {
      way: name,
      size,
      messagesPerSecond: Math.round(closed.messages / closed.usage.seconds),
      brokerMicros: micros(closed.usage.cpu),
      clientMicros: micros(closed.usage.clientCpu),
      p50: flow.deliveryMs?.p50,
      p99: flow.deliveryMs?.p99,
    };
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

function tableOf(points: readonly Point[]): Table {
  const text = (value: number | undefined): string => (value === undefined ? "–" : shortly(value));
  return {
    head: ["", "bytes", "msg/s", "MB/s", "broker µs", "client µs", "p50 ms", "p99 ms"],
    rows: points.map(({ way, size, messagesPerSecond, brokerMicros, clientMicros, p50, p99 }) => [
      way,
      String(size),
      text(messagesPerSecond),
      text((messagesPerSecond * size) / 1e6),
      text(brokerMicros),
      text(clientMicros),
      text(p50),
      text(p99),
    ]),
  };
}
