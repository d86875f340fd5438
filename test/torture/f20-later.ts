// F20: the broker is killed again and again while messages wait for their time: of a delay level, of their own, of their next try,
// or of the end of a pop.
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { RawClient } from "../broker-e2e/raw-client.ts";
import * as requests from "../broker-e2e/requests.ts";
import type { Command } from "../cli/command.ts";
import { brokerCommand, ready } from "./broker-command.ts";
import { DELAYED, FAILING, LaterLoad, LEVELS_S, QUEUE_COUNT, TIMED, untilGone } from "./later-load.ts";
import { POP_QUEUE_COUNT, POPPED, PopLoad } from "./pop-load.ts";
import type { Random } from "./random.ts";
import { type Figures, must, type Scenario, type Torture } from "./scenario.ts";

const SETTINGS = [
  "brokerName=b",
  `messageDelayLevel=${LEVELS_S.map((seconds) => `${seconds}s`).join(" ")}`,
  "flushDelayOffsetInterval=1000",
  "timerPrecisionMs=100",
  "recallMessageEnable=true",
  "mappedFileSizeCommitLog=4194304",
  "waitTimeMillsInSendQueue=60000", // On a busy machine nothing is refused.
  "osPageCacheBusyTimeOutMills=60000",
];
/** Of each kind at once. */
const PRODUCER_COUNT = 2;
const POPPER_COUNT = 3;
const DRAINED_WITHIN_MS = 60_000;

export const scenario: Scenario = {
  id: "F20",
  title: "kill -9 while messages wait for their time: none is lost, none comes early, and twice only what was on its way",
  run: torture,
};

async function torture({ random, drive, directory, isShort, hasNext, say }: Torture): Promise<Figures> {
  const store = join(directory, "store");
  const launch = (): Command => brokerCommand(store, drive, SETTINGS);
  const later = new LaterLoad();
  const pops = new PopLoad();
  const inFlight = { delayed: 0, timed: 0, retries: 0, pops: 0 };
  let kills = 0;
  let broker = launch();
  try {
    let address = await ready(broker);
    await createTopics(address);
    while (hasNext(kills, isShort ? 3 : Number.POSITIVE_INFINITY)) {
      const round = all(address, later, pops, random.fork());
      round.catch(() => {}); // Looked at below.
      await sleep(random.between(200, isShort ? 1200 : 2500));
      inFlight.delayed += later.delayed.open;
      inFlight.timed += later.timed.open;
      inFlight.retries += later.failed.open;
      inFlight.pops += pops.inFlight(Date.now());
      await broker.end("SIGKILL");
      for (const each of [...later.all, pops]) each.killed(Date.now());
      await round;
      kills++;
      if (kills % 20 === 0) say(`${kills} kills`);
      broker = launch();
      address = await ready(broker);
    }
    await drain(address, later, pops, random.fork());
  } finally {
    await broker.end("SIGKILL");
  }
  for (const [kind, count] of Object.entries(inFlight)) must(count > 0, `no ${kind} under way: the round proves nothing`);
  must(pops.acked > 0 && pops.cameBack > 0, "nothing was popped and came back: the round proves nothing");
  return {
    kills,
    "under way at kills": `${inFlight.delayed} delayed, ${inFlight.timed} timed, ${inFlight.retries} retries, ${inFlight.pops} pops`,
    delayed: later.delayed.acked,
    timed: later.timed.acked,
    recalled: later.timed.recalled,
    tries: later.failed.acked,
    popped: pops.sent,
    "came back": pops.cameBack,
    "changed invisible time": pops.changed,
    lost: 0,
    early: 0,
    "twice, after a kill": later.all.reduce((sum, { repeated }) => sum + repeated, pops.repeated),
    "late at most, with the restart, ms": Math.max(...later.all.map(({ lateMsMax }) => lateMsMax)),
  };
}

async function createTopics(address: string): Promise<void> {
  const client = await RawClient.connect(address);
  for (const [topic, count] of [...[DELAYED, TIMED, FAILING].map((name) => [name, QUEUE_COUNT]), [POPPED, POP_QUEUE_COUNT]]) {
    const answer = await client.ask(requests.CREATE_TOPIC, requests.topicHeader(String(topic), Number(count)));
    must(answer.code === 0, `a topic was not made: ${answer.remark}`);
  }
  client.close();
}

/** All producers and consumers, until the broker is gone. */
async function all(address: string, later: LaterLoad, pops: PopLoad, random: Random): Promise<void> {
  const works: Promise<void>[] = [untilGone(address, (client) => later.consume(client))];
  for (let i = 0; i < PRODUCER_COUNT; i++) {
    const own = random.fork();
    works.push(untilGone(address, (client) => later.sendDelayed(client, own)));
    works.push(untilGone(address, (client) => later.sendTimed(client, own)));
  }
  works.push(untilGone(address, (client) => later.sendFailing(client, random)));
  works.push(untilGone(address, (client) => pops.send(client, random)));
  for (let i = 0; i < POPPER_COUNT; i++) {
    const own = random.fork();
    works.push(untilGone(address, (client) => pops.pop(client, own, false)));
  }
  await Promise.all(works);
}

/** Until all that was acknowledged has come. */
async function drain(address: string, later: LaterLoad, pops: PopLoad, random: Random): Promise<void> {
  const end = Date.now() + DRAINED_WITHIN_MS;
  const clients = await Promise.all(Array.from({ length: 1 + POPPER_COUNT }, () => RawClient.connect(address)));
  const isDone = (): boolean => (later.open === 0 && pops.open === 0) || Date.now() > end;
  const work = async (client: RawClient, index: number): Promise<void> => {
    while (!isDone()) await (index === 0 ? later.consume(client) : pops.pop(client, random, true));
  };
  await Promise.all(clients.map(work));
  for (const client of clients) client.close();
  const lost = [...later.all.flatMap((books) => books.openKeys()), ...pops.openIds()];
  must(later.open === 0 && pops.open === 0, () => `lost: ${lost.slice(0, 8).join(", ")} and so on, ${lost.length} in all`);
}
