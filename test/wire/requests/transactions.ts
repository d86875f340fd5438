import { decodeMessages } from "../../../src/format/record/message.ts";
import { offsetMessageId } from "../../../src/format/record/message-id.ts";
import type { RemotingCommand } from "../../../src/format/remoting/remoting-command.ts";
import type { Recorder } from "../recorder.ts";
import { beat } from "./clients.ts";
import { makeTopic, pull, readable, type Sent, send } from "./messages.ts";

const TOPIC = "tx-T";
const GROUP = "tx-p";
const HALF = "RMQ_SYS_TRANS_HALF_TOPIC";
const MARKS = "RMQ_SYS_TRANS_OP_HALF_TOPIC";
const GIVEN_UP = "TRANS_CHECK_MAX_TIME_TOPIC";
const [COMMIT, ROLLBACK, UNKNOWN] = [8, 12, 0];
/** Of Apache's broker the interval that it started with has to pass before another one counts. */
const PATIENCE_MS = 45_000;

/** Half messages: sent, committed, rolled back, asked about, given up. */
export async function transactions(r: Recorder): Promise<void> {
  await makeTopic(r, TOPIC, 2);
  // A mark of its own for each half message, at once.
  await r.ask("admin", 25, {}, { body: "transactionOpMsgMaxSize=1" });
  await ends(r);
  await refusals(r);
  await asked(r);
  const usual = ["transactionOpMsgMaxSize=4096", "transactionTimeOut=6000", "transactionCheckMax=15"];
  await r.ask("admin", 25, {}, { body: [...usual, "transactionCheckInterval=30000"].join("\n") });
}

function half(
  r: Recorder,
  text: string,
  properties: Record<string, string> = {},
  header: Record<string, number> = {},
): Promise<Sent> {
  const own = { UNIQ_KEY: `U-${text}`, TRAN_MSG: "true", PGROUP: GROUP, WAIT: "true", ...properties };
  return send(r, TOPIC, text, { properties: own, header: { sysFlag: 4, queueId: 1, bornTimestamp: Date.now(), ...header } });
}

/** Where a half message stands. */
interface Place {
  queueOffset: number;
  physicalOffset: number;
}

function placeOf({ answer, physicalOffset }: Sent): Place {
  return { queueOffset: Number(answer?.extFields["queueOffset"]), physicalOffset };
}

/** What a producer says about the half message. */
async function end(
  r: Recorder,
  { queueOffset, physicalOffset }: Place,
  commitOrRollback: number,
  more: Record<string, string | number | boolean | undefined> = {},
  oneway = false,
): Promise<void> {
  const place = { tranStateTableOffset: queueOffset, commitLogOffset: physicalOffset };
  const header = { producerGroup: GROUP, ...place, commitOrRollback, msgId: "M", ...more };
  await r.ask("p", 37, header, { oneway, hide: ["commitLogOffset"] });
}

/** Shows the records of a queue as they are stored, from an offset on. @returns where the first of them stands */
async function stored(r: Recorder, topic: string, queueId = 0, queueOffset = 0): Promise<Place> {
  const answer = await pull(r, "tx-c", topic, { queueId, queueOffset }, { hide: ["preparedTransactionOffset"] });
  return decodeMessages(answer?.body ?? Buffer.alloc(0))[0] ?? { queueOffset: -1, physicalOffset: -1 };
}

async function endOf(r: Recorder, topic: string): Promise<number> {
  const answer = await r.quietly("waiter", 30, { topic, queueId: 0 });
  return Number(answer?.extFields["offset"]);
}

async function ends(r: Recorder): Promise<void> {
  r.note("half, and ended");
  const [firstHalf, firstMark] = [await endOf(r, HALF), await endOf(r, MARKS)];
  const one = placeOf(await half(r, "committed", { TAGS: "A", KEYS: "k", own: "x" }, { flag: 7 }));
  const two = placeOf(await half(r, "rolled back"));
  await readable(r, HALF, 0, firstHalf + 2);
  await stored(r, HALF, 0, firstHalf);
  await end(r, two, ROLLBACK);
  await readable(r, MARKS, 0, firstMark + 1);
  await end(r, one, COMMIT);
  await readable(r, MARKS, 0, firstMark + 2);
  const more = { topic: TOPIC, transactionId: "U", fromTransactionCheck: false, bname: "broker-a" };
  await end(r, one, COMMIT, more, true);
  await readable(r, TOPIC, 1, 2);
  await readable(r, MARKS, 0, firstMark + 3);
  await stored(r, TOPIC, 1);
  await stored(r, MARKS, 0, firstMark);
  const late = placeOf(await half(r, "late", { DELAY: "0" }));
  await end(r, late, ROLLBACK);
}

async function refusals(r: Recorder): Promise<void> {
  r.note("refused");
  const three = placeOf(await half(r, "three"));
  await end(r, three, 3);
  for (const decision of [COMMIT, ROLLBACK]) {
    await end(r, three, decision, { producerGroup: "other" });
    await end(r, three, decision, { tranStateTableOffset: 999 });
    for (const physicalOffset of [three.physicalOffset + 1, 1e15, -1]) await end(r, { ...three, physicalOffset }, decision);
  }
  for (const name of ["producerGroup", "tranStateTableOffset", "commitLogOffset", "commitOrRollback", "msgId"])
    await end(r, three, COMMIT, { [name]: undefined });
  await end(r, three, UNKNOWN, {}, true);
  const plain = await send(r, TOPIC, "plain", { properties: { UNIQ_KEY: "U", PGROUP: GROUP } });
  await end(r, placeOf(plain), COMMIT);
  const ownTime = { CHECK_IMMUNITY_TIME_IN_SECONDS: "1" };
  const old = placeOf(await half(r, "old", ownTime, { bornTimestamp: Date.now() - 7000 }));
  await end(r, old, COMMIT, { producerGroup: "other" });
  await end(r, old, ROLLBACK);
  await end(r, old, ROLLBACK, { fromTransactionCheck: true });
  const early = placeOf(await half(r, "early", ownTime, { bornTimestamp: Date.now() - 3000 }));
  await end(r, early, ROLLBACK);
  await end(r, three, ROLLBACK);
  await r.ask("admin", 25, {}, { body: "rejectTransactionMessage=true" });
  await half(r, "not wanted");
  await r.ask("admin", 25, {}, { body: "rejectTransactionMessage=false" });
  for (const msgId of [undefined, "", "xyz", offsetMessageId("127.0.0.1:10911", 1e15)])
    await r.ask("admin", 323, { msgId }, { hide: ["msgId"] });
}

/** The producer's answer to what it was asked. */
async function answer(r: Recorder, question: RemotingCommand, commitOrRollback: number): Promise<void> {
  const { tranStateTableOffset, commitLogOffset } = question.extFields;
  const place = { queueOffset: Number(tranStateTableOffset), physicalOffset: Number(commitLogOffset) };
  await end(r, place, commitOrRollback, { fromTransactionCheck: true });
}

async function asked(r: Recorder): Promise<void> {
  r.note("asked");
  await beat(r, "a", [], [GROUP]);
  await r.ask("admin", 25, {}, { body: "transactionCheckInterval=2000\ntransactionTimeOut=1\ntransactionCheckMax=2" });
  const first = placeOf(await half(r, "asked", { TAGS: "A" }));
  await answer(r, await r.pushed(39, PATIENCE_MS), COMMIT);
  await r.settle();
  await readable(r, TOPIC, 1, 3);
  await stored(r, TOPIC, 1, 2);
  await stored(r, HALF, 0, first.queueOffset);

  r.note("asked too often, and once more");
  await r.ask("admin", 25, {}, { body: "transactionCheckMax=1" });
  const givenUp = await endOf(r, GIVEN_UP);
  await half(r, "nobody answers");
  await r.pushed(39, PATIENCE_MS);
  await readable(r, GIVEN_UP, 0, givenUp + 1);
  await r.settle();
  const { physicalOffset } = await stored(r, GIVEN_UP, 0, givenUp);
  const halfEnd = await endOf(r, HALF);
  await r.ask("admin", 323, { topic: TOPIC, msgId: offsetMessageId("127.0.0.1:10911", physicalOffset) }, { hide: ["msgId"] });
  await answer(r, await r.pushed(39, PATIENCE_MS), ROLLBACK);
  await r.settle();
  await stored(r, HALF, 0, halfEnd);

  r.note("not asked for a while");
  const immune = placeOf(await half(r, "immune", { CHECK_IMMUNITY_TIME_IN_SECONDS: "1000" }));
  await readable(r, HALF, 0, immune.queueOffset + 2);
  await end(r, await stored(r, HALF, 0, immune.queueOffset + 1), ROLLBACK);
  await r.hangUp("a");
}
