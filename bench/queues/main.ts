// `npm run bench:queues`: the same sends to 8 queues of one topic, and to 8 of each of 1,250 topics, at two brokers in turn.
import { tmpdir } from "node:os";
import { join } from "node:path";
import { RemotingClient } from "../../src/client/connection/remoting-client.ts";
import { RequestCode, ResponseCode } from "../../src/format/remoting/remoting-codes.ts";
import { request } from "../../src/format/remoting/remoting-command.ts";
import { attempt, headline, parsed, positives, scratchIn, tell, writeJson } from "../command.ts";
import type { Peer } from "../peers/peer.ts";
import { startPeer } from "../peers/start-peers.ts";
import { textTable } from "../report/html.ts";
import { spreadOf, spreadText } from "../report/median.ts";
import { runWire, type WireResult } from "../wire/wire-load.ts";

const HELP = `npm run bench:queues -- [flags]          (about 1.5 minutes; --quick 30 s)

  --topics N        of 8 queues each, beside one (1250)     --size N      bytes of a body (1024)
  --seconds N       of each measurement (4)                 --warmup N    before it (1)      --rounds N  alternations (7)
  --directory DIR   for the stores; "memory" for /dev/shm (the system's temporary directory)
  --json FILE       --quick   three rounds of 2 s           --smoke   a moment
`;

const { values: flags } = parsed("bench:queues", HELP, {
  options: {
    topics: { type: "string" },
    size: { type: "string" },
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

const TOPIC = "queues";
const QUEUES = 8;
/** Topics that are being made at a time. */
const AT_ONCE = 32;
/** Of rate and of CPU. */
const DIFFERENCE_MAX = 0.1;

interface Side {
  topics: number;
  broker: Peer;
  createMs: number;
  /** Of the first load on the fresh broker. */
  first: WireResult;
  results: WireResult[];
}

await attempt(main);

async function main(): Promise<void> {
  const usual = flags.smoke
    ? { topics: 20, seconds: 0.3, warmup: 0.1, rounds: 1 }
    : flags.quick
      ? { topics: 1250, seconds: 2, warmup: 0.5, rounds: 3 }
      : { topics: 1250, seconds: 4, warmup: 1, rounds: 7 };
  const { topics, seconds, warmup, rounds, size } = positives(flags, { ...usual, size: 1024 });
  const head = headline();
  const scratch = scratchIn(flags.directory === "memory" ? "/dev/shm" : flags.directory);
  const sides: Side[] = [];
  try {
    for (const count of [1, topics]) {
      const options = { scratch, heap: "", isSmoke: flags.smoke, settings: [], store: join(scratch, `store-${count}`) };
      const broker = await startPeer("millrace", options);
      const side: Side = { topics: count, broker, createMs: 0, first: undefined!, results: [] };
      sides.push(side);
      side.createMs = await makeTopics(broker, count);
      side.first = await load(side, size, 0, warmup + seconds);
    }
    for (let round = 1; round <= rounds; round++) {
      for (const side of round % 2 === 1 ? sides : sides.toReversed()) side.results.push(await load(side, size, warmup, seconds));
      if (rounds > 1) tell(`round ${round} of ${rounds}`);
    }
  } finally {
    for (const { broker } of sides) await broker.stop();
  }
  report(sides);
  writeJson(flags.json, { ...head, size, seconds, results: sides.map(({ broker: _broker, ...rest }) => rest) });
}

/** @returns how long that took, ms */
async function makeTopics({ port }: Peer, count: number): Promise<number> {
  const client = new RemotingClient();
  const started = performance.now();
  try {
    let next = 0;
    const make = async (): Promise<void> => {
      while (next < count) {
        const fields = {
          topic: `${TOPIC}-${next++}`,
          defaultTopic: "TBW102",
          readQueueNums: QUEUES,
          writeQueueNums: QUEUES,
          perm: 6,
        };
        const rest = { topicFilterType: "SINGLE_TAG", topicSysFlag: 0, order: false };
        const command = request(RequestCode.UPDATE_AND_CREATE_TOPIC, 0, { ...fields, ...rest });
        const answer = await client.invoke(`127.0.0.1:${port}`, command, 30_000);
        if (answer.code !== ResponseCode.SUCCESS) throw new Error(`a topic was not made: ${answer.remark}`);
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, make));
  } finally {
    await client.close();
  }
  return performance.now() - started;
}

function load({ topics, broker }: Side, size: number, warmup: number, seconds: number): Promise<WireResult> {
  const shape = { protocol: "remoting", topic: TOPIC, topics, queues: topics * QUEUES, size, batch: 1 } as const;
  const job = { host: "127.0.0.1", port: broker.port, shape, kind: "send", connections: 8, depth: 64, rate: 0 } as const;
  return runWire(job, broker.pids, warmup, seconds);
}

/** Code 1 where many queues cost more than is allowed, or sends were refused. */
function report(sides: readonly Side[]): void {
  const [few, many] = sides as [Side, Side];
  const rate = ({ messagesPerSecond }: WireResult): number => messagesPerSecond;
  const cpu = ({ cpuMicrosPerMessage }: WireResult): number => cpuMicrosPerMessage;
  const figures: [string, (result: WireResult) => number][] = [
    ["msg/s", rate],
    ["CPU-µs/msg", cpu],
    ["p50 ms", ({ p50 }) => p50],
    ["p99 ms", ({ p99 }) => p99],
    ["anon MB", ({ anonMb }) => anonMb],
    ["refused", ({ refused }) => refused],
    ["others, cores", ({ othersCores }) => othersCores],
  ];
  const rows = sides.map(({ topics, results }) => [
    `${topics} × ${QUEUES} queues`,
    ...figures.map(([, of]) => spreadText(spreadOf(results.map(of)))),
  ]);
  const ratio = (of: (result: WireResult) => number) =>
    spreadOf(many.results.map((result, i) => of(result) / of(few.results[i]!)));
  rows.push(["ratio", ...figures.slice(0, 5).map(([, of]) => spreadText(ratio(of)))]);
  tell("", textTable({ head: ["", ...figures.map(([title]) => title)], rows }));
  for (const { topics, createMs, first } of sides) {
    tell(
      `${topics} topics made in ${(createMs / 1000).toFixed(2)} s; first load of the fresh broker: ` +
        `${first.messagesPerSecond}/s, ${first.refused} refused${first.refused > 0 ? `, first: ${first.refusal}` : ""}`,
    );
  }
  const [rateRatio, cpuRatio] = [ratio(rate)!.median, ratio(cpu)!.median];
  const isWithin = rateRatio >= 1 - DIFFERENCE_MAX && cpuRatio <= 1 + DIFFERENCE_MAX;
  tell(
    `rate ${rateRatio.toFixed(2)}, CPU ${cpuRatio.toFixed(2)} of that of ${QUEUES} queues; within 10 %: ${isWithin ? "yes" : "NO"}`,
  );
  const refused = sides.some(({ first, results }) => [first, ...results].some((result) => result.refused > 0));
  if (!flags.smoke && (!isWithin || refused)) process.exitCode = 1;
}
