import type { Recorder } from "../recorder.ts";
import { beat, consumer, subscription } from "./clients.ts";
import { makeGroup, makeTopic, pull, readable, send } from "./messages.ts";

const TOPIC = "of-T";
const GROUP = "of-g";

/** What groups have consumed: kept, shown, reset, copied. */
export async function offsets(r: Recorder): Promise<void> {
  await makeTopic(r, TOPIC, 2);
  for (let i = 0; i < 5; i++) await send(r, TOPIC, `m${i}`, { properties: { TAGS: i % 2 === 0 ? "A" : "B", UNIQ_KEY: `U${i}` } });
  await readable(r, TOPIC, 0, 5);
  await commitAndQuery(r);
  await figures(r);
  await resets(r);
  await throughClients(r);
  await copies(r);
}

async function commitAndQuery(r: Recorder): Promise<void> {
  r.note("query and commit");
  const of = { consumerGroup: GROUP, topic: TOPIC, queueId: 0 };
  await r.ask("c", 14, of);
  await r.ask("c", 14, { ...of, queueId: 1 });
  await r.ask("c", 14, { ...of, setZeroIfNotFound: false });
  await r.ask("c", 14, { ...of, setZeroIfNotFound: true });
  await r.ask("c", 14, { ...of, topic: "of-none" });
  await r.ask("c", 14, { ...of, queueId: 9 });
  await r.ask("c", 14, { ...of, consumerGroup: "of none" });
  await r.ask("c", 14);
  await r.ask("c", 15, { ...of, commitOffset: 3 });
  await makeGroup(r, GROUP);
  await makeGroup(r, "of-other");
  await r.ask("c", 15, { ...of, commitOffset: 3 });
  await r.ask("c", 14, of);
  await r.ask("c", 15, { ...of, commitOffset: 1 });
  await r.ask("c", 14, of);
  for (const commitOffset of [100, -1, 0]) {
    await r.ask("c", 15, { ...of, commitOffset });
    await r.ask("c", 14, of);
  }
  await r.ask("c", 15, { ...of, topic: "of-none", commitOffset: 1 });
  await r.ask("c", 15, { ...of, consumerGroup: "of none", commitOffset: 1 });
  await r.ask("c", 15, of);
  await r.ask("c", 15, { ...of, commitOffset: 2 }, { oneway: true });
  await r.settle();
  await r.ask("c", 14, of);
  r.note("a pull that commits");
  await pull(r, GROUP, TOPIC, { sysFlag: 5, commitOffset: 4, queueOffset: 4 });
  await r.ask("c", 14, of);
}

async function figures(r: Recorder): Promise<void> {
  r.note("figures");
  const unsure = { hide: ["consumeTps", "lastTimestamp", "brokerAddr"] };
  await r.ask("admin", 208, { consumerGroup: GROUP }, unsure);
  await r.ask("admin", 208, { consumerGroup: GROUP, topic: TOPIC }, unsure);
  await r.ask("admin", 208, { consumerGroup: GROUP, topic: "of-none" }, unsure);
  await r.ask("admin", 208, { consumerGroup: "of-none" }, unsure);
  await r.ask("admin", 208);
  await r.ask("admin", 300, { topic: TOPIC });
  await r.ask("admin", 343, { group: GROUP });
  await r.ask("admin", 343, { group: "of-none" });
  await r.ask("admin", 303, { group: GROUP, topic: TOPIC }, { hide: ["delayTime"] });
  await r.ask("admin", 303, { group: GROUP, topic: "of-none" });
  await r.ask("admin", 308, { compareGroup: GROUP, filterGroups: "of-x,of-y", topic: TOPIC });
  await r.ask("admin", 308, { compareGroup: "of-none", topic: TOPIC });
  const own = (body: Buffer) => Object.entries(parsed(body)["offsetTable"] ?? {}).filter(([key]) => key.startsWith("of-"));
  await r.ask("admin", 43, {}, { show: own });
}

/** Maps with number keys and without more. */
function parsed(body: Buffer): Record<string, unknown> {
  return JSON.parse(body.toString().replace(/([{,])(\d+):/g, '$1"$2":')) as Record<string, unknown>;
}

async function resets(r: Recorder): Promise<void> {
  r.note("resets by the broker");
  const of = { consumerGroup: GROUP, topic: TOPIC, queueId: 0 };
  const reset = { group: GROUP, topic: TOPIC, isForce: true };
  await r.ask("admin", 222, { ...reset, queueId: 0, offset: 2, timestamp: -1 });
  await r.ask("c", 14, of);
  await r.ask("c", 15, { ...of, commitOffset: 5 });
  await r.ask("c", 14, of);
  await pull(r, GROUP, TOPIC, { queueOffset: 5, subscription: "A" });
  await pull(r, GROUP, TOPIC, { queueOffset: 2, subscription: "A" });
  await r.ask("c", 15, { ...of, commitOffset: 5 });
  await r.ask("c", 14, of);
  await r.ask("admin", 222, { ...reset, queueId: -1, timestamp: 0 });
  await r.ask("admin", 222, { ...reset, queueId: -1, timestamp: -1 });
  await r.ask("admin", 222, { ...reset, timestamp: -1 });
  await r.ask("admin", 222, { ...reset, queueId: 5, offset: 0, timestamp: -1 });
  await r.ask("admin", 222, { ...reset, queueId: 0, offset: 99, timestamp: -1 });
  await r.ask("admin", 222, { ...reset, topic: "of-none", timestamp: -1 });
  await r.ask("admin", 222, { ...reset, group: "of-other", queueId: -1, timestamp: 0 });
  await r.ask("c", 14, { ...of, consumerGroup: "of-other" });
  await r.ask("admin", 222, { ...reset, group: "of none", queueId: -1, timestamp: 0 });
  await r.ask("admin", 222, { group: GROUP, topic: TOPIC });
  await r.ask("admin", 222, { ...reset, queueId: -1, timestamp: -1 });
}

async function throughClients(r: Recorder): Promise<void> {
  r.note("through clients");
  await r.ask("admin", 223, { group: GROUP, topic: TOPIC });
  await beat(r, "c1", [consumer(GROUP, [subscription({ topic: TOPIC })])]);
  await beat(r, "c2", [consumer(GROUP, [subscription({ topic: TOPIC })])]);
  await r.settle();
  r.answerWith("c1", 221, { messageQueueTable: {} });
  r.answerWith("c2", 221, { messageQueueTable: {} });
  await r.ask("admin", 223, { group: GROUP, topic: TOPIC });
  await r.settle();
  await r.ask("admin", 223, { group: GROUP, topic: TOPIC, clientAddr: "127.0.0.2@c2" });
  await r.settle();
  await r.ask("admin", 223, { group: GROUP, topic: TOPIC, clientAddr: "127.0.0.2@none" });
  r.answerWith("c1", 307, { properties: { a: "1" } });
  await r.ask("admin", 307, { consumerGroup: GROUP, clientId: "127.0.0.2@c1", jstackEnable: false });
  await r.settle();
  await r.ask("admin", 307, { consumerGroup: GROUP, clientId: "127.0.0.2@none", jstackEnable: false });
  await r.ask("admin", 307, { consumerGroup: "of-none", clientId: "127.0.0.2@c1", jstackEnable: false });
  await r.ask("admin", 307);
  const sent = await send(r, TOPIC, "direct");
  await readable(r, TOPIC, 0, 6);
  r.answerWith("c1", 309, { order: false, autoCommit: true, consumeResult: "CR_SUCCESS", spentTimeMills: 1 });
  const storeHost = sent.answer?.extFields["msgId"] ?? "";
  const direct = { consumerGroup: GROUP, clientId: "127.0.0.2@c1", msgId: storeHost, topic: TOPIC, brokerName: "broker-a" };
  await r.ask("admin", 309, direct);
  await r.settle();
  await r.ask("admin", 309, { ...direct, clientId: "127.0.0.2@none" });
  await r.ask("admin", 309, { ...direct, msgId: "7F00000100002A9F00000000FFFFFFFF" });
  r.note("reset through clients");
  await r.ask("admin", 25, {}, { body: "useServerSideResetOffset=false\n" });
  const reset = { group: GROUP, topic: TOPIC, isForce: true };
  await r.ask("admin", 222, { ...reset, queueId: -1, timestamp: 0 });
  await r.settle();
  await r.ask("admin", 222, { ...reset, timestamp: -1 });
  await r.settle();
  await r.hangUp("c1");
  await r.hangUp("c2");
  await r.ask("admin", 222, { ...reset, timestamp: -1 });
  await r.ask("admin", 25, {}, { body: "useServerSideResetOffset=true\n" });
}

async function copies(r: Recorder): Promise<void> {
  r.note("copies");
  await r.ask("admin", 314, { srcGroup: GROUP, destGroup: "of-copy", topic: TOPIC, offline: true });
  await r.ask("c", 14, { consumerGroup: "of-copy", topic: TOPIC, queueId: 0 });
  await r.ask("admin", 314, { srcGroup: GROUP, destGroup: "of-copy2", offline: true });
  await r.ask("c", 14, { consumerGroup: "of-copy2", topic: TOPIC, queueId: 0 });
  await r.ask("admin", 314, { srcGroup: "of-none", destGroup: "of-copy3", topic: TOPIC, offline: true });
  await r.ask("admin", 314);
  r.note("queues that are not there");
  await r.ask("c", 15, { consumerGroup: GROUP, topic: TOPIC, queueId: 7, commitOffset: 1 });
  await r.ask("c", 14, { consumerGroup: GROUP, topic: TOPIC, queueId: 7 });
  r.note("what is left after deleting");
  await r.ask("admin", 207, { groupName: "of-copy", cleanOffset: true });
  await r.ask("c", 14, { consumerGroup: "of-copy", topic: TOPIC, queueId: 0 });
  await r.ask("admin", 207, { groupName: "of-copy2", cleanOffset: false });
  await r.ask("c", 14, { consumerGroup: "of-copy2", topic: TOPIC, queueId: 0 });
  await r.ask("admin", 215, { topic: TOPIC });
  await r.ask("c", 14, { consumerGroup: GROUP, topic: TOPIC, queueId: 0 });
  await r.ask("admin", 343, { group: GROUP });
}
