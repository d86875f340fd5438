import type { HeaderValues, RemotingCommand } from "../../../src/format/remoting/remoting-command.ts";
import type { Asking, Recorder } from "../recorder.ts";
import { beat, consumer, subscription } from "./clients.ts";
import { makeGroup, makeTopic, readable, send } from "./messages.ts";

const TOPIC = "po-T";
const GROUP = "po-g";
/** The queue of the revive topic goes round, and stands in handles too. */
const HIDE = ["bornTime", "reviveQid", "extraInfo", "POP_CK", "1ST_POP_TIME", "size"];
const INVISIBLE_MS = 60_000;

function pop(r: Recorder, more: HeaderValues = {}, asking: Asking = {}): Promise<RemotingCommand | undefined> {
  const header = {
    consumerGroup: GROUP,
    topic: TOPIC,
    queueId: 0,
    maxMsgNums: 32,
    invisibleTime: INVISIBLE_MS,
    pollTime: 0,
    bornTime: Date.now(),
    initMode: 0,
    expType: "TAG",
    exp: "*",
    order: false,
  };
  return r.ask("c", 200_050, { ...header, ...more }, { show: "records", hide: HIDE, ...asking });
}

/** The handle of a message as a client makes it. */
function handle(answer: RemotingCommand | undefined, startOffset: number, kind = "0"): string {
  const { popTime, invisibleTime, reviveQid } = answer?.extFields ?? {};
  return `${startOffset} ${popTime} ${invisibleTime} ${reviveQid} ${kind} broker-a 0`;
}

function ack(r: Recorder, extraInfo: string, offset: number, more: HeaderValues = {}): Promise<RemotingCommand | undefined> {
  return r.ask("c", 200_051, { consumerGroup: GROUP, topic: TOPIC, queueId: 0, extraInfo, offset, ...more }, { hide: HIDE });
}

function change(
  r: Recorder,
  extraInfo: string,
  offset: number,
  invisibleTime: number,
  more: HeaderValues = {},
  hide: readonly string[] = HIDE,
): Promise<RemotingCommand | undefined> {
  const header = { consumerGroup: GROUP, topic: TOPIC, queueId: 0, extraInfo, offset, invisibleTime };
  return r.ask("c", 200_053, { ...header, ...more }, { hide });
}

async function sendAll(r: Recorder, topic: string, bodies: readonly string[], tags: readonly string[] = []): Promise<void> {
  for (const [index, body] of bodies.entries()) {
    const tag = tags[index];
    await send(r, topic, body, { properties: { UNIQ_KEY: `U-${body}`, ...(tag === undefined ? {} : { TAGS: tag }) } });
  }
}

/** Pop consumption. */
export async function pops(r: Recorder): Promise<void> {
  await makeTopic(r, TOPIC);
  await makeGroup(r, "po-off", { consumeEnable: false });
  r.note("refusals");
  await pop(r, { bornTime: 1, pollTime: 1 });
  await pop(r, { maxMsgNums: 33 });
  await pop(r, { topic: "po-none" });
  await makeTopic(r, "po-W", 1, { perm: 2 });
  await pop(r, { topic: "po-W" });
  await pop(r, { queueId: 1 });
  await pop(r, { consumerGroup: "po bad" });
  await pop(r, { consumerGroup: "po-off" });
  await pop(r, { exp: "||" });
  await pop(r, { exp: "a > ", expType: "SQL92" });
  await pop(r, { invisibleTime: undefined });
  await pop(r, { maxMsgNums: "x" });

  r.note("nothing there");
  await pop(r);
  await pop(r, { pollTime: 300 });
  await pop(r, { queueId: -1 });

  r.note("popped, acknowledged");
  await sendAll(r, TOPIC, ["a", "b", "c", "d"]);
  await readable(r, TOPIC, 0, 4);
  const two = await pop(r, { maxMsgNums: 2 });
  const one = await pop(r, { maxMsgNums: 1, queueId: -1 });
  await r.ask("admin", 14, { consumerGroup: GROUP, topic: TOPIC, queueId: 0 });
  await ack(r, handle(two, 0), 0);
  await ack(r, handle(two, 0), 0);
  await ack(r, handle(two, 0), 1);
  await ack(r, handle(one, 2), 2);
  await ack(r, handle(one, 2), 3);
  await ack(r, handle(one, 2), 4);
  await ack(r, handle(one, 2), 5);
  await ack(r, handle(one, 2), -1);
  await ack(r, handle(one, 2), 2, { queueId: 1 });
  await ack(r, handle(one, 2), 2, { queueId: -1 });
  await ack(r, handle(one, 2), 2, { topic: "po-none" });
  await ack(r, handle(one, 2), 2, { consumerGroup: "po-unknown" });
  await ack(r, "1 2", 2);
  await ack(r, "x y z 0 0 broker-a 0", 2);

  r.note("batches of acknowledgements");
  const four = await pop(r);
  const batch = (more: object): object => ({
    brokerName: "broker-a",
    acks: [
      {
        c: GROUP, t: TOPIC, r: "0", so: 3, q: 0, rq: Number(four?.extFields["reviveQid"]), pt: Number(four?.extFields["popTime"]),
        it: INVISIBLE_MS, b: "AQ==", ...more,
      },
    ],
  }); // biome-ignore format: one thing.
  const hide = ["rq", "pt"];
  await r.ask("c", 200_151, {}, { body: batch({}), hide });
  await r.ask("c", 200_151, {}, { body: batch({ so: 100 }), hide });
  await r.ask("c", 200_151, {}, { body: batch({ t: "po-none" }), hide });
  await r.ask("c", 200_151, {}, { body: batch({ r: "1" }), hide });
  await r.ask("c", 200_151, {}, { body: { brokerName: "broker-a", acks: [] } });
  await r.ask("c", 200_151);

  r.note("filtered");
  await sendAll(r, TOPIC, ["e", "f", "g"], ["A", "B", "A"]);
  await readable(r, TOPIC, 0, 7);
  const filtered = await pop(r, { exp: "A" });
  await ack(r, handle(filtered, 4), 4);
  await ack(r, handle(filtered, 4), 6);
  await sendAll(r, TOPIC, ["h"], ["B"]);
  await readable(r, TOPIC, 0, 8);
  await pop(r, { exp: "C" });
  await pop(r);

  r.note("where a new group begins");
  await pop(r, { consumerGroup: "po-max", initMode: 1, maxMsgNums: 1 });
  await pop(r, { consumerGroup: "po-min", initMode: 0, maxMsgNums: 1 });

  r.note("a held pop");
  await makeTopic(r, "po-H");
  const waiting = pop(r, { consumerGroup: "po-held", topic: "po-H", pollTime: 10_000 });
  await r.until(200_055, { consumerGroup: "po-held", topic: "po-H", queueId: 0 }, (it) => it.extFields["pollingNum"] === "1");
  await r.ask("admin", 200_055, { consumerGroup: "po-held", topic: "po-H", queueId: 0 });
  await r.ask("admin", 200_055, { consumerGroup: "po-held", topic: "po-H", queueId: -1 });
  await r.ask("admin", 200_055, { consumerGroup: "po-held", topic: "po-none", queueId: 0 });
  await r.quietly("p", 310, {
    a: "pg", b: "po-H", c: "TBW102", d: 4, e: 0, f: 0, g: 1_700_000_000_000, h: 0, i: "UNIQ_KEY\u0001W\u0002", j: 0, k: false, m: false,
  }, Buffer.from("wakes")); // biome-ignore format: one thing.
  await waiting;

  r.note("notification, peek");
  const notice = { consumerGroup: "po-n", topic: TOPIC, queueId: 0, pollTime: 0, bornTime: Date.now() };
  await r.ask("c", 200_054, notice, { hide: HIDE });
  await r.ask("c", 200_054, { ...notice, consumerGroup: GROUP }, { hide: HIDE });
  await r.ask("c", 200_054, { ...notice, consumerGroup: GROUP, queueId: -1, pollTime: 200 }, { hide: HIDE });
  await r.ask("c", 200_054, { ...notice, topic: "po-none" }, { hide: HIDE });
  await r.ask("c", 200_054, { ...notice, queueId: 9 }, { hide: HIDE });
  await r.ask("c", 200_052, { consumerGroup: "po-p", topic: TOPIC, queueId: 0, maxMsgNums: 2 }, { show: "records", hide: HIDE });
  await r.ask("c", 200_052, { consumerGroup: GROUP, topic: TOPIC, queueId: 0, maxMsgNums: 2 }, { hide: HIDE });
  await r.ask("c", 200_052, { consumerGroup: GROUP, topic: "po-none", queueId: 0, maxMsgNums: 2 }, { hide: HIDE });
  await r.ask("admin", 200_056);

  await inOrder(r);
  await retried(r);
  await assignments(r);
}

async function inOrder(r: Recorder): Promise<void> {
  const topic = "po-O";
  await makeTopic(r, topic);
  await sendAll(r, topic, ["1", "2", "3"]);
  await readable(r, topic, 0, 3);
  r.note("in order");
  const order = { topic, order: true, maxMsgNums: 2, attemptId: "a1" };
  const first = await pop(r, order);
  await r.ask("admin", 14, { consumerGroup: GROUP, topic, queueId: 0 });
  await pop(r, { ...order, attemptId: "a2" });
  const again = await pop(r, order);
  await ack(r, handle(first, 0), 0, { topic });
  await ack(r, handle(again, 0), 0, { topic });
  await r.ask("admin", 14, { consumerGroup: GROUP, topic, queueId: 0 });
  await ack(r, handle(again, 0), 5, { topic });
  await ack(r, handle(again, 0), 2, { topic });
  await change(r, handle(again, 0), 1, 0, { topic }, [...HIDE, "invisibleTime"]);
  await r.wait(100);
  const third = await pop(r, { ...order, attemptId: "a3" });
  await ack(r, handle(third, 1), 1, { topic });
  await ack(r, handle(third, 1), 2, { topic });
  await r.ask("admin", 14, { consumerGroup: GROUP, topic, queueId: 0 });
  await pop(r, { ...order, attemptId: "a4" });
}

async function retried(r: Recorder): Promise<void> {
  const topic = "po-R";
  const retry = `%RETRY%${GROUP}_${topic}`;
  await makeTopic(r, topic);
  await send(r, topic, "again", { properties: { UNIQ_KEY: "U-again", TAGS: "A", KEYS: "k" }, header: { flag: 3 } });
  await readable(r, topic, 0, 1);
  r.note("made visible again");
  const popped = await pop(r, { topic });
  await change(r, handle(popped, 0), 0, 1500, { topic });
  await change(r, handle(popped, 0), 1, 1500, { topic });
  await change(r, handle(popped, 0), -1, 1500, { topic });
  await change(r, handle(popped, 0), 0, 1500, { topic, queueId: 3 });
  await change(r, handle(popped, 0), 0, 1500, { topic: "po-none" });
  await ack(r, handle(popped, 0), 0, { topic });
  await readable(r, retry, 0, 1);
  await r.ask("admin", 351, { topic: retry });
  const back = await pop(r, { topic });
  await ack(r, handle(back, 0, "1"), 0, { topic: retry });
  await r.ask("admin", 14, { consumerGroup: GROUP, topic: retry, queueId: 0 });
  await r.ask("c", 11, {
    consumerGroup: GROUP, topic: retry, queueId: 0, queueOffset: 0, maxMsgNums: 32, sysFlag: 4, commitOffset: 0,
    suspendTimeoutMillis: 0, subscription: "*", subVersion: 0, expressionType: "TAG",
  }, { show: "records", hide: HIDE }); // biome-ignore format: one thing.
}

async function assignments(r: Recorder): Promise<void> {
  const topic = "po-A";
  const group = "po-ag";
  await makeTopic(r, topic, 3);
  await makeGroup(r, group);
  const set = (more: object): object => ({ topic, consumerGroup: group, mode: "POP", popShareQueueNum: 0, ...more });
  const query = (clientId: string, more: object = {}): object => {
    return {
      topic,
      consumerGroup: group,
      clientId: `127.0.0.2@${clientId}`,
      strategyName: "AVG",
      messageModel: "CLUSTERING",
      ...more,
    };
  };
  r.note("assignments");
  await r.ask("c", 400, {}, { body: query("ca") });
  await beat(r, "ca", [consumer(group, [subscription({ topic })])]);
  await beat(r, "cb", [consumer(group, [subscription({ topic })])]);
  await beat(r, "cc", [consumer(group, [subscription({ topic })])]);
  for (const client of ["ca", "cb", "cc", "cd"]) await r.ask("c", 400, {}, { body: query(client) });
  await r.ask("c", 400, {}, { body: query("ca", { strategyName: "AVG_BY_CIRCLE" }) });
  await r.ask("c", 400, {}, { body: query("ca", { strategyName: "NONE" }) });
  await r.ask("c", 400, {}, { body: query("ca", { messageModel: "BROADCASTING" }) });
  await r.ask("c", 400, {}, { body: query("ca", { topic: "po-none" }) });
  await r.ask("admin", 401, {}, { body: set({}) });
  for (const client of ["ca", "cd"]) await r.ask("c", 400, {}, { body: query(client) });
  await r.ask("c", 400, {}, { body: query("ca", { topic: `%RETRY%${group}` }) });
  await r.ask("admin", 401, {}, { body: set({ popShareQueueNum: 1 }) });
  for (const client of ["ca", "cb", "cc"]) await r.ask("c", 400, {}, { body: query(client) });
  await r.ask("admin", 401, {}, { body: set({ mode: "PULL" }) });
  await r.ask("c", 400, {}, { body: query("cb") });
  await r.ask("admin", 401, {}, { body: set({ topic: `%RETRY%${group}` }) });
  await r.ask("admin", 401, {}, { body: set({ topic: "po-none" }) });
  await r.ask("admin", 401, {}, { body: set({ consumerGroup: "po bad" }) });
  await r.ask("admin", 402);
}
