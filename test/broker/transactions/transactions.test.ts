// Goal: each half message ends once and for all as its producer says, or is asked about until it is given up; no crash,
// full disk or late answer loses one, delivers one that was rolled back, or leaves one undecided for ever.
// Method: the broker's part on a store in memory and a virtual clock, and the producer played by the test.
import test from "ava";
import { VirtualClock } from "../../../src/base/clock.ts";
import { MillraceError } from "../../../src/base/errors.ts";
import type { AppendResult, OutgoingMessage } from "../../../src/broker/message-store.ts";
import { HALF_GIVEN_UP_TOPIC, HALF_MARK_TOPIC, HALF_TOPIC } from "../../../src/broker/topics/system-topics.ts";
import { halfOf } from "../../../src/broker/transactions/half-messages.ts";
import { Transactions } from "../../../src/broker/transactions/transactions.ts";
import { decodeMessage } from "../../../src/format/record/message.ts";
import { offsetMessageId } from "../../../src/format/record/message-id.ts";
import type { RemotingCommand } from "../../../src/format/remoting/remoting-command.ts";
import { silentLog } from "../../../src/observe/log.ts";
import { ask } from "../fake-lookups.ts";
import { FakeChannel, FakeStore } from "../fake-store.ts";

const [COMMIT, ROLLBACK, UNKNOWN] = [8, 12, 0];
const MINUTE_MS = 60_000;
const STEP_MS = 3000;
const GROUP = "CID_RMQ_SYS_TRANS";

async function settled(): Promise<void> {
  for (let turn = 0; turn < 12; turn++) await new Promise((resolve) => setImmediate(resolve));
}

function rig() {
  let clock = new VirtualClock(1_700_000_000_000);
  const store = new FakeStore();
  for (const topic of ["T", HALF_TOPIC, HALF_MARK_TOPIC, HALF_GIVEN_UP_TOPIC]) store.ensureQueues(topic, topic === "T" ? 2 : 1);
  const places = new Map<string, number>();
  const producer = new FakeChannel();
  const settings = {
    brokerName: "b",
    transactionTimeOut: 6000,
    transactionCheckMax: 15,
    transactionCheckInterval: 30_000,
    transactionOpMsgMaxSize: 4096,
    transactionOpBatchInterval: 3000,
    fileReservedTime: 72,
  };
  const connected = new Set(["pg"]);
  const start = (): Transactions => {
    clock = new VirtualClock(clock.now());
    const one = new Transactions({
      settings,
      store,
      offsets: {
        get: (_group, topic) => places.get(topic) ?? -1,
        commit: (group, topic, _queueId, offset) => void (group === GROUP && places.set(topic, offset)),
      },
      producers: { anyChannel: (group) => (connected.has(group) ? producer : undefined) },
      park: (message) => message,
      brokerAddress: "10.1.2.3:10911",
      clock,
      log: silentLog,
    });
    one.load();
    one.start();
    return one;
  };
  let transactions = start();
  const rigged = {
    store,
    producer,
    settings,
    places,
    connected,
    now: () => clock.now(),
    /** A half message to the queue 1 of T. */
    async half(text: string, more: Record<string, string> = {}): Promise<AppendResult> {
      const properties = { TRAN_MSG: "true", PGROUP: "pg", UNIQ_KEY: `U-${text}`, ...more };
      store.nowMs = clock.now();
      return store.append(
        halfOf({
          topic: "T",
          queueId: 1,
          flag: 3,
          sysFlag: 4,
          bornTimestamp: clock.now(),
          bornHost: "10.0.0.1:1000",
          reconsumeTimes: 0,
          preparedTransactionOffset: 0,
          properties: new Map(Object.entries(properties)),
          body: Buffer.from(text),
        }),
      );
    },
    async end(at: AppendResult, decision: number, more: Record<string, string> = {}): Promise<number> {
      const header = {
        producerGroup: "pg",
        tranStateTableOffset: at.queueOffset,
        commitLogOffset: at.physicalOffset,
        commitOrRollback: decision,
        ...more,
      };
      return (await ask(transactions.handlers(), 37, header)).code;
    },
    /** The producer's answer to a question, by default the newest. */
    answer: (decision: number, question = rigged.questions().at(-1)!): Promise<number> => {
      const fields = question.extFields;
      const at = { queueOffset: Number(fields["tranStateTableOffset"]), physicalOffset: Number(fields["commitLogOffset"]) };
      return rigged.end({ ...at, storeTimestamp: 0, size: 0 }, decision, { fromTransactionCheck: "true" });
    },
    ask: (code: number, header: Record<string, string>): Promise<RemotingCommand> => ask(transactions.handlers(), code, header),
    questions: (): RemotingCommand[] => producer.written.filter(({ code }) => code === 39),
    /** In steps, so that what each starts can end. */
    async advance(ms: number): Promise<void> {
      for (let left = ms; left > 0; left -= STEP_MS) {
        clock.advance(Math.min(left, STEP_MS));
        store.nowMs = clock.now();
        await settled();
      }
    },
    of: (topic: string): OutgoingMessage[] => store.appended.filter((message) => message.topic === topic),
    bodies: (topic: string): string[] => rigged.of(topic).map(({ body }) => body.toString()),
    /** Ends without a word, as by kill -9, and starts anew. */
    crash: () => void (transactions = start()),
    async restart(): Promise<void> {
      await transactions.close();
      transactions = start();
    },
    close: () => transactions.close(),
  };
  return rigged;
}

test("a commit stores the message where it belongs, a rollback nothing", async (t) => {
  const r = rig();
  const one = await r.half("one", { TAGS: "A" });
  const two = await r.half("two");
  t.is(await r.end(two, ROLLBACK), 0);
  t.is(await r.end(one, COMMIT), 0);
  const [message, ...more] = r.of("T");
  t.deepEqual(more, []);
  t.is(message!.body.toString(), "one");
  t.is(message!.queueId, 1);
  t.is(message!.sysFlag, 8);
  t.is(message!.flag, 3);
  t.is(message!.preparedTransactionOffset, one.physicalOffset);
  const text = { TRAN_MSG: "true", PGROUP: "pg", UNIQ_KEY: "U-one", TAGS: "A", __transactionId__: "U-one" };
  t.deepEqual(Object.fromEntries(message!.properties), text);
  await r.close();
});

test("marks are gathered for three seconds, or until they fill a message", async (t) => {
  const r = rig();
  const places = await Promise.all(Array.from({ length: 12 }, (_, i) => r.half(String(i))));
  for (const at of places.slice(0, 3)) await r.end(at, ROLLBACK);
  await r.advance(2999);
  t.deepEqual(r.bodies(HALF_MARK_TOPIC), []);
  await r.advance(1);
  t.deepEqual(r.bodies(HALF_MARK_TOPIC), ["0,1,2,"]);
  t.is(r.of(HALF_MARK_TOPIC)[0]!.properties.get("TAGS"), "d");
  r.settings.transactionOpMsgMaxSize = 6;
  for (const at of places.slice(3, 7)) await r.end(at, ROLLBACK);
  await settled();
  t.deepEqual(r.bodies(HALF_MARK_TOPIC), ["0,1,2,", "3,4,5,", "6,"]);
  await r.end(places[7]!, ROLLBACK);
  await r.close();
  t.deepEqual(r.bodies(HALF_MARK_TOPIC).slice(3), ["7,"]);
});

test("15 questions, then it is given up, and an administrator has it asked about again", async (t) => {
  const r = rig();
  const began = performance.now();
  await r.half("orphan");
  for (let round = 1; round <= 15; round++) {
    t.is(r.of(HALF_GIVEN_UP_TOPIC).length, 0);
    await r.advance(30_000);
    t.is(r.questions().length, round);
    t.is(await Promise.race([r.answer(UNKNOWN).catch(() => -1), settled().then(() => -1)]), -1, "nothing is answered");
  }
  await r.advance(30_000);
  t.is(r.questions().length, 15);
  t.deepEqual(r.bodies(HALF_GIVEN_UP_TOPIC), ["orphan"]);
  t.is(r.of(HALF_GIVEN_UP_TOPIC)[0]!.properties.get("TRANSACTION_CHECK_TIMES"), "15");
  await r.advance(10 * MINUTE_MS);
  t.is(r.bodies(HALF_GIVEN_UP_TOPIC).length, 1);
  t.true(performance.now() - began < 60_000, "a virtual clock does not wait the 18 minutes");

  const { physicalOffset } = r.store.queueEntry(HALF_GIVEN_UP_TOPIC, 0, 0)!;
  t.is((await r.ask(323, { msgId: offsetMessageId("10.1.2.3:10911", physicalOffset) })).code, 0);
  await r.advance(30_000);
  t.is(r.questions().length, 16);
  t.is(await r.answer(COMMIT), 0);
  t.deepEqual(r.bodies("T"), ["orphan"]);
  await r.close();
});

test("a question names the copy that an answer ends, and carries the message", async (t) => {
  const r = rig();
  await r.half("asked");
  await r.advance(30_000);
  const [question] = r.questions();
  t.is(question!.flag & 2, 2, "one-way");
  t.is(question!.extFields["transactionId"], "U-asked");
  t.is(question!.extFields["tranStateTableOffset"], "1");
  const message = decodeMessage(question!.body);
  t.is(message.topic, "T");
  t.is(message.queueId, 1);
  t.is(message.queueOffset, 1);
  t.is(question!.extFields["commitLogOffset"], String(message.physicalOffset));
  t.is(message.body.toString(), "asked");
  t.is(await r.answer(COMMIT), 0);
  await r.advance(10 * MINUTE_MS);
  t.is(r.questions().length, 1);
  t.deepEqual(r.bodies("T"), ["asked"]);
  await r.close();
});

test("younger ones are left alone, and nobody is asked before the time is over", async (t) => {
  const r = rig();
  await r.advance(25_000);
  await r.half("young");
  await r.advance(5000);
  t.is(r.questions().length, 0);
  await r.half("younger");
  await r.advance(30_000);
  t.is(r.questions().length, 2);
  await r.close();
});

test("without a producer the question counts, and a later round asks one that has come", async (t) => {
  const r = rig();
  r.connected.clear();
  await r.half("alone");
  await r.advance(60_000);
  t.is(r.questions().length, 0);
  r.connected.add("pg");
  await r.advance(30_000);
  t.is(r.questions().length, 1);
  t.is(decodeMessage(r.questions()[0]!.body).properties.get("TRANSACTION_CHECK_TIMES"), "3");
  await r.close();
});

test("who ends the older copy ends the newer one: a long transaction is asked about no more", async (t) => {
  const r = rig();
  const at = await r.half("long");
  await r.advance(90_000);
  const asked = r.questions().length;
  t.is(asked, 3);
  t.is(await r.end(at, ROLLBACK), 0);
  await r.advance(20 * MINUTE_MS);
  t.is(r.questions().length, asked);
  t.deepEqual([r.bodies("T"), r.bodies(HALF_GIVEN_UP_TOPIC)], [[], []]);
  await r.close();
});

test("answers to several questions about one transaction: the first holds, and nothing comes twice", async (t) => {
  const r = rig();
  await r.half("slow");
  await r.advance(90_000);
  const [first, ...others] = r.questions();
  t.is(await r.answer(COMMIT, first), 0);
  for (const question of others) t.is(await r.answer(ROLLBACK, question), 0);
  for (const question of others) t.is(await r.answer(COMMIT, question), 0);
  await r.advance(5 * MINUTE_MS);
  t.deepEqual([r.bodies("T"), r.questions().length], [["slow"], 3]);
  await r.close();
});

test("a time without questions of its own", async (t) => {
  const r = rig();
  const at = await r.half("patient", { CHECK_IMMUNITY_TIME_IN_SECONDS: "100" });
  await r.half("usual");
  await r.advance(90_000);
  t.deepEqual([...new Set(r.questions().map(({ extFields }) => extFields["msgId"]))], ["U-usual"]);
  t.is(
    r
      .of(HALF_TOPIC)
      .findLast(({ body }) => body.toString() === "patient")!
      .properties.get("TRAN_PREPARED_QUEUE_OFFSET"),
    "0",
  );
  await r.advance(30_000);
  t.true(r.questions().some(({ extFields }) => extFields["msgId"] === "U-patient"));
  t.is(await r.end(at, COMMIT), 604, "too late: an answer to the question is awaited");
  t.deepEqual(r.bodies("T"), []);
  await r.close();
});

test("what was decided in its own time is not asked about", async (t) => {
  const r = rig();
  const at = await r.half("patient", { CHECK_IMMUNITY_TIME_IN_SECONDS: "100" });
  await r.advance(60_000);
  t.is(await r.end(at, COMMIT), 0);
  await r.advance(10 * MINUTE_MS);
  t.is(r.questions().length, 0);
  t.deepEqual(r.bodies("T"), ["patient"]);
  await r.close();
});

test("what cannot be right is refused, and stays undecided", async (t) => {
  const r = rig();
  const at = await r.half("half");
  t.is(await r.end(at, COMMIT, { producerGroup: "other" }), 1);
  t.is(await r.end({ ...at, queueOffset: 7 }, COMMIT), 1);
  t.is(await r.end({ ...at, physicalOffset: at.physicalOffset + 1 }, COMMIT), 1);
  t.is(await r.end(at, 3), 1);
  const plain = await r.store.append({ ...r.of(HALF_TOPIC)[0]!, topic: "T", queueId: 0 });
  t.is(await r.end(plain, COMMIT), 1, "no half message");
  const nowhere = await r.store.append({ ...r.of(HALF_TOPIC)[0]!, properties: new Map([["PGROUP", "pg"]]) });
  t.is(await r.end(nowhere, COMMIT), 1);
  for (const msgId of ["", "xyz", offsetMessageId("10.1.2.3:1", 12_345), offsetMessageId("10.1.2.3:1", plain.physicalOffset)])
    t.is((await r.ask(323, { msgId })).code, 1);
  t.is(r.bodies("T").length, 1);
  t.is(await r.end(at, COMMIT), 0);
  await r.close();
});

test("a full disk: a commit is refused and its transaction asked about; a round goes on where it stopped", async (t) => {
  const r = rig();
  const [one] = [await r.half("one"), await r.half("two")];
  r.store.failure = new MillraceError("MILLRACE_STORE_FULL", "full");
  t.is(await r.end(one, COMMIT), 1);
  await r.advance(30_000);
  t.is(r.questions().length, 0);
  t.is(r.places.get(HALF_TOPIC) ?? 0, 0);
  r.store.failure = undefined;
  await r.advance(30_000);
  t.deepEqual(r.questions().map(({ extFields }) => extFields["msgId"]), ["U-one", "U-two"]); // biome-ignore format: one claim.
  await r.close();
});

test("marks that a full disk does not take are written later", async (t) => {
  const r = rig();
  const at = await r.half("one");
  await r.end(at, ROLLBACK);
  r.store.failure = new MillraceError("MILLRACE_STORE_FULL", "full");
  await r.advance(3000);
  r.store.failure = undefined;
  await r.advance(3000);
  t.deepEqual(r.bodies(HALF_MARK_TOPIC), ["0,"]);
  await r.advance(MINUTE_MS);
  t.is(r.questions().length, 0);
  await r.close();
});

test("after a restart the decided stay decided, and the others are asked about", async (t) => {
  const r = rig();
  const places: AppendResult[] = [];
  for (let i = 0; i < 6; i++) places.push(await r.half(String(i)));
  await r.end(places[0]!, COMMIT);
  await r.end(places[2]!, ROLLBACK);
  await r.restart();
  await r.end(places[3]!, COMMIT);
  await r.advance(3000); // Its mark is written.
  r.crash();
  await r.advance(30_000);
  t.deepEqual(r.questions().map(({ extFields }) => extFields["msgId"]), ["U-1", "U-4", "U-5"]); // biome-ignore format: one claim.
  t.deepEqual(r.bodies("T"), ["0", "3"]);
  await r.close();
});

test("a crash before a mark is written: the producer is asked once more, and its answer holds", async (t) => {
  const r = rig();
  await r.end(await r.half("rolled back"), ROLLBACK);
  r.crash();
  await r.advance(30_000);
  t.is(await r.answer(ROLLBACK), 0);
  await r.advance(10 * MINUTE_MS);
  t.deepEqual([r.questions().length, r.bodies("T")], [1, []]);
  await r.close();
});

test("a place beyond its queue, as a crash can leave it, hides nothing", async (t) => {
  const r = rig();
  r.places.set(HALF_TOPIC, 1000).set(HALF_MARK_TOPIC, 1000);
  r.crash();
  const [ended] = [await r.half("ended"), await r.half("open")];
  await r.end(ended, ROLLBACK);
  await r.advance(30_000);
  t.deepEqual(r.questions().map(({ extFields }) => extFields["msgId"]), ["U-open"]); // biome-ignore format: one claim.
  await r.close();
});

test("thousands of transactions, ended in any order, leave nothing to ask", async (t) => {
  const r = rig();
  r.settings.transactionOpMsgMaxSize = 50;
  const places = await Promise.all(Array.from({ length: 3000 }, (_, i) => r.half(String(i))));
  const shuffled = places.map((at, i) => ({ at, i, order: (i * 7919) % 3001 })).sort((a, b) => a.order - b.order);
  for (const { at, i } of shuffled) if (i !== 1234) await r.end(at, i % 3 === 0 ? ROLLBACK : COMMIT);
  r.crash(); // Only what is in the queues counts.
  await r.advance(30_000);
  await settled();
  const asked = r.questions().map(({ extFields }) => extFields["msgId"]);
  t.true(asked.includes("U-1234"));
  t.true(asked.length <= 1 + 20, "and those whose mark was not written yet");
  t.is(r.bodies("T").length, places.filter((_, i) => i % 3 !== 0 && i !== 1234).length);
  for (const question of r.questions()) await r.answer(ROLLBACK, question);
  await r.advance(90_000);
  t.is(r.questions().length, asked.length);
  t.is(r.places.get(HALF_TOPIC), r.store.maxQueueOffset(HALF_TOPIC, 0));
  t.is(r.places.get(HALF_MARK_TOPIC), r.store.maxQueueOffset(HALF_MARK_TOPIC, 0));
  await r.close();
});
