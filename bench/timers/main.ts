// `npm run bench:timers`: timed messages that wait, a million by default and a tenth of that: what they cost in memory, and how late
// each arrives; then many that are due at the same moment. bench/README.md says what the figures mean.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { RemotingClient } from "../../src/client/connection/remoting-client.ts";
import { RequestCode, ResponseCode } from "../../src/format/remoting/remoting-codes.ts";
import { request } from "../../src/format/remoting/remoting-command.ts";
import { attempt, headline, PATIENT_KEYS, parsed, positives, SMOKE_KEYS, tell, wrongFlag } from "../command.ts";
import { BrokerProcess } from "../restart/broker-process.ts";
import { Arrivals } from "./arrivals.ts";
import { sendTimed } from "./timed-load.ts";

const HELP = `npm run bench:timers -- [flags]

  --counts A,B      messages that wait at once, a broker each (100000,1000000)
  --spread N        seconds over which they are due (60)
  --lead N          seconds from the first send to the first that is due (a second for each 8,000, and 5)
  --same N          messages due at one moment (100000; 0: leave it out)
  --size N          bytes of a body (128)
  --native-free     --set KEY=VALUE   any key of the broker; repeatable
  --limit MS        code 1 when the 99th percentile of lateness is above (1000)
  --json FILE --smoke
`;

const { values: flags } = parsed("bench:timers", HELP, {
  options: {
    counts: { type: "string" },
    spread: { type: "string" },
    lead: { type: "string" },
    same: { type: "string" },
    size: { type: "string" },
    "native-free": { type: "boolean", default: false },
    set: { type: "string", multiple: true, default: [] },
    limit: { type: "string" },
    json: { type: "string" },
    smoke: { type: "boolean", default: false },
    help: { type: "boolean", short: "h", default: false },
  },
});

const TOPIC = "timers";
const QUEUES = 4;
const ASK_MS = 60_000;
/** Least size of a body: its due time. */
const SIZE_MIN = 8;
const PATIENCE_S = 120;

/** Memory: the broker's anonymous pages, MB (10^6 bytes). Lateness: from when it is due to its arrival at the consumer, ms. */
interface Result {
  name: string;
  count: number;
  sendsPerSecond: number;
  emptyMb: number;
  /** All of them wait. */
  waitingMb: number;
  /** While they are delivered, at most. */
  peakMb: number;
  early: number;
  p50: number;
  p99: number;
  max: number;
  /** The broker's own figure, from when it is due to when it is handed to the log; undefined: it tells none. */
  brokerP99: number | undefined;
  cpuUs: number;
}

await attempt(main);

async function main(): Promise<void> {
  const counts = (flags.counts ?? (flags.smoke ? "300" : "100000,1000000")).split(",").map(Number);
  const { spread: spreadS, size, limit } = positives(flags, { spread: flags.smoke ? 1 : 60, size: 128, limit: 1000 });
  const same = Number(flags.same ?? (flags.smoke ? 300 : 100_000));
  if (!counts.every((value) => value > 0)) wrongFlag(`--counts ${flags.counts}: must be numbers above 0`);
  if (!(same >= 0)) wrongFlag(`--same ${flags.same}: must be a number`);
  if (size < SIZE_MIN) wrongFlag(`--size ${size}: must be ${SIZE_MIN} or more`);
  if (flags.lead !== undefined && !(Number(flags.lead) > 0)) wrongFlag(`--lead ${flags.lead}: must be a number above 0`);
  const head = headline();
  const results: Result[] = [];
  for (const count of counts)
    results.push(await measure(`${count.toLocaleString("en-US")} over ${spreadS} s`, count, spreadS, size));
  if (same > 0) results.push(await measure(`${same.toLocaleString("en-US")} at one moment`, same, 0, size));
  if (flags.json !== undefined) writeFileSync(flags.json, `${JSON.stringify({ ...head, results }, undefined, 1)}\n`);
  const [least, most] = [results[0]!, results[counts.length - 1]!];
  if (counts.length > 1) {
    const bytes = ((most.waitingMb - least.waitingMb) * 1e6) / (most.count - least.count);
    tell(`anonymous memory for each further message that waits: ${bytes.toFixed(1)} bytes`);
  }
  const early = results.reduce((sum, one) => sum + one.early, 0);
  const slowest = Math.max(...results.slice(0, counts.length).map(({ p99 }) => p99));
  tell(`early: ${early}; lateness p99 at most ${slowest} ms, limit ${limit} ms`);
  if (early > 0 || (slowest > limit && !flags.smoke)) process.exitCode = 1;
}

async function measure(name: string, count: number, spreadS: number, size: number): Promise<Result> {
  for (let leadS = Number(flags.lead ?? (flags.smoke ? 2 : 5 + Math.ceil(count / 8000))); ; leadS *= 2) {
    const result = await measureOnce(name, count, spreadS, size, leadS);
    if (result !== undefined) return result;
    tell(`${name}: not all were sent within ${leadS} s; once more with twice the lead`);
  }
}

/** @returns undefined: the first was due before the last was sent */
async function measureOnce(
  name: string,
  count: number,
  spreadS: number,
  size: number,
  leadS: number,
): Promise<Result | undefined> {
  const directory = mkdtempSync(join(tmpdir(), "millrace-timers-"));
  const removed = (): void => rmSync(directory, { recursive: true, force: true });
  process.once("exit", removed);
  const sets = [...PATIENT_KEYS, ...(flags.smoke ? SMOKE_KEYS : []), ...flags.set].flatMap((pair) => ["--set", pair]);
  const drive = flags["native-free"] ? ["--native-free"] : [];
  const broker = await BrokerProcess.start(["--store", join(directory, "store"), ...drive, ...sets], false);
  const client = new RemotingClient({ reconnectDelayMs: 1 });
  try {
    const { address } = broker;
    await makeTopic(client, address);
    const emptyMb = anonymousMb(broker.pid);
    const [host, port] = address.split(":") as [string, string];
    const firstDueMs = Date.now() + leadS * 1000;
    // Neighbours in the log are far from each other in time, which is the hard case.
    const dueMs = (i: number): number => firstDueMs + Math.floor((((i * 7919) % count) * spreadS * 1000) / count);
    const arrivals = new Arrivals();
    const endMs = firstDueMs + (spreadS + PATIENCE_S) * 1000;
    const isDone = (): boolean => arrivals.count >= count || Date.now() > endMs;
    const reading = Promise.all(Array.from({ length: QUEUES }, (_, queueId) => arrivals.read(address, TOPIC, queueId, isDone)));
    reading.catch(() => {}); // Looked at below.
    const seconds = await sendTimed({ host, port: Number(port), topic: TOPIC, queues: QUEUES, count, bodySize: size, dueMs });
    if (Date.now() >= firstDueMs) return undefined;
    for (; Date.now() < firstDueMs - 500 && (await runtime(client, address))["timerCongestNum"] !== String(count); )
      await sleep(100);
    const waitingMb = anonymousMb(broker.pid);
    let peakMb = waitingMb;
    while (!isDone()) {
      await sleep(100);
      peakMb = Math.max(peakMb, anonymousMb(broker.pid));
    }
    await reading;
    if (arrivals.count !== count) throw new Error(`${name}: ${arrivals.count} of ${count} have arrived`);
    const own = Number((await runtime(client, address))["timerLateP99Ms"]);
    const result: Result = {
      name,
      count,
      sendsPerSecond: Math.round(count / seconds),
      emptyMb,
      waitingMb,
      peakMb,
      early: arrivals.early,
      p50: arrivals.quantile(0.5),
      p99: arrivals.quantile(0.99),
      max: arrivals.maxMs,
      brokerP99: Number.isFinite(own) ? own : undefined,
      cpuUs: Math.round((broker.cpuMs() * 10_000) / count) / 10,
    };
    tell(
      `${name}: sent at ${result.sendsPerSecond}/s; anonymous ${emptyMb} MB empty, ${waitingMb} waiting, ${peakMb} at most; ` +
        `early ${result.early}; late p50 ${result.p50} ms, p99 ${result.p99} ms, max ${result.max} ms ` +
        `(broker's p99 ${result.brokerP99} ms); ${result.cpuUs} broker CPU-us a message, in and out`,
    );
    return result;
  } finally {
    await client.close();
    await broker.kill();
    removed();
    process.off("exit", removed);
  }
}

async function makeTopic(client: RemotingClient, address: string): Promise<void> {
  const count = { readQueueNums: QUEUES, writeQueueNums: QUEUES };
  const header = {
    topic: TOPIC,
    ...count,
    defaultTopic: "TBW102",
    perm: 6,
    topicFilterType: "SINGLE_TAG",
    topicSysFlag: 0,
    order: false,
  };
  const answer = await client.invoke(address, request(RequestCode.UPDATE_AND_CREATE_TOPIC, 0, header), ASK_MS);
  if (answer.code !== ResponseCode.SUCCESS) throw new Error(`the topic was not made: ${answer.remark}`);
}

async function runtime(client: RemotingClient, address: string): Promise<Record<string, string>> {
  const { body } = await client.invoke(address, request(RequestCode.GET_BROKER_RUNTIME_INFO, 0, {}), ASK_MS);
  return (JSON.parse(body.toString()) as { table: Record<string, string> }).table;
}

function anonymousMb(pid: number): number {
  const text = readFileSync(`/proc/${pid}/status`, "utf8");
  return Math.round(Number(/^RssAnon:\s+(\d+)/m.exec(text)?.[1] ?? 0) * 1.024) / 1000;
}
