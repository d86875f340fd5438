// `npm run bench:restart`: a large store of many queues, its broker killed while it is written at full speed. How long from
// the start of the next process until a message is stored and one is read, in old queues and in new ones?
import { rmSync, statfsSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Worker } from "node:worker_threads";
import { RemotingClient } from "../../src/client/connection/remoting-client.ts";
import { RequestCode, ResponseCode } from "../../src/format/remoting/remoting-codes.ts";
import { type HeaderValues, type RemotingCommand, request } from "../../src/format/remoting/remoting-command.ts";
import { attempt, headline, parsed, positives, SMOKE_KEYS, scratchIn, tell, writeJson, wrongFlag } from "../command.ts";
import type { WireJob } from "../wire/wire-thread.ts";
import { BrokerProcess } from "./broker-process.ts";

const HELP = `npm run bench:restart -- [flags]

  --gib N           bytes of the log before the first kill, in GiB (10)
  --topics N (125)  --queues N   of each topic (8)        --size N    bytes of a message (1024)
  --kills N         (3)          --seconds N  of writing at full speed before each further kill (5)
  --drive NAME      ffi, native-free or both (both)       --set KEY=VALUE   any key of the broker; repeatable
  --limit MS        code 1 when a start took longer (2000)
  --directory DIR   where the store goes (the system's temporary directory)
  --log             what the broker tells when it starts
  --built           the program that "npm run build" made, as an installed one is, instead of the sources
  --json FILE --smoke
`;

const { values: flags } = parsed("bench:restart", HELP, {
  options: {
    gib: { type: "string" },
    topics: { type: "string" },
    queues: { type: "string" },
    size: { type: "string" },
    kills: { type: "string" },
    seconds: { type: "string" },
    drive: { type: "string", default: "both" },
    set: { type: "string", multiple: true, default: [] },
    limit: { type: "string" },
    directory: { type: "string", default: tmpdir() },
    log: { type: "boolean", default: false },
    json: { type: "string" },
    built: { type: "boolean", default: false },
    smoke: { type: "boolean", default: false },
    help: { type: "boolean", short: "h", default: false },
  },
});

const GIB = 2 ** 30;
const TOPIC = "restart";
const ASK_MS = 60_000;

/** Times from the start of the process, ms. */
interface Start {
  drive: string;
  logGib: number;
  /** The ready line. */
  ready: number;
  /** First message of an old queue: stored, and read. */
  oldSend: number;
  oldPull: number;
  /** A queue made now: its message read. */
  newPull: number;
  /** What the process used of the processors till then. Much less than the time: others kept it waiting. */
  cpu: number;
}

await attempt(main);

async function main(): Promise<void> {
  const usual = flags.smoke ? { gib: 0.02, topics: 3, kills: 1, seconds: 0.2 } : { gib: 10, topics: 125, kills: 3, seconds: 5 };
  const plan = positives(flags, { ...usual, queues: 8, size: 1024, limit: 2000 });
  const { gib, topics, kills, seconds, queues, size, limit } = plan;
  const drives = flags.drive === "both" ? ["ffi", "native-free"] : [flags.drive];
  if (!drives.every((name) => /^(ffi|native-free)$/.test(name)))
    wrongFlag(`--drive ${flags.drive}: must be ffi, native-free or both`);
  const { bavail, bsize } = statfsSync(flags.directory);
  if (bavail * bsize < 1.5 * gib * GIB) throw new Error(`${flags.directory} has not the room for ${gib} GiB`);
  const head = headline();
  const starts: Start[] = [];
  for (const drive of drives) {
    const directory = scratchIn(flags.directory);
    const sets = [...(flags.smoke ? SMOKE_KEYS : []), ...flags.set].flatMap((pair) => ["--set", pair]);
    const args = ["--store", join(directory, "store"), ...(drive === "native-free" ? ["--native-free"] : []), ...sets];
    let broker = await BrokerProcess.start(args, flags.log, flags.built);
    const client = new RemotingClient({ reconnectDelayMs: 1 });
    try {
      await makeTopics(client, broker.address, topics, queues);
      let goal = gib * GIB;
      for (let kill = 1; kill <= kills; kill++) {
        const logSize = await writeUntilKilled(client, broker, { topics, queues, size, goal });
        broker = await BrokerProcess.start(args, flags.log, flags.built);
        const start = { drive, logGib: Math.round((100 * logSize) / GIB) / 100, ...(await firstServed(client, broker, kill)) };
        starts.push(start);
        const { logGib, ready, oldSend, oldPull, newPull, cpu } = start;
        tell(
          `${drive}: kill ${kill} at ${logGib} GiB, ${topics * queues} queues. From the process's start: ready ${ready} ms, ` +
            `stored ${oldSend} ms, read ${oldPull} ms, a new queue read ${newPull} ms; ${cpu} ms of CPU`,
        );
        goal = logSize + seconds * 20 * size * 1000;
      }
    } finally {
      await client.close();
      await broker.kill();
      rmSync(directory, { recursive: true, force: true });
    }
  }
  writeJson(flags.json, { ...head, starts });
  const slowest = Math.max(...starts.map(({ newPull }) => newPull));
  tell(`slowest: ${slowest} ms; limit ${limit} ms`);
  if (slowest > limit && !flags.smoke) process.exitCode = 1;
}

async function ask(
  client: RemotingClient,
  address: string,
  code: number,
  header: HeaderValues,
  body?: Buffer,
): Promise<RemotingCommand> {
  const answer = await client.invoke(address, request(code, 0, header, body), ASK_MS);
  if (answer.code !== ResponseCode.SUCCESS) throw new Error(`request ${code} was answered ${answer.code}: ${answer.remark}`);
  return answer;
}

async function makeTopics(client: RemotingClient, address: string, topics: number, queues: number): Promise<void> {
  for (let i = 0; i < topics; i++) {
    const count = { readQueueNums: queues, writeQueueNums: queues };
    const rest = { defaultTopic: "TBW102", perm: 6, topicFilterType: "SINGLE_TAG", topicSysFlag: 0, order: false };
    await ask(client, address, RequestCode.UPDATE_AND_CREATE_TOPIC, { topic: `${TOPIC}-${i}`, ...count, ...rest });
  }
}

interface Load {
  topics: number;
  queues: number;
  size: number;
  /** Bytes of the log. */
  goal: number;
}

/** Sends at full speed to all queues; kills the broker while it does, once the log is so long. @returns its length */
async function writeUntilKilled(
  client: RemotingClient,
  broker: BrokerProcess,
  { topics, queues, size, goal }: Load,
): Promise<number> {
  const shape = { protocol: "remoting", topic: TOPIC, topics, queues: topics * queues, size, batch: 1 } as const;
  const [host, port] = broker.address.split(":") as [string, string];
  const job: WireJob = { host, port: Number(port), shape, kind: "send", connections: 8, depth: 64, rate: 0 };
  const worker = new Worker(new URL("../wire/wire-thread.ts", import.meta.url), { workerData: job });
  let failure: Error | undefined;
  worker.once("error", (error) => (failure = error as Error)); // Also that of its connections, when the broker is gone.
  let logSize = 0;
  while (logSize < goal && failure === undefined) {
    await sleep(50);
    logSize = await logEnd(client, broker.address);
  }
  if (failure !== undefined) throw failure;
  await broker.kill();
  await worker.terminate();
  return logSize;
}

/** One past the last byte of the log, as the broker tells. */
async function logEnd(client: RemotingClient, address: string): Promise<number> {
  const { body } = await ask(client, address, RequestCode.GET_BROKER_RUNTIME_INFO, {});
  const { table } = JSON.parse(body.toString()) as { table: Record<string, string> };
  return Number(table["commitLogMaxOffset"]);
}

async function firstServed(
  client: RemotingClient,
  broker: BrokerProcess,
  kill: number,
): Promise<Omit<Start, "drive" | "logGib">> {
  const { address, startedMs } = broker;
  const since = (): number => Math.round(performance.now() - startedMs);
  const ready = since();
  const stored = await send(client, address, `${TOPIC}-0`);
  const oldSend = since();
  await pull(client, address, `${TOPIC}-0`, 0, 0); // The oldest message, and the newest.
  await pull(client, address, `${TOPIC}-0`, 0, stored);
  const oldPull = since();
  const topic = `${TOPIC}-new-${kill}`;
  await send(client, address, topic);
  await pull(client, address, topic, 0, 0);
  return { ready, oldSend, oldPull, newPull: since(), cpu: broker.cpuMs() };
}

/** @returns its queueOffset */
async function send(client: RemotingClient, address: string, topic: string): Promise<number> {
  const header = {
    a: "restart",
    b: topic,
    c: "TBW102",
    d: "4",
    e: "0",
    f: "0",
    g: String(Date.now()),
    h: "0",
    i: "",
    j: "0",
    k: "false",
    m: "false",
  };
  const answer = await ask(client, address, RequestCode.SEND_MESSAGE_V2, header, Buffer.from("hello"));
  return Number(answer.extFields["queueOffset"]);
}

/** Waits for the message, as consumers do. */
async function pull(client: RemotingClient, address: string, topic: string, queueId: number, queueOffset: number): Promise<void> {
  const place = { consumerGroup: "restart", topic, queueId, queueOffset, maxMsgNums: 1 };
  const rest = {
    sysFlag: 6,
    commitOffset: 0,
    suspendTimeoutMillis: 15_000,
    subscription: "*",
    subVersion: 0,
    expressionType: "TAG",
  };
  const { body } = await ask(client, address, RequestCode.PULL_MESSAGE, { ...place, ...rest });
  if (body.length === 0) throw new Error(`${topic}/${queueId}/${queueOffset}: nothing came`);
}
