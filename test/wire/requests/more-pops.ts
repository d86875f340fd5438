import type { HeaderValues, RemotingCommand } from "../../../src/format/remoting/remoting-command.ts";
import type { Asking, Recorder } from "../recorder.ts";
import { makeGroup, makeTopic, readable, send } from "./messages.ts";

const GROUP = "mr-g";
const HIDE = ["bornTime", "reviveQid", "extraInfo", "POP_CK", "1ST_POP_TIME", "size", "rq", "pt"];
const INVISIBLE_MS = 60_000;
const BROKER = "broker-a";
/** Pops that come late are refused; machines may be busy. */
const SLOW_MS = 10_000;

function pop(r: Recorder, topic: string, more: HeaderValues = {}, asking: Asking = {}): Promise<RemotingCommand | undefined> {
  const header = {
    consumerGroup: GROUP, topic, queueId: 0, maxMsgNums: 32, invisibleTime: INVISIBLE_MS, pollTime: 0, bornTime: Date.now() + SLOW_MS,
    initMode: 0, expType: "TAG", exp: "*", order: false,
  }; // biome-ignore format: one thing.
  return r.ask("c", 200_050, { ...header, ...more }, { show: "records", hide: HIDE, ...asking });
}

function handle(answer: RemotingCommand | undefined, startOffset: number, kind = "0", popTime?: string): string {
  const { popTime: told, invisibleTime, reviveQid } = answer?.extFields ?? {};
  return `${startOffset} ${popTime ?? told} ${invisibleTime} ${reviveQid} ${kind} ${BROKER} 0`;
}

function ack(r: Recorder, topic: string, extraInfo: string, offset: number, more: HeaderValues = {}): Promise<unknown> {
  return r.ask("c", 200_051, { consumerGroup: GROUP, topic, queueId: 0, extraInfo, offset, ...more }, { hide: HIDE });
}

function change(
  r: Recorder,
  topic: string,
  extraInfo: string,
  offset: number,
  invisibleTime: number,
  more: HeaderValues = {},
  hide: readonly string[] = HIDE,
): Promise<RemotingCommand | undefined> {
  const header = { consumerGroup: GROUP, topic, queueId: 0, extraInfo, offset, invisibleTime, ...more };
  return r.ask("c", 200_053, header, { hide });
}

interface Acks {
  so?: number;
  b: string;
  more?: object;
}

function batchAck(r: Recorder, topic: string, popped: RemotingCommand | undefined, acks: readonly Acks[]): Promise<unknown> {
  const { reviveQid, popTime, invisibleTime } = popped?.extFields ?? {};
  const one = ({ so = 0, b, more }: Acks): object => ({
    c: GROUP, t: topic, r: "0", so, q: 0, rq: Number(reviveQid), pt: Number(popTime), it: Number(invisibleTime), b, ...more,
  }); // biome-ignore format: one thing.
  return r.ask("c", 200_151, {}, { body: { brokerName: BROKER, acks: acks.map(one) }, hide: HIDE });
}

async function filled(r: Recorder, topic: string, bodies: readonly string[], more: HeaderValues = {}): Promise<void> {
  await makeTopic(r, topic, 1, more);
  for (const body of bodies) await send(r, topic, body, { properties: { UNIQ_KEY: `U-${body}`, TAGS: body } });
  await readable(r, topic, 0, bodies.length);
}

function offset(r: Recorder, topic: string): Promise<unknown> {
  return r.ask("admin", 14, { consumerGroup: GROUP, topic, queueId: 0 });
}

/** Pop consumption, further: what is odd in requests, acknowledgements by the dozen, order, and what comes back. */
export async function morePops(r: Recorder): Promise<void> {
  await makeGroup(r, GROUP);
  await odd(r);
  await manyAcks(r);
  await notices(r);
  await inOrder(r);
  await orderComesBack(r);
  await changedTwice(r);
}

async function odd(r: Recorder): Promise<void> {
  r.note("odd requests");
  await filled(r, "mr-O", ["a", "b"]);
  for (const more of [
    { maxMsgNums: 0 },
    { maxMsgNums: -1 },
    { initMode: 7 },
    { expType: undefined, exp: undefined },
    { exp: "" },
  ]) {
    const consumerGroup = `mr-o-${JSON.stringify(more).replaceAll(/[^a-z0-9]/gi, "")}`;
    await pop(r, "mr-O", { ...more, consumerGroup });
  }
  await pop(r, "mr-O", { consumerGroup: "mr-o-sql", expType: "SQL92", exp: "TAGS = 'b'" });
  await pop(r, "mr-O", { consumerGroup: "mr-o-other", expType: "OTHER", exp: "b" });
  for (const missing of ["bornTime", "topic", "consumerGroup", "order"])
    await pop(r, "mr-O", { consumerGroup: `mr-o-${missing}`, [missing]: undefined });
  await pop(r, "%RETRY%mr-g", { consumerGroup: "mr-o-retry" });
  await pop(r, "mr-O", { consumerGroup: "mr-o-late", bornTime: Date.now() - 5000, pollTime: 1000 });
  await pop(r, "mr-O", { consumerGroup: "mr-o-minus", queueId: -2 });
}

async function manyAcks(r: Recorder): Promise<void> {
  r.note("many acknowledgements at once");
  const topic = "mr-B";
  await filled(r, topic, ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]);
  const popped = await pop(r, topic, { maxMsgNums: 4 });
  await batchAck(r, topic, popped, [{ b: "Dw==" }]);
  const next = await pop(r, topic, { maxMsgNums: 4 });
  await batchAck(r, topic, next, [{ so: 4, b: "Aw==" }, { so: 4, b: "DA==" }]); // biome-ignore format: one thing.
  const last = await pop(r, topic, { maxMsgNums: 4 });
  await batchAck(r, topic, last, [{ so: 8, b: "/w==" }]);
  await batchAck(r, topic, last, [{ so: 8, b: "AQ==", more: { q: 3 } }]);
  await batchAck(r, topic, last, [{ so: 8, b: "AQ==", more: { c: "mr-none" } }]);
  await batchAck(r, topic, last, [{ so: -5, b: "AQ==" }]);
  await batchAck(r, topic, last, [{ so: 8, b: "AQ==", more: { rq: 99 } }]);
  await offset(r, topic);
}

async function notices(r: Recorder): Promise<void> {
  r.note("notices");
  const topic = "mr-N";
  await filled(r, topic, []);
  const header = { consumerGroup: GROUP, topic, queueId: 0, pollTime: 0, bornTime: Date.now() + SLOW_MS };
  await r.ask("c", 200_054, header, { hide: HIDE });
  const wake = (body: string): Promise<unknown> =>
    r.quietly("p", 310, {
      a: "pg", b: topic, c: "TBW102", d: 4, e: 0, f: 0, g: 1_700_000_000_000, h: 0, i: `UNIQ_KEY\u0001${body}\u0002TAGS\u0001${body}\u0002`,
      j: 0, k: false, m: false,
    }, Buffer.from(body)); // biome-ignore format: one thing.
  const held = r.ask("c", 200_054, { ...header, pollTime: 10_000, bornTime: Date.now() }, { hide: HIDE });
  await r.wait(300);
  await wake("x");
  await held;
  await readable(r, topic, 0, 1);
  await r.ask("c", 200_054, { ...header, expType: "TAG", exp: "x" }, { hide: HIDE });
  await r.ask("c", 200_054, { ...header, expType: "TAG", exp: "no other" }, { hide: HIDE });
  await r.ask("c", 200_054, { ...header, expType: "TAG", exp: "||" }, { hide: HIDE });
  await r.ask("c", 200_054, { ...header, expType: "SQL92", exp: "a >" }, { hide: HIDE });
  await r.ask("c", 200_054, { ...header, order: true, attemptId: "n1" }, { hide: HIDE });
  await r.ask("c", 200_054, { ...header, consumerGroup: "mr bad" }, { hide: HIDE });
  await r.ask("c", 200_054, { ...header, bornTime: undefined }, { hide: HIDE });
  const popped = await pop(r, topic, { order: true, attemptId: "n1" });
  await r.ask("c", 200_054, { ...header, order: true, attemptId: "n2" }, { hide: HIDE });
  await ack(r, topic, handle(popped, 0), 0);
  await r.ask("admin", 200_055, { consumerGroup: GROUP, topic, queueId: 0 });
}

async function inOrder(r: Recorder): Promise<void> {
  r.note("in order, many acknowledgements at once");
  const topic = "mr-Q";
  await filled(r, topic, ["1", "2", "3", "4", "5"]);
  const order = { order: true, maxMsgNums: 3, attemptId: "q1" };
  const popped = await pop(r, topic, order);
  await batchAck(r, topic, popped, [{ b: "BQ==" }]);
  await offset(r, topic);
  await pop(r, topic, { ...order, attemptId: "q2" });
  await batchAck(r, topic, popped, [{ b: "Ag==" }]);
  await offset(r, topic);
  const rest = await pop(r, topic, { ...order, attemptId: "q3" });
  await ack(r, topic, handle(rest, 3, "0", "1700000000000"), 3);
  await offset(r, topic);
  await change(r, topic, handle(rest, 3), 9, 1000);
  await change(r, topic, handle(rest, 3), 4, 1000, { suspend: true }, [...HIDE, "invisibleTime"]);
  await ack(r, topic, handle(rest, 3), 3);
  await offset(r, topic);
}

async function orderComesBack(r: Recorder): Promise<void> {
  r.note("in order, not acknowledged in time");
  const topic = "mr-X";
  await filled(r, topic, ["1", "2", "3"]);
  const order = { order: true, maxMsgNums: 2 };
  const first = await pop(r, topic, { ...order, attemptId: "x1", invisibleTime: 1000 });
  await ack(r, topic, handle(first, 0), 1);
  const second = await pop(r, topic, { ...order, attemptId: "x2", pollTime: 10_000, invisibleTime: 1000 });
  await ack(r, topic, handle(first, 0), 0);
  await offset(r, topic);
  const third = await pop(r, topic, { ...order, attemptId: "x3", pollTime: 10_000 });
  await ack(r, topic, handle(second, 0), 0);
  await ack(r, topic, handle(third, 0), 0);
  await ack(r, topic, handle(third, 0), 1);
  await offset(r, topic);
  const last = await pop(r, topic, { ...order, attemptId: "x4" });
  await ack(r, topic, handle(last, 2), 2);
  await offset(r, topic);
}

async function changedTwice(r: Recorder): Promise<void> {
  r.note("made invisible for longer, and for shorter");
  const topic = "mr-C";
  await filled(r, topic, ["c", "d", "e"]);
  const popped = await pop(r, topic, { invisibleTime: 30_000 });
  const longer = await change(r, topic, handle(popped, 0), 0, 20_000);
  await change(r, topic, handle(longer, 0), 0, 1500);
  const suspended = await change(r, topic, handle(popped, 0), 1, 5000, { suspend: true });
  await ack(r, topic, handle(popped, 0), 2);
  await pop(r, topic, { pollTime: 12_000 }, { hide: [...HIDE, "restNum"] });
  await pop(r, topic, { pollTime: 12_000 }, { hide: [...HIDE, "restNum"] });
  await ack(r, topic, handle(suspended, 1), 1);
  for (const more of [{ extraInfo: "x" }, { extraInfo: undefined }, { consumerGroup: "mr bad" }, { invisibleTime: undefined }])
    await change(r, topic, handle(popped, 0), 0, 1000, more);
  await change(r, topic, handle(popped, 0), 0, -1);
}
