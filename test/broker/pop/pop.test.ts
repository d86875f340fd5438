// Goal: what is popped is invisible until its time is over, then comes back, with one try more; what is acknowledged never
// does; also when the broker dies in between. In order, a queue gives out nothing past what is not acknowledged.
// Method: the whole control plane over a store in a map and a virtual clock. A crash is a new control plane over the same
// store and files, without closing the old one.
import { globSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test, { type ExecutionContext } from "ava";
import fc from "fast-check";
import { VirtualClock } from "../../../src/base/clock.ts";
import { MillraceError } from "../../../src/base/errors.ts";
import type { ConfigValues } from "../../../src/config/keys.ts";
import { type DecodedMessage, decodeMessages } from "../../../src/format/record/message.ts";
import { RequestCode } from "../../../src/format/remoting/remoting-codes.ts";
import { type HeaderValues, type RemotingCommand, request } from "../../../src/format/remoting/remoting-command.ts";
import { type FakeControlPlane, newControlPlane } from "../fake-control-plane.ts";
import { FakeChannel, FakeStore } from "../fake-store.ts";

const TOPIC = "T";
const GROUP = "g";
const REVIVE = "rmq_sys_REVIVE_LOG_DefaultCluster";
const INVISIBLE_MS = 60_000;

function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
}

/** undefined: it is gone, as a temporary file may be. */
function readIfThere(file: string): Buffer | undefined {
  try {
    return readFileSync(file);
  } catch {
    return undefined;
  }
}

/** Refuses records of one topic. */
class PickyStore extends FakeStore {
  refused = "";
  tags = "";
  /** Records of the revive topic are stored, and their senders hear of it once this is resolved. */
  held: Promise<void> | undefined;

  override append(message: Parameters<FakeStore["append"]>[0]): ReturnType<FakeStore["append"]> {
    const isRefused = message.topic === this.refused && (this.tags === "" || message.properties.get("TAGS") === this.tags);
    if (isRefused) return Promise.reject(new MillraceError("MILLRACE_STORE_FULL", "the disk is full"));
    const stored = super.append(message);
    const held = message.topic === REVIVE ? this.held : undefined;
    return held === undefined ? stored : held.then(() => stored);
  }
}

class Rig {
  directory: string = mkdtempSync(join(tmpdir(), "pop-"));
  readonly store = new PickyStore();
  clock = new VirtualClock(1_700_000_000_000);
  readonly values: Partial<ConfigValues>;
  readonly channel = new FakeChannel(1);
  plane!: FakeControlPlane;
  readonly #dead: { plane: FakeControlPlane; directory: string }[] = [];

  constructor(values: Partial<ConfigValues> = {}) {
    this.values = { autoCreateSubscriptionGroup: true, ...values };
    this.channel.recordsOf = (records) =>
      records.filter((_, index) => index % 2 === 0).map((physicalOffset) => this.store.readRecord(physicalOffset)!);
    this.restart();
  }

  /** As after kill -9: what the old one had set a timer for does not happen any more. */
  restart(): void {
    // Of the old one writes are under way: they go on where nobody looks.
    if (this.plane !== undefined) {
      const directory = mkdtempSync(join(tmpdir(), "pop-"));
      // A journal before the file that takes its place, which may come into being only now.
      const copied = new Set<string>();
      for (let look = 0; look < 2; look++) {
        for (const name of readdirSync(this.directory).toSorted().toReversed()) {
          const bytes = copied.has(name) ? undefined : readIfThere(join(this.directory, name));
          if (bytes === undefined) continue;
          writeFileSync(join(directory, name), bytes);
          copied.add(name);
        }
      }
      this.#dead.push({ plane: this.plane, directory: this.directory });
      this.directory = directory;
    }
    this.clock = new VirtualClock(0, this.clock.shared);
    this.plane = newControlPlane({ directory: this.directory, clock: this.clock, store: this.store, values: this.values });
    this.plane.control.load();
  }

  async makeTopic(topic = TOPIC, queueNums = 1, attributes = ""): Promise<void> {
    await this.ask(17, {
      topic, defaultTopic: "TBW102", readQueueNums: queueNums, writeQueueNums: queueNums, perm: 6, topicFilterType: "SINGLE_TAG",
      topicSysFlag: 0, order: false, attributes,
    }); // biome-ignore format: one thing.
  }

  async send(body: string, tag?: string, queueId = 0): Promise<void> {
    this.store.nowMs = this.clock.now();
    await this.store.append({
      topic: TOPIC, queueId, flag: 3, sysFlag: 0, bornTimestamp: 5, bornHost: "10.0.0.1:1", reconsumeTimes: 0,
      preparedTransactionOffset: 0, properties: new Map(tag === undefined ? [["K", "v"]] : [["TAGS", tag]]), body: Buffer.from(body),
    }); // biome-ignore format: one thing.
    await settled();
  }

  /** undefined: nothing is answered now. */
  async ask(code: number, header: HeaderValues, body?: object, channel = this.channel): Promise<RemotingCommand | undefined> {
    channel.written.length = 0;
    const command = request(code, 7, header, Buffer.from(body === undefined ? "" : JSON.stringify(body)));
    const verdict = await this.plane.control.onRequest(command, channel);
    return verdict === "replay" ? undefined : (verdict ?? channel.written.at(-1));
  }

  async pop(more: HeaderValues = {}, channel = this.channel): Promise<Popped> {
    const header = {
      consumerGroup: GROUP, topic: TOPIC, queueId: 0, maxMsgNums: 32, invisibleTime: INVISIBLE_MS, pollTime: 0, bornTime: 0,
      initMode: 0, order: false, ...more,
    }; // biome-ignore format: one thing.
    return popped(await this.ask(RequestCode.POP_MESSAGE, header, undefined, channel));
  }

  async ack(message: PoppedMessage, more: HeaderValues = {}): Promise<number> {
    const { topic, queueId, handle: extraInfo, offset } = message;
    const answer = await this.ask(RequestCode.ACK_MESSAGE, { consumerGroup: GROUP, topic, queueId, extraInfo, offset, ...more });
    return answer!.code;
  }

  async change(message: PoppedMessage, invisibleTime: number, more: HeaderValues = {}): Promise<PoppedMessage> {
    const { topic, queueId, handle: extraInfo, offset } = message;
    const header = { consumerGroup: GROUP, topic, queueId, extraInfo, offset, invisibleTime, ...more };
    const answer = await this.ask(RequestCode.CHANGE_MESSAGE_INVISIBLETIME, header);
    if (answer?.code !== 0) throw new Error(`refused: ${answer?.code} ${answer?.remark}`);
    const { popTime, reviveQid } = answer.extFields;
    const parts = extraInfo.split(" ");
    return { ...message, handle: [offset, popTime, invisibleTime, reviveQid, ...parts.slice(4)].join(" ") };
  }

  async advance(ms: number): Promise<void> {
    for (let left = ms; left > 0; left -= 500) {
      this.clock.advance(Math.min(500, left));
      this.store.nowMs = this.clock.now();
      await settled();
    }
    for (let i = 0; i < 20; i++) await settled(); // A new retry topic is saved to the real disk.
    await this.plane.control.topics.save();
    for (let i = 0; i < 20; i++) await settled();
  }

  committed(topic = TOPIC): Promise<RemotingCommand | undefined> {
    return this.ask(14, { consumerGroup: GROUP, topic, queueId: 0 });
  }

  async close(): Promise<void> {
    await this.plane.control.close();
    rmSync(this.directory, { recursive: true, force: true });
    for (const { plane, directory } of this.#dead) {
      await plane.control.topics.close();
      rmSync(directory, { recursive: true, force: true });
    }
  }
}

interface PoppedMessage {
  body: string;
  /** Where it stands; a retry topic too. */
  topic: string;
  queueId: number;
  offset: number;
  handle: string;
  decoded: DecodedMessage;
}

interface Popped {
  code: number;
  answer: RemotingCommand | undefined;
  messages: PoppedMessage[];
  bodies: string[];
}

/** As a client reads it. */
function popped(answer: RemotingCommand | undefined): Popped {
  const { startOffsetInfo = "", popTime, invisibleTime, reviveQid } = answer?.extFields ?? {};
  const starts = new Map(
    startOffsetInfo.split(";").map((part) => [part.split(" ").slice(0, 2).join(" "), part.split(" ")[2]] as const),
  );
  const messages = decodeMessages(answer?.body ?? Buffer.alloc(0)).map((decoded): PoppedMessage => {
    const { queueId, queueOffset: offset } = decoded;
    const own = decoded.properties.get("POP_CK");
    const handle = own ?? `${starts.get(`0 ${queueId}`)} ${popTime} ${invisibleTime} ${reviveQid} 0 b ${queueId} ${offset}`;
    const kind = handle.split(" ")[4];
    const topic = kind === "0" ? decoded.topic : `%RETRY%${GROUP}${kind === "2" ? "+" : "_"}${decoded.topic}`;
    return { body: decoded.body.toString(), topic, queueId, offset, handle, decoded };
  });
  return { code: answer?.code ?? -1, answer, messages, bodies: messages.map(({ body }) => body) };
}

async function rigOf(t: Pick<ExecutionContext, "teardown">, values: Partial<ConfigValues> = {}): Promise<Rig> {
  const rig = new Rig(values);
  t.teardown(() => rig.close());
  await rig.makeTopic();
  return rig;
}

test("what is not acknowledged in time comes back under its own topic, one try older; what is, does not", async (t) => {
  const rig = await rigOf(t);
  for (const body of ["a", "b", "c"]) await rig.send(body);
  const first = await rig.pop();
  t.deepEqual(first.bodies, ["a", "b", "c"]);
  t.like(first.answer?.extFields, { startOffsetInfo: "0 0 0", msgOffsetInfo: "0 0 0,1,2", restNum: "0" });
  t.is((await rig.pop()).code, 210, "they are invisible");
  t.is(await rig.ack(first.messages[1]!), 0);
  await rig.advance(INVISIBLE_MS - 1000);
  t.is((await rig.pop()).code, 210);
  await rig.advance(1500);
  const again = await rig.pop();
  t.deepEqual(again.bodies.toSorted(), ["a", "c"]);
  t.like(again.messages[0], { topic: "%RETRY%g_T", decoded: { topic: TOPIC, reconsumeTimes: 1, flag: 3 } });
  t.is(again.messages[0]?.decoded.properties.get("1ST_POP_TIME"), first.answer?.extFields["popTime"]);
  t.is(again.messages[0]?.decoded.properties.get("ORIGIN_GROUP"), GROUP);
  for (const message of again.messages) t.is(await rig.ack(message), 0);
  await rig.advance(3 * INVISIBLE_MS);
  t.is((await rig.pop()).code, 210);
});

test("of a topic of priorities the highest queue goes first, unless the group or the broker wants otherwise", async (t) => {
  for (const [values, factor, inOrder] of [
    [{}, undefined, ["2", "1", "0"]],
    [{ priorityOrderAsc: false }, "100", ["0", "1", "2"]],
    [{}, "0", undefined],
  ] as const) {
    const rig = new Rig(values);
    t.teardown(() => rig.close());
    await rig.makeTopic(TOPIC, 3, "+message.type=PRIORITY");
    if (factor !== undefined) {
      const group = { groupName: GROUP, attributes: { "+priority.factor": factor } };
      t.is((await rig.ask(RequestCode.UPDATE_AND_CREATE_SUBSCRIPTIONGROUP, {}, group))?.code, 0);
    }
    const orders = new Set<string>();
    for (let round = 0; round < 30; round++) {
      for (const queueId of [0, 1, 2]) await rig.send(String(queueId), undefined, queueId);
      const { bodies } = await rig.pop({ queueId: -1 });
      t.is(bodies.length, 3);
      orders.add(bodies.join());
      await rig.advance(500);
    }
    if (inOrder === undefined) t.true(orders.size > 1);
    else t.deepEqual([...orders], [inOrder.join()]);
  }
});

function savedOffsets(directory: string): string {
  const [file] = globSync("**/consumerOffset.json", { cwd: directory });
  return file === undefined ? "" : readFileSync(join(directory, file), "utf8");
}

test("what is popped while the offsets are saved, or right after, stays invisible over a crash", async (t) => {
  const rig = await rigOf(t, { flushConsumerOffsetInterval: 1000 });
  for (const body of ["a", "b", "c"]) await rig.send(body);
  t.deepEqual((await rig.pop({ maxMsgNums: 1 })).bodies, ["a"]);
  let go = (): void => {};
  rig.store.held = new Promise((resolve) => (go = resolve));
  const during = rig.pop({ maxMsgNums: 1 });
  await settled();
  rig.clock.advance(1000);
  while (!savedOffsets(rig.directory).includes(`"${TOPIC}@${GROUP}":{0:1}`)) await settled();
  go();
  rig.store.held = undefined;
  t.deepEqual((await during).bodies, ["b"]);
  t.deepEqual((await rig.pop({ maxMsgNums: 1 })).bodies, ["c"], "in the millisecond of the save");
  rig.restart();
  t.is((await rig.pop()).code, 210);
  await rig.advance(INVISIBLE_MS + 1000);
  t.deepEqual((await rig.pop()).bodies.toSorted(), ["a", "b", "c"]);
});

test("each try counts", async (t) => {
  const rig = await rigOf(t);
  await rig.send("a");
  await rig.pop({ invisibleTime: 1000 });
  for (let tries = 1; tries <= 4; tries++) {
    await rig.advance(1500);
    const { messages } = await rig.pop({ invisibleTime: 1000 });
    t.is(messages[0]?.decoded.reconsumeTimes, tries);
  }
});

test("a crash in between: the acknowledged do not come again, the others do, in time, and nobody pops them meanwhile", async (t) => {
  const rig = await rigOf(t);
  for (const body of ["a", "b", "c", "d"]) await rig.send(body);
  const { messages } = await rig.pop({ maxMsgNums: 2 });
  t.is(await rig.ack(messages[0]!), 0);
  rig.restart();
  t.deepEqual((await rig.pop()).bodies, ["c", "d"], "the place was not saved, and is known from the check point");
  await rig.advance(INVISIBLE_MS + 1000);
  const again = await rig.pop();
  t.deepEqual(again.bodies.toSorted(), ["b", "c", "d"]);
  for (const message of again.messages) await rig.ack(message);
  rig.restart();
  await rig.advance(2 * INVISIBLE_MS);
  t.is((await rig.pop()).code, 210);
});

test("messages that came back do not come back once more after a crash", async (t) => {
  const rig = await rigOf(t);
  await rig.send("a");
  await rig.pop({ invisibleTime: 1000 });
  await rig.advance(2000);
  const { messages } = await rig.pop();
  t.is(await rig.ack(messages[0]!), 0);
  rig.restart();
  await rig.advance(INVISIBLE_MS * 2);
  t.is((await rig.pop()).code, 210);
});

test("a place that an administrator has set back is not moved on by older check points", async (t) => {
  const rig = await rigOf(t);
  for (const body of ["a", "b"]) await rig.send(body);
  await rig.pop();
  await rig.advance(1000);
  await rig.ask(222, { group: GROUP, topic: TOPIC, timestamp: 0, isForce: true, queueId: 0, offset: 0 });
  await rig.plane.control.close(); // The offsets are saved.
  rig.restart();
  t.deepEqual((await rig.pop()).bodies, ["a", "b"]);
});

test("its invisible time can be made shorter or longer, and then the new handle counts", async (t) => {
  const rig = await rigOf(t);
  for (const body of ["a", "b"]) await rig.send(body);
  const { messages } = await rig.pop();
  const shorter = await rig.change(messages[0]!, 2000);
  const longer = await rig.change(messages[1]!, 3 * INVISIBLE_MS);
  t.not(shorter.handle, messages[0]!.handle);
  await rig.ack(messages[1]!); // The old handle: no more use.
  await rig.advance(2500);
  const back = await rig.pop();
  t.deepEqual(back.bodies, ["a"]);
  await rig.ack(back.messages[0]!);
  await rig.advance(2 * INVISIBLE_MS);
  t.is((await rig.pop()).code, 210);
  t.is(await rig.ack(longer), 0);
  await rig.advance(2 * INVISIBLE_MS);
  t.is((await rig.pop()).code, 210);
});

test("suspended, it comes back without a try more", async (t) => {
  const rig = await rigOf(t);
  await rig.send("a");
  const { messages } = await rig.pop();
  await rig.change(messages[0]!, 1000, { suspend: true });
  await rig.advance(1500);
  t.is((await rig.pop()).messages[0]?.decoded.reconsumeTimes, 0);
});

test("a batch of acknowledgements", async (t) => {
  const rig = await rigOf(t);
  for (const body of ["a", "b", "c"]) await rig.send(body);
  const { answer } = await rig.pop();
  const { popTime, reviveQid } = answer!.extFields;
  const acks = [
    { c: GROUP, t: TOPIC, r: "0", so: 0, q: 0, rq: Number(reviveQid), pt: Number(popTime), it: INVISIBLE_MS, b: "BQ==" },
  ];
  t.is((await rig.ask(RequestCode.BATCH_ACK_MESSAGE, {}, { brokerName: "b", acks }))?.code, 0);
  await rig.advance(INVISIBLE_MS + 1000);
  t.deepEqual((await rig.pop()).bodies, ["b"]);
});

test("a held pop gets the next message, one of two, and each its answer when its time is over", async (t) => {
  const rig = await rigOf(t);
  const others = [new FakeChannel(11), new FakeChannel(12)];
  for (const channel of others) {
    channel.recordsOf = rig.channel.recordsOf;
    t.is((await rig.pop({ pollTime: 10_000, bornTime: rig.clock.now(), queueId: -1 }, channel)).code, -1, "held");
  }
  const info = await rig.ask(RequestCode.POLLING_INFO, { consumerGroup: GROUP, topic: TOPIC, queueId: -1 });
  t.is(info?.extFields["pollingNum"], "2");
  await rig.send("a");
  await settled();
  const answers = others.map(({ written }) => popped(written.at(-1)));
  t.deepEqual(answers.map(({ bodies }) => bodies.join("")).toSorted(), ["", "a"]);
  await rig.advance(10_000);
  t.deepEqual(
    others.map(({ written }) => written.at(-1)?.code ?? -1).toSorted((a, b) => a - b),
    [0, 210],
  );
});

test("a held pop gets what comes back; a client that has gone gets nothing", async (t) => {
  const rig = await rigOf(t);
  await rig.send("a");
  await rig.pop({ invisibleTime: 3000 });
  const [gone, here] = [new FakeChannel(21), new FakeChannel(22)];
  for (const channel of [gone, here]) {
    channel.recordsOf = rig.channel.recordsOf;
    await rig.pop({ pollTime: 20_000, bornTime: rig.clock.now() }, channel);
  }
  rig.plane.control.onClosed(gone);
  await rig.advance(4000);
  t.is(gone.written.length, 0);
  t.deepEqual(popped(here.written.at(-1)).bodies, ["a"]);
});

test("too many held pops are refused", async (t) => {
  const rig = await rigOf(t, { maxPopPollingSize: 1 });
  const held = { pollTime: 10_000, bornTime: rig.clock.now() };
  await rig.pop(held, new FakeChannel(31));
  t.is((await rig.pop(held)).code, 209);
});

test("by tags; what does not match is passed over for good", async (t) => {
  const rig = await rigOf(t);
  for (const [body, tag] of [["a", "A"], ["b", "B"], ["c", "A"], ["d", "B"]] as const) await rig.send(body, tag); // biome-ignore format: one row.
  const { bodies, answer } = await rig.pop({ exp: "A", expType: "TAG" });
  t.deepEqual(bodies, ["a", "c"]);
  t.is(answer?.extFields["msgOffsetInfo"], "0 0 0,2");
  t.is((await rig.pop()).code, 210, "b and d were looked at");
  await rig.advance(INVISIBLE_MS + 1000);
  t.deepEqual((await rig.pop({ exp: "A", expType: "TAG" })).bodies.toSorted(), ["a", "c"]);
});

test("all queues, and not more than asked for", async (t) => {
  const rig = await rigOf(t);
  await rig.makeTopic(TOPIC, 4);
  for (let i = 0; i < 8; i++) await rig.send(String(i), undefined, i % 4);
  const first = await rig.pop({ queueId: -1, maxMsgNums: 5 });
  t.is(first.bodies.length, 5);
  t.is(first.answer?.extFields["restNum"], "3");
  const second = await rig.pop({ queueId: -1, maxMsgNums: 5 });
  t.deepEqual([...first.bodies, ...second.bodies].toSorted(), ["0", "1", "2", "3", "4", "5", "6", "7"]);
});

test("a check point that cannot be stored: nothing is handed out, nothing is lost", async (t) => {
  const rig = await rigOf(t);
  await rig.send("a");
  rig.store.refused = REVIVE;
  t.is((await rig.pop()).code, 1);
  rig.store.refused = "";
  t.deepEqual((await rig.pop()).bodies, ["a"]);
});

test("an acknowledgement that cannot be stored is refused, and the message comes back", async (t) => {
  const rig = await rigOf(t);
  await rig.send("a");
  const { messages } = await rig.pop();
  rig.store.refused = REVIVE;
  t.not(await rig.ack(messages[0]!), 0);
  rig.store.refused = "";
  await rig.advance(INVISIBLE_MS + 1000);
  t.deepEqual((await rig.pop()).bodies, ["a"]);
});

test("what cannot be put back now is tried again later", async (t) => {
  const rig = await rigOf(t);
  await rig.send("a");
  await rig.pop({ invisibleTime: 1000 });
  rig.store.refused = "%RETRY%g_T";
  await rig.advance(5000);
  rig.store.refused = "";
  t.is((await rig.pop()).code, 210);
  await rig.advance(10_000);
  t.deepEqual((await rig.pop()).bodies, ["a"]);
});

test("retry topics of the second form; the first is still popped from, also after a restart", async (t) => {
  const rig = await rigOf(t);
  await rig.send("old");
  await rig.pop({ invisibleTime: 1000 });
  await rig.advance(2000);
  rig.values.enableRetryTopicV2 = true;
  rig.restart();
  await rig.send("new");
  t.true((await rig.pop({ invisibleTime: 1000, maxMsgNums: 1 })).bodies.length > 0);
  await rig.advance(2000);
  const found: PoppedMessage[] = [];
  for (let i = 0; i < 6; i++) found.push(...(await rig.pop()).messages);
  t.deepEqual(found.map(({ body }) => body).toSorted(), ["new", "old"]);
  t.true(found.some(({ topic }) => topic === "%RETRY%g+T"));
  await rig.plane.control.close();
  rig.restart();
  t.is((await rig.ask(351, { topic: "%RETRY%g+T" }))?.code, 0);
});

test("no more than so many of a queue are invisible at once, where that is limited", async (t) => {
  const rig = await rigOf(t, { enablePopMessageThreshold: true, popInflightMessageThreshold: 1 });
  for (const body of ["a", "b", "c"]) await rig.send(body);
  const { messages } = await rig.pop({ maxMsgNums: 2 });
  t.is((await rig.pop()).code, 210);
  await rig.ack(messages[0]!);
  t.deepEqual((await rig.pop()).bodies, ["c"]);
});

test("in order: nothing more until all are acknowledged, the same attempt may ask again, and the rest comes again in time", async (t) => {
  const rig = await rigOf(t);
  for (const body of ["a", "b", "c"]) await rig.send(body);
  const order = { order: true, maxMsgNums: 2 };
  const first = await rig.pop({ ...order, attemptId: "1" });
  t.deepEqual(first.bodies, ["a", "b"]);
  t.is(first.answer?.extFields["orderCountInfo"], "0 0 0");
  t.is((await rig.pop({ ...order, attemptId: "2" })).code, 210);
  t.deepEqual((await rig.pop({ ...order, attemptId: "1" })).bodies, ["a", "b"]);
  const again = await rig.pop({ ...order, attemptId: "1" });
  t.is(await rig.ack(again.messages[0]!), 0);
  t.is((await rig.committed())?.extFields["offset"], "1");
  t.is((await rig.pop({ ...order, attemptId: "3" })).code, 210);
  await rig.advance(INVISIBLE_MS);
  const late = await rig.pop({ ...order, attemptId: "4" });
  t.deepEqual(late.bodies, ["b", "c"]);
  t.is(late.answer?.extFields["orderCountInfo"], "0 qo0%1 1;0 0 0");
  for (const message of late.messages) t.is(await rig.ack(message), 0);
  t.is((await rig.committed())?.extFields["offset"], "3");
});

test("in order: whoever waits gets the rest when the last one is acknowledged, or when their time is over", async (t) => {
  const rig = await rigOf(t);
  for (const body of ["a", "b"]) await rig.send(body);
  const { messages } = await rig.pop({ order: true, maxMsgNums: 1 });
  const waiting = new FakeChannel(41);
  waiting.recordsOf = rig.channel.recordsOf;
  await rig.pop({ order: true, maxMsgNums: 1, pollTime: 90_000, bornTime: rig.clock.now(), attemptId: "w" }, waiting);
  await rig.ack(messages[0]!);
  await settled();
  t.deepEqual(popped(waiting.written.at(-1)).bodies, ["b"]);
  const late = new FakeChannel(42);
  late.recordsOf = rig.channel.recordsOf;
  await rig.pop({ order: true, pollTime: 90_000, bornTime: rig.clock.now(), attemptId: "l" }, late);
  await rig.advance(INVISIBLE_MS - 1000);
  t.is(late.written.length, 0);
  await rig.advance(2000);
  t.deepEqual(popped(late.written.at(-1)).bodies, ["b"]);
});

test("in order: who has what survives a restart", async (t) => {
  const rig = await rigOf(t);
  for (const body of ["a", "b"]) await rig.send(body);
  await rig.pop({ order: true, attemptId: "1" });
  await rig.plane.control.close();
  rig.restart();
  t.is((await rig.pop({ order: true, attemptId: "2" })).code, 210);
  t.deepEqual((await rig.pop({ order: true, attemptId: "1" })).bodies, ["a", "b"]);
});

test("a check point with a long time is written again when many have come after it, and is still known after a crash", async (t) => {
  const rig = await rigOf(t, { reviveQueueNum: 1 });
  await rig.send("long");
  await rig.send("acked");
  const { messages } = await rig.pop({ invisibleTime: 10_000_000 });
  await rig.ack(messages[1]!);
  for (let i = 0; i < 10_100; i++) {
    await rig.store.append({
      topic: TOPIC, queueId: 0, flag: 0, sysFlag: 0, bornTimestamp: 0, bornHost: "10.0.0.1:1", reconsumeTimes: 0,
      preparedTransactionOffset: 0, properties: new Map(), body: Buffer.alloc(0),
    }); // biome-ignore format: one thing.
    const { messages: short } = await rig.pop();
    await rig.ack(short[0]!);
  }
  const read = Number(
    (await rig.ask(14, { consumerGroup: "CID_RMQ_SYS_REVIVE_GROUP", topic: REVIVE, queueId: 0 }))?.extFields["offset"],
  );
  t.true(read > 10_000, `a start reads from ${read}`);
  rig.restart();
  t.is((await rig.pop()).code, 210);
  await rig.advance(1000);
  rig.clock.advance(10_000_000);
  await rig.advance(1000);
  t.deepEqual((await rig.pop()).bodies, ["long"]);
});

type Step = { kind: "send" | "pop" | "ack" | "change" | "advance" | "crash" };
const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.record({
    kind: fc.constantFrom("send", "send", "pop", "pop", "ack", "ack", "ack", "change", "advance", "crash" as const),
  }),
  { minLength: 10, maxLength: 60 },
) as fc.Arbitrary<Step[]>;

test("whatever happens: no message is lost, and none comes after it was acknowledged in time", async (t) => {
  t.timeout(120_000);
  const property = fc.asyncProperty(steps, async (list) => {
    const rig = new Rig();
    try {
      await rig.makeTopic();
      const open = new Set<string>();
      const acked = new Set<string>();
      const inHand: PoppedMessage[] = [];
      let sent = 0;
      const pop = async (): Promise<number> => {
        const { messages } = await rig.pop({ invisibleTime: 3000, maxMsgNums: 3 });
        for (const message of messages) if (acked.has(message.body)) throw new Error(`${message.body} was acknowledged`);
        inHand.push(...messages);
        return messages.length;
      };
      for (const { kind } of list) {
        if (kind === "send") {
          open.add(String(sent));
          await rig.send(String(sent++));
        } else if (kind === "pop") await pop();
        else if (kind === "ack" && inHand.length > 0) {
          const message = inHand.shift()!;
          await rig.ack(message);
          open.delete(message.body);
          acked.add(message.body);
        } else if (kind === "change" && inHand.length > 0) inHand.push(await rig.change(inHand.shift()!, 2000));
        else if (kind === "advance") {
          await rig.advance(4000);
          inHand.length = 0; // Over: they come back.
        } else if (kind === "crash") rig.restart();
      }
      inHand.length = 0;
      await rig.advance(8000);
      const left = new Set<string>();
      while ((await pop()) > 0);
      for (const { body } of inHand) left.add(body);
      return [...open].every((body) => left.has(body));
    } finally {
      await rig.close();
    }
  });
  await t.notThrowsAsync(fc.assert(property, { numRuns: 60 }));
});
