// Goal: of any message one can learn where it is for a group and why, at each step of its life.
// Method: messages are sent, pulled, committed, sent back and left to die; after each step the broker is asked.
import test, { type ExecutionContext } from "ava";
import type { Finding, FindingState } from "../../src/index.ts";
import { runCommand } from "../cli/command.ts";
import { until } from "../until.ts";
import { Lab } from "./lab.ts";
import type { RawClient } from "./raw-client.ts";
import * as ask from "./requests.ts";

const TOPIC = "Orders";
const GROUP = "billing";
const LOCK = 41;
const POP = 200_050;
const ACK = 200_051;
/** Levels 1 and 2. */
const CONFIG = { messageDelayLevel: "1s 1h", enablePropertyFilter: true };

interface Sent {
  id: string;
  key: string;
}

let sentCount = 0;

async function send(client: RawClient, properties: Readonly<Record<string, string>> = {}, topic = TOPIC): Promise<Sent> {
  const key = `7F0000010000AAAA0000${String(sentCount++).padStart(12, "0")}`;
  const fields = { topic, properties: { UNIQ_KEY: key, ...properties } };
  const { code, remark, extFields } = await client.ask(ask.SEND_V2, ask.sendHeaderV2(fields), Buffer.from("body"));
  if (code !== 0) throw new Error(remark);
  return { id: extFields["msgId"]!, key };
}

async function subscribe(client: RawClient, group: string, expression: string, expressionType = "TAG"): Promise<void> {
  const subscription = { topic: TOPIC, subString: expression, expressionType, tagsSet: [], codeSet: [], subVersion: 1 };
  if (expressionType === "TAG" && expression !== "*") Object.assign(subscription, { tagsSet: [expression] });
  const retries = { ...subscription, topic: `%RETRY%${group}`, subString: "*", expressionType: "TAG", tagsSet: [] };
  const consumer = { groupName: group, messageModel: "CLUSTERING", subscriptionDataSet: [subscription, retries] };
  const body = { clientID: `client-of-${group}`, consumerDataSet: [consumer], producerDataSet: [] };
  const { code } = await client.ask(ask.HEARTBEAT, {}, Buffer.from(JSON.stringify(body)));
  if (code !== 0) throw new Error(`heart-beat: ${code}`);
}

async function setUp(t: ExecutionContext, clock: "system" | "virtual" = "system") {
  const lab = new Lab(t);
  const broker = await lab.start({ config: CONFIG, clock });
  const client = await lab.raw();
  await client.ask(ask.CREATE_TOPIC, ask.topicHeader(TOPIC, 1));
  const admin = lab.admin();
  /** What is found of the message for the group, or, without one, for all. */
  const findings = async (id: string, group?: string): Promise<Finding[]> => {
    const found = await admin.explain(id, { group });
    return found[0]?.findings.filter((finding) => group === undefined || finding.group === group) ?? [];
  };
  /** Asks until the index and the queues have come so far. */
  const state = async (id: string, wanted: FindingState, group = GROUP): Promise<Finding> => {
    let seen: Finding[] = [];
    const isThere = async (): Promise<boolean> => {
      seen = await findings(id, group);
      return seen.some((finding) => finding.state === wanted);
    };
    await until(isThere, () => `not ${wanted} but ${JSON.stringify(seen)}`);
    return seen.find((finding) => finding.state === wanted)!;
  };
  return { lab, broker, client, admin, findings, state };
}

test("waiting, acked, retried, dead", async (t) => {
  const { client, state, findings, admin } = await setUp(t);
  await subscribe(client, GROUP, "*");
  const before = await send(client);
  const { id, key } = await send(client);
  t.regex((await state(id, "waiting")).text, /the group has committed nothing here/);
  await until(async () => (await admin.explain(key)).length > 0);
  const all = (await admin.explain(key))[0]!;
  t.is(all.message.offsetMsgId, id, "by unique key, without the topic");
  t.true(all.findings.some((finding) => finding.state === "stored"));

  const commit = (offset: number, topic = TOPIC): Promise<unknown> =>
    client.ask(ask.UPDATE_OFFSET, { consumerGroup: GROUP, topic, queueId: 0, commitOffset: offset });
  await commit(1);
  t.regex((await state(id, "waiting")).text, /committed up to 1, 0 before it/);
  t.is((await findings(before.id, GROUP))[0]?.state, "acked");
  const lock = { consumerGroup: GROUP, clientId: "c-7", mqSet: [{ topic: TOPIC, brokerName: "b", queueId: 0 }] };
  await client.ask(LOCK, {}, Buffer.from(JSON.stringify({ ...lock, mqSet: [{ ...lock.mqSet[0], brokerName: all.brokerName }] })));
  t.is((await state(id, "waiting")).clientId, "c-7");
  await client.ask(ask.PULL, ask.pullHeader({ group: GROUP, topic: TOPIC, offset: 2 }));
  t.regex((await state(id, "delivered")).text, /not acked yet .*locked by c-7/);
  await commit(2);
  t.regex((await state(id, "acked")).text, /up to 2/);

  const sendBack = async (offsetMsgId: string, delayLevel: number): Promise<void> => {
    const header = {
      offset: Number.parseInt(offsetMsgId.slice(-16), 16),
      group: GROUP,
      delayLevel,
      originMsgId: id,
      originTopic: TOPIC,
    };
    t.is((await client.ask(ask.SEND_BACK, header)).code, 0);
  };
  await sendBack(id, 2);
  const waits = await state(id, "retrying");
  t.like(waits, { retry: 1, retryMax: 16 });
  t.true(waits.until! > Date.now() + 3_000_000, waits.text);

  const other = await send(client);
  await sendBack(other.id, 1);
  const again = (): Promise<Finding | undefined> => findings(other.id, GROUP).then(([finding]) => finding);
  await until(async () => (await again())?.text.startsWith("retry 1 of 16: waits to be pulled") === true);
  t.like(await again(), { state: "waiting", retry: 1, retryMax: 16 });
  const copies = (await admin.explain(other.id, { group: GROUP }))[0]!.copies;
  const retried = copies.find(({ topic }) => topic === `%RETRY%${GROUP}`)!;
  await commit(1, `%RETRY%${GROUP}`);
  t.regex((await state(other.id, "acked")).text, /^retry 1 of 16: acked/);
  await sendBack(retried.offsetMsgId, -1);
  t.regex((await state(other.id, "dead-lettered")).text, /after 2 tries: %DLQ%billing\/0 at 0/);
});

test("delayed, filtered by tags and by an expression, not subscribed", async (t) => {
  const { client, state, findings } = await setUp(t);
  await subscribe(client, GROUP, "A");
  await subscribe(client, "sql", "amount > 10 AND TAGS = 'B'", "SQL92");
  await client.ask(ask.CREATE_GROUP, {}, Buffer.from(JSON.stringify({ groupName: "stranger" })));
  const large = await send(client, { TAGS: "B", amount: "11" });
  t.like(await state(large.id, "filtered"), { expression: "A" });
  await state(large.id, "waiting", "sql");
  const small = await send(client, { TAGS: "A", amount: "5" });
  t.regex((await state(small.id, "filtered", "sql")).text, /SQL92 expression amount > 10 AND TAGS = 'B'/);
  await state(small.id, "waiting");
  t.deepEqual(
    (await findings(small.id)).flatMap(({ group }) => group ?? []),
    [GROUP, "sql"],
    "each group that reads the topic",
  );
  t.regex((await state(small.id, "not-subscribed", "nobody")).text, /no such group/);

  const late = await send(client, { DELAY: "2" });
  let delayed: Finding | undefined;
  await until(async () => {
    delayed = (await findings(late.key)).find((finding) => finding.state === "delayed");
    return delayed !== undefined;
  });
  t.true(delayed !== undefined && delayed.until! > Date.now() + 3_000_000, JSON.stringify(delayed));
});

test("popped and invisible, then back in the retry topic", async (t) => {
  const { client, broker, state } = await setUp(t, "virtual");
  await subscribe(client, GROUP, "*");
  const { id } = await send(client);
  await state(id, "waiting");
  const pop = {
    consumerGroup: GROUP,
    topic: TOPIC,
    queueId: 0,
    maxMsgNums: 1,
    invisibleTime: 60_000,
    pollTime: 0,
    bornTime: Date.now(),
    initMode: 0,
    order: false,
  };
  t.is((await client.ask(POP, pop)).code, 0);
  const held = await state(id, "invisible");
  t.is(held.clientId, `client-of-${GROUP}`);
  t.regex(held.text, /popped by client-of-billing and not acked, until/);
  await broker.advance("61s");
  const again = (finding: Finding): boolean => finding.text.startsWith("retry 1 of 16");
  await until(async () => {
    const { text, retry } = await state(id, "waiting");
    return again({ state: "waiting", text }) && retry === 1;
  });
});

test("popped in order: invisible, what waits behind it, acked", async (t) => {
  const { client, state } = await setUp(t);
  await subscribe(client, GROUP, "*");
  const [first, behind] = [await send(client), await send(client)];
  await state(behind.id, "waiting");
  const pop = {
    consumerGroup: GROUP,
    topic: TOPIC,
    queueId: 0,
    maxMsgNums: 1,
    invisibleTime: 600_000,
    pollTime: 0,
    bornTime: Date.now(),
    initMode: 0,
    order: true,
  };
  const { code, extFields } = await client.ask(POP, pop);
  t.is(code, 0);
  t.regex((await state(first.id, "invisible")).text, /^invisible: popped in order and not acked, until/);
  t.regex((await state(behind.id, "waiting")).text, /^waits behind messages that are popped in order and not acked/);
  const extraInfo = `0 ${extFields["popTime"]} 600000 999 0 b 0 0`;
  const ack = { consumerGroup: GROUP, topic: TOPIC, queueId: 0, extraInfo, offset: 0 };
  t.is((await client.ask(ACK, ack)).code, 0);
  await state(first.id, "acked");
  t.regex((await state(behind.id, "waiting")).text, /^waits to be pulled/);
});

test("the command", async (t) => {
  const { client, broker, state } = await setUp(t);
  await subscribe(client, GROUP, "*");
  const { id, key } = await send(client, { KEYS: "order-1" });
  await state(id, "waiting");
  const namesrv = ["--namesrv", broker.namesrvAddress];
  const text = await runCommand(["explain", id, ...namesrv]);
  t.is(text.code, 0, text.stderr);
  t.regex(text.stdout, /keys "order-1"\n {2}stored in Orders\/0 at 0 .*\n {2}billing: waits to be pulled/);
  const json = await runCommand(["explain", key, "--group", GROUP, "--topic", TOPIC, "--json", ...namesrv]);
  const [one] = JSON.parse(json.stdout) as { message: object; findings: object[] }[];
  t.like(one, { message: { topic: TOPIC, offsetMsgId: id } });
  const none = await runCommand(["explain", "0".repeat(32), ...namesrv]);
  t.is(none.code, 1);
  t.regex(none.stderr, /no broker has a message of id 0+\n/);
});
