import net from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { ResponseCode } from "../../src/format/remoting/remoting-codes.ts";
import { RawClient } from "../broker-e2e/raw-client.ts";
import * as requests from "../broker-e2e/requests.ts";
import { endOf, launch, SIZES } from "./f6-failed-sync.ts";
import { driveModule, setFaults } from "./faulty-drive.ts";
import { createTopic, Ledger, TOPIC } from "./ledger.ts";
import { type Figures, must, type Scenario, type Torture } from "./scenario.ts";

const PRODUCER_COUNT = 64;
const BODY_SIZE = 4096;
const HEAP_GROWTH_MAX = 64 * 1_048_576;
/** What one answer may take beyond the delay of the disk and the limit of the queue; in the tests nothing is said of speed. */
const SLACK_MS = 700;
const SLACK_MS_SHORT = 60_000;
const QUEUE_MS = 200;
/** After which sends are stored once the disk is fast again. */
const BACK_MS_MAX = 1000;
const BUSY =
  /^\[(TIMEOUT|PCBUSY)_CLEAN_QUEUE\]broker busy, start flow control for a while, period in queue: \d+ms, size of queue: \d+$|^\[REJECTREQUEST\]system busy, start flow control for a while$/;
const OPEN_FILES = 220;

export const scenario: Scenario = {
  id: "F8",
  title: "a slow disk, and no descriptors left: senders are told that the broker is busy, memory stays, the broker lives",
  async run(torture) {
    const totals = { rounds: 0, acknowledged: 0, busy: 0, "slowest ms": 0, "grown MiB": 0, "connections refused": 0, lost: 0 };
    let turns = 0;
    do {
      for (const [delayMs, hasOwnThread] of torture.isShort ? SHORT : ALL) {
        const figures = await slowDown(torture, totals.rounds++, delayMs, hasOwnThread);
        totals.acknowledged += figures.acked;
        totals.busy += figures.busy;
        totals["slowest ms"] = Math.max(totals["slowest ms"], figures.slowestMs);
        totals["grown MiB"] = Math.max(totals["grown MiB"], Math.ceil(figures.grown / 1_048_576));
      }
      totals["connections refused"] += await runOutOfDescriptors(torture, totals.rounds++);
      turns++;
    } while (torture.hasNext(turns, torture.isShort ? 1 : Number.POSITIVE_INFINITY));
    return totals satisfies Figures;
  },
};

const SHORT: readonly (readonly [delayMs: number, hasOwnThread: boolean])[] = [
  [50, false],
  [700, true],
];
const ALL: typeof SHORT = [50, 700, 1500].flatMap((delayMs) =>
  [true, false].map((hasOwnThread) => [delayMs, hasOwnThread] as const),
);

async function slowDown({ drive, directory, isShort }: Torture, round: number, delayMs: number, hasOwnThread: boolean) {
  const store = join(directory, `store-${round}`);
  const control = join(directory, `faults-${round}.json`);
  const sets = [...SIZES, "ioWorkers=1", `logWriterThread=${hasOwnThread ? "own" : "auto"}`];
  const broker = launch(store, driveModule(drive, control), sets);
  const ledger = new Ledger();
  let isOn = true;
  let hasEnded = false;
  void broker.ended.then(() => (hasEnded = true));
  try {
    const [address] = await broker.ready;
    await createTopic(address);
    const producers = Array.from({ length: PRODUCER_COUNT }, () => ledger.produce(address, BODY_SIZE, () => isOn));
    await until(() => ledger.acked >= PRODUCER_COUNT, "nothing is stored on a fast disk");
    const before = broker.rssBytes();
    const slowFrom = Date.now();
    setFaults(control, [{ call: "write", path: "commitlog", action: "delay", ms: delayMs }]);
    const pressing = press(address, ledger, () => isOn);
    let grown = 0;
    // Until it is told, in a short round; and then somewhat longer, for memory to grow.
    const isTold = (): boolean =>
      delayMs < QUEUE_MS || ledger.answers.some(({ sentMs, code }) => sentMs >= slowFrom && code === ResponseCode.SYSTEM_BUSY);
    if (isShort) await until(isTold, "nobody was told that the broker is busy");
    for (const end = Date.now() + (isShort ? 600 : 6000); Date.now() < end; await sleep(100)) {
      must(!hasEnded, "the process ended");
      grown = Math.max(grown, broker.rssBytes() - before);
    }
    setFaults(control, []);
    isOn = false;
    await Promise.all([...producers, pressing]);
    const slow = ledger.answers.filter(({ sentMs }) => sentMs >= slowFrom);
    const busy = slow.filter(({ code }) => code === ResponseCode.SYSTEM_BUSY);
    const other = slow.find(({ code }) => code !== ResponseCode.SUCCESS && code !== ResponseCode.SYSTEM_BUSY);
    must(other === undefined, () => `answered ${other!.code} ${other!.remark}`);
    const wrong = busy.find(({ remark }) => !BUSY.test(remark ?? ""));
    must(wrong === undefined, () => `busy in other words: ${wrong!.remark}`);
    must(delayMs < QUEUE_MS || busy.length > 0, "nobody was told that the broker is busy");
    const slowestMs = Math.max(...busy.map(({ sentMs, answeredMs }) => answeredMs - sentMs), 0);
    // With the writer in the network thread nobody can be told anything while the disk holds it: for two writes at most.
    const limitMs = (hasOwnThread ? QUEUE_MS : 2 * delayMs + QUEUE_MS) + QUEUE_MS + (isShort ? SLACK_MS_SHORT : SLACK_MS);
    must(slowestMs <= limitMs, `told that the broker is busy only after ${slowestMs} ms, with writes of ${delayMs} ms`);
    must(grown <= HEAP_GROWTH_MAX, `the process grew by ${Math.ceil(grown / 1_048_576)} MiB`);
    const last = await RawClient.connect(address);
    const fastFrom = Date.now();
    while ((await ledger.send(last, BODY_SIZE)).code !== ResponseCode.SUCCESS) {
      must(Date.now() - fastFrom < BACK_MS_MAX + (isShort ? SLACK_MS_SHORT : 0), "not stored though the disk is fast again");
      await sleep(20);
    }
    last.close();
    await sleep(200);
    await ledger.check(address);
    broker.kill("SIGTERM");
    must((await endOf(broker)) === 0, "the broker did not stop cleanly");
    return { acked: ledger.acked, busy: busy.length, slowestMs, grown };
  } finally {
    isOn = false;
    broker.kill();
  }
}

async function until(condition: () => boolean, what: string): Promise<void> {
  for (const deadline = Date.now() + 60_000; !condition(); await sleep(20)) must(Date.now() < deadline, what);
}

/** Sends at its own pace, whether the last send is answered or not. */
async function press(address: string, ledger: Ledger, isOn: () => boolean): Promise<void> {
  const clients = await Promise.all(Array.from({ length: 4 }, () => RawClient.connect(address)));
  const sends: Promise<unknown>[] = [];
  for (; isOn(); await sleep(20)) for (const client of clients) sends.push(ledger.send(client, BODY_SIZE));
  await Promise.all(sends);
  for (const client of clients) client.close();
}

/** More connections than descriptors: those that there are are served, and new ones once there is room. */
async function runOutOfDescriptors({ drive, directory }: Torture, round: number): Promise<number> {
  const store = join(directory, `store-${round}`);
  const control = join(directory, `faults-${round}.json`);
  const limited = ["bash", "-c", `ulimit -n ${OPEN_FILES}; exec "$@"`, "limited"];
  const broker = launch(store, driveModule(drive, control), [...SIZES, "ioWorkers=1", "connectionsMax=100000"], limited);
  const sockets: net.Socket[] = [];
  let hasEnded = false;
  void broker.ended.then(() => (hasEnded = true));
  try {
    const [address] = await broker.ready;
    await createTopic(address);
    const ledger = new Ledger();
    const client = await RawClient.connect(address);
    must((await ledger.send(client, 100)).code === ResponseCode.SUCCESS, "a send was refused");
    const [host, port] = address.split(":");
    for (let i = 0; i < 2 * OPEN_FILES; i++) {
      const socket = net.connect(Number(port), host);
      socket.on("error", () => {});
      sockets.push(socket);
    }
    await until(
      () => hasEnded || sockets.some(({ destroyed }) => destroyed),
      "all connections were taken: the round proves nothing",
    );
    must(!hasEnded, "the process ended when it had no descriptors left");
    const refused = sockets.filter(({ destroyed }) => destroyed).length;
    // The one that was there first: sends, topics and files of theirs go on.
    for (let i = 0; i < 20; i++) must((await ledger.send(client, 100)).code === ResponseCode.SUCCESS, "a send was refused");
    const made = await client.ask(requests.CREATE_TOPIC, requests.topicHeader(`${TOPIC}2`, 2));
    must(made.code === ResponseCode.SUCCESS, `no topic could be made: ${made.remark}`);
    for (const socket of sockets) socket.destroy();
    await sleep(300);
    const later = await RawClient.connect(address);
    must((await ledger.send(later, 100)).code === ResponseCode.SUCCESS, "a later connection is not served");
    await sleep(100);
    await ledger.check(address);
    later.close();
    client.close();
    return refused;
  } finally {
    for (const socket of sockets) socket.destroy();
    broker.kill();
  }
}
