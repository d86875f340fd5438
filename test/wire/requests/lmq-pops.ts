import type { HeaderValues, RemotingCommand } from "../../../src/format/remoting/remoting-command.ts";
import type { Recorder } from "../recorder.ts";
import { makeGroup, makeTopic, pull, readable, send } from "./messages.ts";

const TOPIC = "ls-T";
const A = "%LMQ%ls-a";
const B = "%LMQ%ls-b";
const GROUP = "%LMQ%ls-g";
const PLAIN = "ls-g";
/** Pops that come late are refused; machines may be busy. */
const SLOW_MS = 10_000;
const HIDE = ["bornTime", "reviveQid", "extraInfo", "POP_CK", "1ST_POP_TIME", "size", "rq", "pt"];

function pop(r: Recorder, consumerGroup: string, topic: string, more: HeaderValues = {}): Promise<RemotingCommand | undefined> {
  const header = {
    consumerGroup, topic, queueId: 0, maxMsgNums: 32, invisibleTime: 60_000, pollTime: 0, bornTime: Date.now() + SLOW_MS, initMode: 0,
    expType: "TAG", exp: "*", order: false,
  }; // biome-ignore format: one thing.
  return r.ask("c", 200_050, { ...header, ...more }, { show: "records", hide: HIDE });
}

function handle(answer: RemotingCommand | undefined, startOffset: number): string {
  const { popTime, invisibleTime, reviveQid } = answer?.extFields ?? {};
  return `${startOffset} ${popTime} ${invisibleTime} ${reviveQid} 0 broker-a 0`;
}

/** Queues of further names (LMQ) and what else consumers and administrators ask of them; of a broker that has them. */
export async function lmqPops(r: Recorder): Promise<void> {
  await makeTopic(r, TOPIC);
  for (const [index, to] of [A, `${A},${B}`, B, A].entries())
    await send(r, TOPIC, `m${index}`, {
      properties: { UNIQ_KEY: `U${index}`, TAGS: index % 2 === 0 ? "x" : "y", INNER_MULTI_DISPATCH: to },
    });
  await readable(r, A, 0, 3);
  await readable(r, B, 0, 2);
  await pops(r);
  await others(r);
}

async function pops(r: Recorder): Promise<void> {
  r.note("pops");
  for (const group of [PLAIN, GROUP]) {
    const popped = await pop(r, group, A, { maxMsgNums: 2 });
    const of = { consumerGroup: group, topic: A, queueId: 0 };
    await r.ask("c", 200_051, { ...of, extraInfo: handle(popped, 0), offset: 0 }, { hide: HIDE });
    await r.ask("c", 200_053, { ...of, extraInfo: handle(popped, 0), offset: 1, invisibleTime: 30_000 }, { hide: HIDE });
    await r.ask("admin", 14, of);
    await r.ask("c", 200_054, { ...of, pollTime: 0, bornTime: Date.now() + SLOW_MS }, { hide: HIDE });
    await r.ask("admin", 200_055, of);
    await pop(r, group, A, { queueId: -1 });
    await pop(r, group, A, { queueId: 1 });
    await pop(r, group, "%LMQ%ls-nobody");
    await pop(r, group, B, { exp: "x" });
  }
}

async function others(r: Recorder): Promise<void> {
  r.note("what else is asked of them");
  const of = { consumerGroup: PLAIN, topic: A, queueId: 0 };
  await r.ask("c", 15, { ...of, commitOffset: 1 });
  await r.ask("admin", 208, { consumerGroup: PLAIN, topic: A }, { hide: ["lastTimestamp", "consumeTps", "pullOffset"] });
  await r.ask("admin", 300, { topic: A });
  await r.ask("admin", 202, { topic: A }, { hide: ["lastUpdateTimestamp", "topicPutTps"] });
  await r.ask("admin", 321, { topic: A, queueId: 0, index: 0, count: 5 }, { hide: ["physicOffset", "physicSize"] });
  await r.ask("admin", 222, { group: PLAIN, topic: A, isForce: true, queueId: 0, offset: 2, timestamp: -1 });
  await r.ask("admin", 14, of);
  await pull(r, PLAIN, A, { queueOffset: 0 });
  await r.ask("admin", 314, { srcGroup: PLAIN, destGroup: "ls-copy", topic: A, offline: true });
  await r.ask("admin", 14, { ...of, consumerGroup: "ls-copy" });
  await r.ask("admin", 343, { group: PLAIN });
  r.note("sent to directly");
  await send(r, "%LMQ%ls-new", "direct", { properties: { UNIQ_KEY: "D2" } });
  await pull(r, PLAIN, "%LMQ%ls-new");
  r.note("sent to with a delay, and in a batch");
  await send(r, TOPIC, "late", { properties: { UNIQ_KEY: "L1", INNER_MULTI_DISPATCH: A, DELAY: "1" }, hide: ["queueOffset"] });
  await readable(r, A, 0, 4);
  await pull(r, PLAIN, A, { queueOffset: 3 });
  await makeGroup(r, "ls-off", { consumeEnable: false });
  await pop(r, "ls-off", A);
}
