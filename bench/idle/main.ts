// `npm run bench:idle`: what a broker with its name server costs while nothing happens, without clients and with some that
// wait. As started by `millrace up`, in a process of its own. bench/README.md says what the figures mean.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { Consumer, Producer } from "../../src/index.ts";
import { attempt, BUILT_MAIN, headline, parsed, positives, tell, writeJson } from "../command.ts";
import { openTarget } from "../load/target.ts";

const HELP = `npm run bench:idle -- [flags]          (of the program that "npm run build" made, if there is one)

  --settle N        seconds before each measurement (15)    --seconds N   of each (10)
  --clients N       producers, and as many consumers, that wait (4)
  --json FILE       --smoke   a moment
`;

const { values: flags } = parsed("bench:idle", HELP, {
  options: {
    settle: { type: "string" },
    seconds: { type: "string" },
    clients: { type: "string" },
    json: { type: "string" },
    smoke: { type: "boolean", default: false },
    help: { type: "boolean", short: "h", default: false },
  },
});
const usual = flags.smoke ? { settle: 0.001, seconds: 0.2 } : { settle: 15, seconds: 10 };
const { settle, seconds, clients: clientCount } = positives(flags, { ...usual, clients: 4 });

/** Memory in MiB, CPU in percent of a core, wake-ups (voluntary switches) a second by thread. */
interface Figures {
  rss: number;
  anonymous: number;
  files: number;
  cpu: number;
  wakeUps: Record<string, number>;
}

function statusOf(pid: number): { rss: number; anonymous: number; files: number } {
  const text = readFileSync(`/proc/${pid}/status`, "utf8");
  const of = (name: string): number =>
    Math.round(Number(new RegExp(`^${name}:\\s+(\\d+)`, "m").exec(text)?.[1] ?? 0) / 102.4) / 10;
  return { rss: of("VmRSS"), anonymous: of("RssAnon"), files: of("RssFile") };
}

/** By thread: its name, switches so far, and time on a core, ns. */
function threadsOf(pid: number): Map<string, { name: string; switches: number; ns: number }> {
  const found = new Map<string, { name: string; switches: number; ns: number }>();
  for (const task of readdirSync(`/proc/${pid}/task`)) {
    const base = `/proc/${pid}/task/${task}`;
    const [, switches] = /^voluntary_ctxt_switches:\s+(\d+)/m.exec(readFileSync(`${base}/status`, "utf8")) ?? [];
    const ns = Number(readFileSync(`${base}/schedstat`, "utf8").split(" ")[0]);
    found.set(task, { name: readFileSync(`${base}/comm`, "utf8").trim(), switches: Number(switches ?? 0), ns });
  }
  return found;
}

async function measure(pid: number): Promise<Figures> {
  await sleep(1000 * settle);
  const [before, startMs] = [threadsOf(pid), performance.now()];
  await sleep(seconds * 1000);
  const [after, spanS] = [threadsOf(pid), (performance.now() - startMs) / 1000];
  let ns = 0;
  const wakeUps: Record<string, number> = {};
  for (const [task, { name, switches, ns: used }] of after) {
    const first = before.get(task);
    ns += used - (first?.ns ?? 0);
    const each = (switches - (first?.switches ?? 0)) / spanS;
    if (each >= 0.5) wakeUps[name] = Math.round(10 * ((wakeUps[name] ?? 0) + each)) / 10;
  }
  return { ...statusOf(pid), cpu: Math.round(ns / spanS / 1e5) / 100, wakeUps };
}

await attempt(main);

async function main(): Promise<void> {
  const head = headline();
  const isBuilt = existsSync(BUILT_MAIN);
  const target = await openTarget({
    against: undefined,
    pids: [],
    store: undefined,
    port: 0,
    namesrvPort: 0,
    isSmoke: flags.smoke,
    brokerArgs: [],
    ...(isBuilt ? { main: BUILT_MAIN } : {}),
  });
  const clients: { close(): Promise<unknown> }[] = [];
  try {
    const pid = target.pids[0]!;
    const alone = await measure(pid);
    tell(isBuilt ? "built" : "from source", `alone: ${textOf(alone)}`);
    const { namesrvAddr } = target;
    for (let i = 0; i < clientCount; i++) {
      const producer = new Producer({ namesrvAddr, group: `idle-${i}` });
      await producer.start();
      await producer.send({ topic: "idle", body: Buffer.from("one") });
      const consumer = new Consumer({ namesrvAddr, group: `idle-readers-${i}` });
      consumer.subscribe("idle");
      await consumer.run(() => {});
      clients.push(consumer, producer);
    }
    const withClients = await measure(pid);
    tell(`${clientCount} producers and consumers, idle: ${textOf(withClients)}`);
    writeJson(flags.json, { ...head, isBuilt, results: { alone, withClients } });
  } finally {
    for (const client of clients) await client.close();
    await target.stop();
  }
}

function textOf({ rss, anonymous, files, cpu, wakeUps }: Figures): string {
  const threads = Object.entries(wakeUps).map(([name, count]) => `${name} ${count}`);
  return `${rss} MiB in memory (${anonymous} its own, ${files} of files), ${cpu} % of a core; wake-ups/s: ${threads.join(", ")}`;
}
