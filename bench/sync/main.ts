// `npm run bench:sync`: SYNC_FLUSH with some senders that each wait for their ack, beside the disk's own rate of fdatasync. One
// flush may serve all who wait, so that senders x flushes a second is what the disk allows.
import { closeSync, fdatasyncSync, openSync, rmSync, writeFileSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { RemotingClient } from "../../src/client/connection/remoting-client.ts";
import { RequestCode, ResponseCode } from "../../src/format/remoting/remoting-codes.ts";
import { request } from "../../src/format/remoting/remoting-command.ts";
import { attempt, headline, parsed, positives, SMOKE_KEYS, scratchIn, tell, wrongFlag } from "../command.ts";
import { BrokerProcess } from "../restart/broker-process.ts";
import { runWire } from "../wire/wire-load.ts";
import { slowDriveModule, waitAsDisk } from "./slow-drive.ts";

const HELP = `npm run bench:sync -- [flags]

  --senders a,b     (1,2,4,8,16,64)         --size N      bytes of a message (1024)
  --seconds N       of each measurement (2) --rounds N    alternations of disk and broker (3)
  --drive NAME      ffi or native-free (ffi)  --set KEY=VALUE  any key of the broker; repeatable
  --slow-disk MS    each wait for the disk takes so much longer, ours and the bare one's: a disk that is the bound (0)
  --directory DIR   on the disk that is to be measured (the system's temporary directory)
  --json FILE --smoke
`;

const { values: flags } = parsed("bench:sync", HELP, {
  options: {
    senders: { type: "string" },
    size: { type: "string" },
    seconds: { type: "string" },
    rounds: { type: "string" },
    drive: { type: "string", default: "ffi" },
    "slow-disk": { type: "string", default: "0" },
    set: { type: "string", multiple: true, default: [] },
    directory: { type: "string", default: tmpdir() },
    json: { type: "string" },
    smoke: { type: "boolean", default: false },
    help: { type: "boolean", short: "h", default: false },
  },
});

const USUAL = { seconds: 2, rounds: 3, size: 1024 };
const TOPIC = "sync";
const QUEUES = 8;
const WARMUP_S = 0.5;
const PAGE_SIZE = 4096;
const SLOWER_MS = Number(flags["slow-disk"]);

interface SyncPoint {
  senders: number;
  /** A 4 KiB append and its fdatasync, by the second: nothing else runs. */
  flushesPerSecond: number;
  messagesPerSecond: number;
  /** Messages by senders x flushes. */
  share: number;
  p50: number;
  p99: number;
}

await attempt(main);

async function main(): Promise<void> {
  const senders = (flags.senders ?? (flags.smoke ? "1,4" : "1,2,4,8,16,64")).split(",").map(Number);
  const { seconds, rounds, size } = positives(flags, flags.smoke ? { seconds: 0.1, rounds: 1, size: 1024 } : USUAL);
  if (!senders.every((value) => value > 0)) wrongFlag(`--senders ${flags.senders}: must be numbers above 0`);
  if (!(SLOWER_MS >= 0)) wrongFlag(`--slow-disk ${flags["slow-disk"]}: must be a number`);
  if (!/^(ffi|native-free)$/.test(flags.drive)) wrongFlag(`--drive ${flags.drive}: must be ffi or native-free`);
  const head = headline();
  const directory = scratchIn(flags.directory);
  const points: SyncPoint[] = [];
  try {
    const broker = await startBroker(join(directory, "store"));
    try {
      await makeTopic(broker.address);
      for (let round = 0; round < rounds; round++) {
        for (const count of senders) {
          const point = await measure(broker, directory, count, size, seconds);
          points.push(point);
          if (rounds > 1) tell(`${round + 1}/${rounds} ${lineOf(point)}`);
        }
      }
    } finally {
      await broker.kill();
    }
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
  const medians = senders.map((count) => median(points.filter((point) => point.senders === count)));
  tell(rounds > 1 ? `medians of ${rounds} rounds, by share:` : "", ...medians.map(lineOf));
  if (flags.json !== undefined)
    writeFileSync(
      flags.json,
      `${JSON.stringify({ ...head, drive: flags.drive, slowerMs: SLOWER_MS, medians, points }, undefined, 1)}\n`,
    );
}

function startBroker(store: string): Promise<BrokerProcess> {
  const sets = ["flushDiskType=SYNC_FLUSH", ...(flags.smoke ? SMOKE_KEYS : []), ...flags.set];
  if (SLOWER_MS > 0) {
    const program = join(import.meta.dirname, "slow-broker.ts");
    return BrokerProcess.run([program, store, slowDriveModule(flags.drive, SLOWER_MS), ...sets], true);
  }
  const driveArgs = flags.drive === "native-free" ? ["--native-free"] : [];
  const setArgs = sets.flatMap((pair) => ["--set", pair]);
  return BrokerProcess.start(["--store", store, ...driveArgs, "--log-level", "warn", ...setArgs], true);
}

async function measure(
  broker: BrokerProcess,
  directory: string,
  senders: number,
  size: number,
  seconds: number,
): Promise<SyncPoint> {
  const before = bareRate(directory, seconds / 2);
  const shape = { protocol: "remoting", topic: TOPIC, queues: QUEUES, size, batch: 1 } as const;
  const [host, port] = broker.address.split(":") as [string, string];
  const job = { host, port: Number(port), shape, kind: "send", connections: senders, depth: 1, rate: 0 } as const;
  const { messagesPerSecond, refused, refusal, p50, p99 } = await runWire(job, [broker.pid], flags.smoke ? 0 : WARMUP_S, seconds);
  if (refused > 0) throw new Error(`${refused} sends were refused: ${refusal}`);
  const flushesPerSecond = Math.round((before + bareRate(directory, seconds / 2)) / 2);
  return { senders, flushesPerSecond, messagesPerSecond, share: messagesPerSecond / (senders * flushesPerSecond), p50, p99 };
}

/** Appends of a page, each brought to the disk before the next, by the second. */
function bareRate(directory: string, seconds: number): number {
  const file = join(directory, "bare");
  const fd = openSync(file, "w");
  const page = Buffer.alloc(PAGE_SIZE, "x");
  const started = performance.now();
  let count = 0;
  let elapsed = 0;
  for (; elapsed < 1000 * seconds; elapsed = performance.now() - started) {
    writeSync(fd, page);
    fdatasyncSync(fd);
    if (SLOWER_MS > 0) waitAsDisk(SLOWER_MS);
    count++;
  }
  closeSync(fd);
  rmSync(file);
  return (1000 * count) / elapsed;
}

async function makeTopic(address: string): Promise<void> {
  const client = new RemotingClient();
  const fields = { topic: TOPIC, defaultTopic: "TBW102", readQueueNums: QUEUES, writeQueueNums: QUEUES, perm: 6 };
  const rest = { topicFilterType: "SINGLE_TAG", topicSysFlag: 0, order: false };
  const answer = await client.invoke(address, request(RequestCode.UPDATE_AND_CREATE_TOPIC, 0, { ...fields, ...rest }), 10_000);
  await client.close();
  if (answer.code !== ResponseCode.SUCCESS) throw new Error(`the topic was not made: ${answer.remark}`);
}

function median(points: readonly SyncPoint[]): SyncPoint {
  return points.toSorted((a, b) => a.share - b.share)[Math.floor((points.length - 1) / 2)]!;
}

function lineOf({ senders, flushesPerSecond, messagesPerSecond, share, p50, p99 }: SyncPoint): string {
  return (
    `${senders} senders: ${messagesPerSecond}/s, ${flushesPerSecond} fdatasyncs/s bare, ` +
    `${(100 * share).toFixed(0)} % of senders x fdatasyncs; p50 ${p50.toFixed(2)} ms, p99 ${p99.toFixed(2)} ms`
  );
}
