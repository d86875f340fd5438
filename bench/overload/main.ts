// `npm run bench:overload`: far more sends than a broker can take; every one must be answered, or refused. bench/README.md.
import { rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { RemotingClient } from "../../src/client/connection/remoting-client.ts";
import { RequestCode } from "../../src/format/remoting/remoting-codes.ts";
import { request } from "../../src/format/remoting/remoting-command.ts";
import { attempt, headline, parsed, positives, SMOKE_KEYS, scratchIn, tell, writeJson } from "../command.ts";
import type { Peer } from "../peers/peer.ts";
import { startPeer } from "../peers/start-peers.ts";
import { makeTopic } from "../peers/topics.ts";
import { textTable } from "../report/html.ts";
import { shortly } from "../report/median.ts";
import { WireLoad } from "../wire/wire-load.ts";
import type { WireMark } from "../wire/wire-thread.ts";

const HELP = `npm run bench:overload -- [flags]          (about 1.5 minutes; --quick 30 s)

  --rate N          sends a second that are due, 1 KiB each (1000000)     --connections N   (200)
  --seconds N       of each case (8)
  --rocketmq        Apache's broker, too
  --directory DIR   for the stores (the system's temporary directory)
  --json FILE       --quick   2 s each     --smoke   a moment
`;

const { values: flags } = parsed("bench:overload", HELP, {
  options: {
    rate: { type: "string" },
    connections: { type: "string" },
    seconds: { type: "string" },
    rocketmq: { type: "boolean", default: false },
    directory: { type: "string", default: tmpdir() },
    json: { type: "string" },
    quick: { type: "boolean", default: false },
    smoke: { type: "boolean", default: false },
    help: { type: "boolean", short: "h", default: false },
  },
});

const QUEUES = 8;
const TOPIC = "overload";
const SYNC = "flushDiskType=SYNC_FLUSH";
const CASES: readonly {
  name: string;
  peer: "millrace" | "rocketmq";
  size: number;
  settings: readonly string[];
  args?: readonly string[];
}[] = [
  { name: "page cache", peer: "millrace", size: 1024, settings: [] },
  { name: "page cache, native-free", peer: "millrace", size: 1024, settings: [], args: ["--native-free"] },
  { name: "each on the disk (SYNC_FLUSH)", peer: "millrace", size: 1024, settings: [SYNC] },
  { name: "64 KiB, each on the disk", peer: "millrace", size: 65_536, settings: [SYNC] },
  { name: "busy after 1 ms", peer: "millrace", size: 1024, settings: ["waitTimeMillsInSendQueue=1"] },
  { name: "Apache RocketMQ, page cache", peer: "rocketmq", size: 1024, settings: [] },
];

interface Outcome {
  name: string;
  peer: string;
  sent: number;
  accepted: number;
  refused: number;
  unanswered: number;
  /** By the queues' own count. */
  stored: number;
  refusal: string;
  /** Neither an answer lost, nor a message that was acknowledged. */
  isRight: boolean;
}

await attempt(main);

async function main(): Promise<void> {
  const usual = flags.smoke
    ? { rate: 20_000, connections: 20, seconds: 0.3 }
    : { rate: 1_000_000, connections: 200, seconds: flags.quick ? 2 : 8 };
  const { rate, connections, seconds } = positives(flags, usual);
  const head = headline();
  const scratch = scratchIn(flags.directory);
  const outcomes: Outcome[] = [];
  for (const { name, peer, size, settings, args = [] } of CASES) {
    if (peer === "rocketmq" && !flags.rocketmq) continue;
    const store = join(scratch, String(outcomes.length));
    const keys = [...settings, ...(flags.smoke ? SMOKE_KEYS : [])];
    const broker = await startPeer(peer, { scratch, heap: "1g", isSmoke: false, settings: keys, args, store });
    try {
      outcomes.push({ name, ...(await overload(broker, size, Math.min(rate, (rate * 16_384) / size), connections, seconds)) });
    } finally {
      await broker.stop();
      rmSync(store, { recursive: true, force: true });
    }
  }
  const row = (one: Outcome): string[] => [
    one.name,
    ...[one.sent, one.accepted, one.refused, one.unanswered, one.stored].map(shortly),
    one.isRight ? "yes" : "NO",
    one.refusal.slice(0, 60),
  ];
  const titles = ["", "sent", "accepted", "refused", "never answered", "stored", "right", "first refusal"];
  tell("", textTable({ head: titles, rows: outcomes.map(row) }));
  tell("right: sent = accepted + refused, and accepted ≤ stored ≤ sent");
  writeJson(flags.json, { ...head, settings: { rate, connections, seconds }, outcomes });
  if (outcomes.some(({ peer, isRight }) => peer === "millrace" && !isRight)) process.exitCode = 1;
}

async function overload(
  broker: Peer,
  size: number,
  rate: number,
  connections: number,
  seconds: number,
): Promise<Omit<Outcome, "name">> {
  await makeTopic(broker, TOPIC, QUEUES, false);
  const shape = { protocol: "remoting", topic: TOPIC, queues: QUEUES, size, batch: 1 } as const;
  const load = await WireLoad.start({ host: "127.0.0.1", port: broker.port, shape, kind: "send", connections, depth: 0, rate });
  let mark: WireMark;
  try {
    await load.lasts(1000 * seconds);
    mark = await load.ask("drain");
  } finally {
    await load.end();
  }
  const { requests: sent, answered, refused, inFlight: unanswered, refusal } = mark;
  const accepted = answered - refused;
  const stored = await countStored(broker);
  const isRight = unanswered === 0 && sent === answered && accepted <= stored && stored <= sent;
  return { peer: broker.name, sent, accepted, refused, unanswered, stored, refusal: remarkOf(refusal), isRight };
}

function remarkOf(header: string): string {
  return /"remark":"([^"]*)"/.exec(header)?.[1] ?? header;
}

/** Queues are filled behind the log: they have been given time when the count stands still. */
async function countStored({ port }: Peer): Promise<number> {
  const client = new RemotingClient();
  try {
    let before = -1;
    for (;;) {
      let stored = 0;
      for (let queueId = 0; queueId < QUEUES; queueId++) {
        const command = request(RequestCode.GET_MAX_OFFSET, 0, { topic: TOPIC, queueId, committed: true });
        const { extFields } = await client.invoke(`127.0.0.1:${port}`, command, 30_000);
        stored += Number(extFields["offset"]);
      }
      if (stored === before) return stored;
      before = stored;
      await new Promise((resolve) => setTimeout(resolve, 500));
    }
  } finally {
    await client.close();
  }
}
