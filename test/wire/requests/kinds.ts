import type { Recorder } from "../recorder.ts";
import { makeTopic, pull, readable, send } from "./messages.ts";

/** Topics of a kind of their own: compacted ones, those with priorities, those that take one kind of message. */
export async function kinds(r: Recorder): Promise<void> {
  await compacted(r);
  await priorities(r);
  await types(r);
}

async function compacted(r: Recorder): Promise<void> {
  r.note("compacted");
  const topic = "ke-C";
  await makeTopic(r, topic, 1, { attributes: "+cleanup.policy=COMPACTION" });
  await send(r, topic, "no key", { properties: { UNIQ_KEY: "N" } });
  await send(r, topic, "empty key", { properties: { UNIQ_KEY: "E", KEYS: "" } });
  for (const [index, key] of ["a", "b", "a", "c"].entries())
    await send(r, topic, `v${index}`, { properties: { UNIQ_KEY: `C${index}`, KEYS: key, TAGS: key } });
  await send(r, topic, "two keys", { properties: { UNIQ_KEY: "T", KEYS: "a b" } });
  await readable(r, topic, 0, 5);
  for (const code of [30, 31]) await r.ask("admin", code, { topic, queueId: 0 });
  for (const queueOffset of [0, 3, 5, 6]) await pull(r, "ke-g", topic, { queueOffset });
  await pull(r, "ke-g", topic, { subscription: "a" });
  await send(r, topic, "late", { properties: { UNIQ_KEY: "L", KEYS: "a", DELAY: "2" }, hide: ["queueOffset"] });
  await send(r, topic, "late, no key", { properties: { UNIQ_KEY: "L", DELAY: "2" } });
  await readable(r, topic, 0, 6);
  await pull(r, "ke-g", topic, { queueOffset: 5 });
  await makeTopic(r, topic, 1, { attributes: "-cleanup.policy" });
  await r.ask("admin", 351, { topic });
  await makeTopic(r, topic, 1, { attributes: "+cleanup.policy=DELETE" });
  await r.ask("admin", 351, { topic });
  await makeTopic(r, "ke-CB", 1, { attributes: "+cleanup.policy=NONE" });
}

async function priorities(r: Recorder): Promise<void> {
  r.note("priorities");
  const topic = "ke-P";
  await makeTopic(r, topic, 3, { attributes: "+message.type=PRIORITY" });
  for (const priority of ["0", "1", "2", "9", "-1", "x", ""])
    await send(r, topic, `p${priority}`, { properties: { UNIQ_KEY: `P${priority}`, _SYS_MSG_PRIORITY_: priority } });
  await send(r, topic, "none", { properties: { UNIQ_KEY: "none" } });
  await send(r, topic, "none", { properties: { UNIQ_KEY: "none2" }, header: { queueId: 1 } });
  await makeTopic(r, "ke-PN", 3, { attributes: "+message.type=NORMAL" });
  await send(r, "ke-PN", "p2", { properties: { UNIQ_KEY: "PN", _SYS_MSG_PRIORITY_: "2" } });
}

async function types(r: Recorder): Promise<void> {
  r.note("types");
  for (const type of ["NORMAL", "FIFO", "DELAY", "TRANSACTION", "UNSPECIFIED", "LITE"]) {
    const topic = `ke-${type}`;
    await makeTopic(r, topic, 1, { attributes: `+message.type=${type}` });
    await send(r, topic, "plain", { properties: { UNIQ_KEY: "U1" } });
    await send(r, topic, "fifo", { properties: { UNIQ_KEY: "U2", __SHARDINGKEY: "k" } });
  }
  r.note("properties without a value");
  await makeTopic(r, "ke-E", 1);
  for (const name of ["DELAY", "TIMER_DELAY_SEC", "TRAN_MSG", "KEYS", "TAGS", "own"])
    await send(r, "ke-E", name, { properties: { UNIQ_KEY: `E-${name}`, [name]: "" } });
  await readable(r, "ke-E", 0, 6);
  // Of the records Apache's broker leaves such properties out, here they stay: nobody sees them.
  await pull(r, "ke-g", "ke-E", {}, { hide: ["size"] });
  await makeTopic(r, "ke-MIXED", 1, { attributes: "+message.type=MIXED" });
}
