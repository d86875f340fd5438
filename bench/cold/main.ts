// `npm run bench:cold`: what producers feel of a consumer that reads a backlog which is on the disk alone. bench/README.md.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { RemotingClient } from "../../src/client/connection/remoting-client.ts";
import { RequestCode } from "../../src/format/remoting/remoting-codes.ts";
import { request } from "../../src/format/remoting/remoting-command.ts";
import { attempt, headline, parsed, positives, SMOKE_KEYS, scratchIn, tell, writeJson } from "../command.ts";
import { UsageWindow } from "../load/usage.ts";
import type { Peer } from "../peers/peer.ts";
import { startPeer } from "../peers/start-peers.ts";
import { makeTopic } from "../peers/topics.ts";
import { textTable } from "../report/html.ts";
import { spreadOf, spreadText } from "../report/median.ts";
import { resultOf, WireLoad, type WireResult } from "../wire/wire-load.ts";
import type { WireJob, WireMark } from "../wire/wire-thread.ts";
import { dropFromMemory } from "./page-cache.ts";

const HELP = `npm run bench:cold -- [flags]          (4 to 8 minutes and 12 GiB of disk; --quick: 1 minute, 2 GiB)

  --gib N           backlog (10)                --rate N      messages/s of the producers (5000)
  --rounds N        the backlog is read in so many parts, and before each the producers are alone (5)
  --take N          only so many of these parts (all)
  --seconds N       that they are alone (8)     --readers N   connections that read (4)
  --directory DIR   on the disk that is to be measured (the system's temporary directory)
  --keep DIR        the filled store stays there, and the next run with the same DIR begins with it: nothing is measured by the
                    run that fills it
  --set KEY=VALUE   any key of the broker; repeatable
  --json FILE       --quick   1 GiB in three parts     --smoke   a moment
`;

const { values: flags } = parsed("bench:cold", HELP, {
  options: {
    gib: { type: "string" },
    rate: { type: "string" },
    rounds: { type: "string" },
    take: { type: "string" },
    seconds: { type: "string" },
    readers: { type: "string" },
    directory: { type: "string", default: tmpdir() },
    keep: { type: "string" },
    set: { type: "string", multiple: true, default: [] },
    json: { type: "string" },
    quick: { type: "boolean", default: false },
    smoke: { type: "boolean", default: false },
    help: { type: "boolean", short: "h", default: false },
  },
});

const SIZE = 1024;
const QUEUES = 8;
const SENDERS = 8;
const WARMUP_MS = 2000;
/** Until what was under way when the reader paused is over. */
const PAUSE_MS = 500;
const POLL_MS = 100;
/** A part of the backlog that takes longer is not read to its end. */
const PART_MS_MAX = 180_000;
const P99_RATIO_MAX = 1.5;

interface Round {
  alone: WireResult;
  beside: WireResult;
  /** What the reader brought, by the second. */
  readMegabytesPerSecond: number;
  readGigabytes: number;
}

await attempt(main);

async function main(): Promise<void> {
  const usual = flags.smoke
    ? { gib: 0.03, rate: 200, rounds: 1, seconds: 0.3 }
    : flags.quick
      ? { gib: 1, rate: 5000, rounds: 3, seconds: 4 }
      : { gib: 10, rate: 5000, rounds: 5, seconds: 8 };
  const { gib, rate, rounds, seconds, readers } = positives(flags, { ...usual, readers: 4 });
  const head = headline();
  const scratch = scratchIn(flags.directory);
  if (flags.keep !== undefined) mkdirSync(flags.keep, { recursive: true });
  const store = join(flags.keep ?? scratch, "store");
  /** Of a kept store: how long its backlog is. */
  const lengthFile = join(flags.keep ?? scratch, "backlog-bytes");
  const options = {
    scratch,
    heap: "",
    isSmoke: false,
    store,
    settings: [...(flags.smoke ? SMOKE_KEYS : []), ...flags.set],
  };
  let size: number;
  if (existsSync(lengthFile)) size = Number(readFileSync(lengthFile, "utf8"));
  else {
    const filling = await startPeer("millrace", options);
    try {
      size = await fill(filling, gib * 2 ** 30);
    } finally {
      await filling.stop();
    }
    if (flags.keep !== undefined) {
      writeFileSync(lengthFile, String(size));
      return tell(`${(size / 2 ** 30).toFixed(2)} GiB written to ${flags.keep}`);
    }
  }
  const left = dropFromMemory(join(store, "commitlog"), join(store, "consumequeue"));
  tell(`${(size / 2 ** 30).toFixed(2)} GiB written, ${(100 * left).toFixed(1)} % of it still in memory`);
  const broker = await startPeer("millrace", options);
  let results: { rounds: Round[]; unanswered: number };
  try {
    results = await measure(broker, { rate, rounds, seconds, readers, backlogSize: size });
  } finally {
    await broker.stop();
  }
  report(results.rounds);
  if (results.unanswered > 0) tell(`${results.unanswered} sends were never answered`);
  const settings = { gib, rate, rounds, seconds, readers, set: flags.set };
  writeJson(flags.json, { ...head, settings, leftInMemory: left, ...results });
  if (!flags.smoke && (results.unanswered > 0 || left > 0.05 || !(p99Ratio(results.rounds) <= P99_RATIO_MAX)))
    process.exitCode = 1;
}

function jobOf(broker: Peer, topic: string, job: Pick<WireJob, "kind" | "connections" | "depth" | "rate">): WireJob {
  const shape = { protocol: "remoting", topic, queues: QUEUES, size: SIZE, batch: 1, countMax: 32 } as const;
  return { host: "127.0.0.1", port: broker.port, shape, ...job };
}

/** Messages one by one to all queues in turn, so that those of a queue are scattered over the log. @returns its length */
async function fill(broker: Peer, goal: number): Promise<number> {
  await makeTopic(broker, "backlog", QUEUES, false);
  await makeTopic(broker, "live", QUEUES, false);
  const client = new RemotingClient();
  const load = await WireLoad.start(jobOf(broker, "backlog", { kind: "send", connections: 8, depth: 64, rate: 0 }));
  try {
    let size = 0;
    while (size < goal) {
      await load.lasts(POLL_MS);
      const { body } = await client.invoke(
        `127.0.0.1:${broker.port}`,
        request(RequestCode.GET_BROKER_RUNTIME_INFO, 0, {}),
        10_000,
      );
      size = Number((JSON.parse(body.toString()) as { table: Record<string, string> }).table["commitLogMaxOffset"]);
    }
    await load.ask("drain");
    return size;
  } finally {
    await load.end();
    await client.close();
  }
}

async function measure(
  broker: Peer,
  plan: { rate: number; rounds: number; seconds: number; readers: number; backlogSize: number },
): Promise<{ rounds: Round[]; unanswered: number }> {
  const { rate, rounds, seconds, backlogSize } = plan;
  const senders = await WireLoad.start(jobOf(broker, "live", { kind: "send", connections: SENDERS, depth: 0, rate }));
  const readers = await WireLoad.start(jobOf(broker, "backlog", { kind: "read", connections: plan.readers, depth: 1, rate: 0 }));
  try {
    readers.tell("pause");
    await senders.lasts(flags.smoke ? 0 : WARMUP_MS);
    const done: Round[] = [];
    // The last part is cut short, lest the readers begin anew with what is in memory by then.
    const part = (0.98 * backlogSize) / rounds;
    for (let round = 1; round <= Math.min(rounds, Number(flags.take ?? rounds)); round++) {
      await senders.lasts(flags.smoke ? 0 : PAUSE_MS);
      const alone = await windowed(broker, senders, () => senders.lasts(1000 * seconds));
      await readers.ask("mark");
      let read = 0;
      const started = performance.now();
      const beside = await windowed(broker, senders, async () => {
        readers.tell("resume");
        while (read < part && performance.now() - started < PART_MS_MAX) {
          await senders.lasts(POLL_MS);
          read += (await readers.ask("mark")).bytes;
        }
        readers.tell("pause");
      });
      const readMegabytesPerSecond = read / 1e6 / beside.seconds;
      done.push({ alone, beside, readMegabytesPerSecond, readGigabytes: read / 1e9 });
      tell(
        `round ${round} of ${rounds}: p99 ${alone.p99.toFixed(2)} ms alone, ${beside.p99.toFixed(2)} ms beside a reader ` +
          `of ${readMegabytesPerSecond.toFixed(0)} MB/s`,
      );
    }
    const { inFlight } = await senders.ask("drain");
    return { rounds: done, unanswered: inFlight };
  } finally {
    await senders.end();
    await readers.end();
    await sleep(0);
  }
}

async function windowed(broker: Peer, senders: WireLoad, pass: () => Promise<void>): Promise<WireResult> {
  await senders.ask("mark");
  const window = new UsageWindow(broker.pids);
  await pass();
  const mark: WireMark = await senders.ask("mark");
  return resultOf(mark, window.close());
}

/** NaN: nothing was answered while the producers were alone. */
function p99Ratio(rounds: readonly Round[]): number {
  return spreadOf(rounds.map(({ alone, beside }) => beside.p99 / alone.p99))?.median ?? Number.NaN;
}

function report(rounds: readonly Round[]): void {
  const figures: [string, (result: WireResult) => number][] = [
    ["msg/s", ({ messagesPerSecond }) => messagesPerSecond],
    ["p50 ms", ({ p50 }) => p50],
    ["p99 ms", ({ p99 }) => p99],
    ["p99.9 ms", ({ p999 }) => p999],
    ["generator late, p99 ms", ({ lateness }) => lateness],
    ["refused", ({ refused }) => refused],
    ["others, cores", ({ othersCores }) => othersCores],
  ];
  const row = (title: string, value: (round: Round, of: (result: WireResult) => number) => number): string[] => [
    title,
    ...figures.map(([, of]) => spreadText(spreadOf(rounds.map((round) => value(round, of))))),
  ];
  const rows = [
    row("alone", ({ alone }, of) => of(alone)),
    row("beside the reader", ({ beside }, of) => of(beside)),
    row("ratio", ({ alone, beside }, of) => of(beside) / of(alone)),
  ];
  const read = rounds.reduce((sum, { readGigabytes }) => sum + readGigabytes, 0);
  tell(
    "",
    textTable({ head: ["producers", ...figures.map(([title]) => title)], rows }),
    `the reader brought ${read.toFixed(2)} GB at ${spreadText(spreadOf(rounds.map((round) => round.readMegabytesPerSecond)))} MB/s`,
    `p99 beside it ${p99Ratio(rounds).toFixed(2)} times p99 alone; at most ${P99_RATIO_MAX}: ${p99Ratio(rounds) <= P99_RATIO_MAX ? "yes" : "NO"}`,
  );
}
