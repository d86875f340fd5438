// `npm run bench:idle`: what a broker with its name server costs while nothing happens, without clients and with some that
// wait. As started by `millrace up`, in a process of its own. bench/README.md says what the figures mean.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { Consumer, Producer } from "../../src/index.ts";
import { openTarget } from "../load/target.ts";
import { provenance } from "../machine.ts";

const { values: flags } = parseArgs({
  options: {
    settle: { type: "string", default: "15" },
    seconds: { type: "string", default: "10" },
    clients: { type: "string", default: "4" },
    json: { type: "boolean", default: false },
    smoke: { type: "boolean", default: false },
  },
});
const settleMs = flags.smoke ? 0 : Number(flags.settle) * 1000;
const seconds = flags.smoke ? 0.2 : Number(flags.seconds);
const BUILT = join(import.meta.dirname, "../../dist/src/cli/main.js");

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
  await sleep(settleMs);
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

const target = await openTarget({
  against: undefined,
  pids: [],
  store: undefined,
  port: 0,
  namesrvPort: 0,
  isSmoke: flags.smoke,
  brokerArgs: [],
  ...(existsSync(BUILT) ? { main: BUILT } : {}),
});
const clients: { close(): Promise<unknown> }[] = [];
try {
  const pid = target.pids[0]!;
  const alone = await measure(pid);
  const { namesrvAddr } = target;
  for (let i = 0; i < Number(flags.clients); i++) {
    const producer = new Producer({ namesrvAddr, group: `idle-${i}` });
    await producer.start();
    await producer.send({ topic: "idle", body: Buffer.from("one") });
    const consumer = new Consumer({ namesrvAddr, group: `idle-readers-${i}` });
    consumer.subscribe("idle");
    await consumer.run(() => {});
    clients.push(consumer, producer);
  }
  const withClients = await measure(pid);
  const results = { alone, withClients };
  if (flags.json) process.stdout.write(`${JSON.stringify({ ...provenance(), results }, undefined, 2)}\n`);
  else {
    const text = ({ rss, anonymous, files, cpu, wakeUps }: Figures): string =>
      `${rss} MiB in memory (${anonymous} its own, ${files} of files), ${cpu} % of a core; wake-ups/s: ` +
      Object.entries(wakeUps)
        .map(([name, count]) => `${name} ${count}`)
        .join(", ");
    process.stdout.write(`${existsSync(BUILT) ? "built" : "from source"}\nalone: ${text(alone)}\n`);
    process.stdout.write(`${flags.clients} producers and consumers, idle: ${text(withClients)}\n`);
  }
} finally {
  for (const client of clients) await client.close();
  await target.stop();
}
