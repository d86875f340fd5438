import type { Recorder } from "../recorder.ts";
import { makeTopic, pull, readable, send } from "./messages.ts";

const LARGE = 4_194_304;

/** What a broker refuses of a producer, and what becomes of what it takes. */
export async function sends(r: Recorder): Promise<void> {
  r.note("topics by use");
  await send(r, "se-auto", "x");
  await r.ask("admin", 351, { topic: "se-auto" });
  await send(r, "se-auto16", "x", { header: { defaultTopicQueueNums: 16 } });
  await r.ask("admin", 351, { topic: "se-auto16" });
  await send(r, "se-none", "x", { header: { defaultTopic: "se-not-there" } });
  await send(r, "se-none", "x", { header: { defaultTopic: "se-auto" } });
  await send(r, "se-zero", "x", { header: { defaultTopicQueueNums: 0 } });
  await r.ask("admin", 351, { topic: "se-zero" });

  r.note("the answer");
  await makeTopic(r, "se-T", 2);
  for (const code of [10, 310] as const)
    await send(r, "se-T", `by ${code}`, { code, properties: { UNIQ_KEY: `U${code}`, TAGS: "A", KEYS: "k" } });
  await send(r, "se-T", "no id", { header: { queueId: 1 }, properties: {} });
  await send(r, "se-T", "flagged", {
    header: { queueId: 1, flag: 77, reconsumeTimes: 2, sysFlag: 1 },
    properties: { UNIQ_KEY: "F", WAIT: "false", a: "b" },
  });
  for (const queueId of [0, 1]) await readable(r, "se-T", queueId, 2);
  const stored = { hide: ["UNIQ_KEY", "size"] };
  await pull(r, "se-g", "se-T", {}, stored);
  await pull(r, "se-g", "se-T", { queueId: 1 }, stored);

  r.note("refusals");
  for (const queueId of [2, 99]) await send(r, "se-T", "x", { header: { queueId } });
  for (const topic of [
    "se T",
    "",
    " ",
    "t".repeat(128),
    "SCHEDULE_TOPIC_XXXX",
    "RMQ_SYS_TRANS_HALF_TOPIC",
    "SELF_TEST_TOPIC",
    "OFFSET_MOVED_EVENT",
    "TRANS_CHECK_MAX_TIME_TOPIC",
  ]) {
    await send(r, topic, "x");
  }
  await send(r, "se-T", "");
  await send(r, "se-T", Buffer.alloc(LARGE + 1));
  await send(r, "se-T", "x", { properties: { a: "v".repeat(32_760) } });
  await send(r, "se-T", "x", { header: { queueId: "many" } });
  await r.ask("p", 310, { b: "se-T" }, { body: "x" });
  await r.ask("p", 10, { topic: "se-T" }, { body: "x" });
  await makeTopic(r, "se-R", 1, { perm: 4 });
  await send(r, "se-R", "read only");
  await makeTopic(r, "se-0", 1, { perm: 0 });
  await send(r, "se-0", "no permission");

  r.note("retry topics");
  await send(r, "%RETRY%se-rg", "x", { properties: { a: "b" } });
  await r.ask("admin", 351, { topic: "%RETRY%se-rg" });
  await send(r, "%RETRY%se-rg", "x", { header: { reconsumeTimes: 16 } });
  await r.ask("admin", 351, { topic: "%DLQ%se-rg" });
  await send(r, "%RETRY%se-rg", "x", { header: { reconsumeTimes: 3, maxReconsumeTimes: 3 } });
  await send(r, "%RETRY%se-rg", "dead", { header: { reconsumeTimes: 17 } });
  await r.ask("admin", 351, { topic: "%DLQ%se-rg" });
  await send(r, "%RETRY%se-rg", "dead", {
    header: { reconsumeTimes: 4, maxReconsumeTimes: 3 },
    properties: { DELAY: "1", UNIQ_KEY: "U" },
  });
  await send(r, "%RETRY%se none", "x");
  await readable(r, "%RETRY%se-rg", 0, 3);
  await readable(r, "%DLQ%se-rg", 0, 2);
  await pull(r, "se-rg", "%RETRY%se-rg", {}, stored);
  await makeTopic(r, "%DLQ%se-rg", 1, { perm: 6 });
  await pull(r, "se-rg", "%DLQ%se-rg", {}, stored);

  r.note("batches");
  const batch = Buffer.concat([
    batched("b1", "TAGS\u0001A\u0002UNIQ_KEY\u0001B1\u0002"),
    batched("b2", "TAGS\u0001B\u0002UNIQ_KEY\u0001B2\u0002"),
  ]);
  await makeTopic(r, "se-B");
  await send(r, "se-B", batch, { code: 320 });
  await send(r, "se-B", batch, { header: { batch: true } });
  await readable(r, "se-B", 0, 4);
  await pull(r, "se-g", "se-B", {}, stored);
  await send(r, "se-B", "no batch", { code: 320 });
  await send(r, "%RETRY%se-rg", batch, { code: 320 });

  await delays(r);
}

async function delays(r: Recorder): Promise<void> {
  r.note("delay");
  await makeTopic(r, "se-D");
  await send(r, "se-D", "level 2", { properties: { DELAY: "2", UNIQ_KEY: "D2" } });
  await send(r, "se-D", "at once", { properties: { DELAY: "0", UNIQ_KEY: "D0" } });
  await send(r, "se-D", "level 99", { properties: { DELAY: "99", UNIQ_KEY: "D99" } });
  await readable(r, "se-D", 0, 1);
  for (const queueId of [1, 17]) await readable(r, "SCHEDULE_TOPIC_XXXX", queueId, 1);
  await pull(r, "se-g", "se-D");
  for (const queueId of [1, 17]) await pull(r, "se-g", "SCHEDULE_TOPIC_XXXX", { queueId });
  await makeTopic(r, "se-D1");
  await send(r, "se-D1", "later", { properties: { DELAY: "1", UNIQ_KEY: "D1" } });
  await readable(r, "se-D1", 0, 1);
  await pull(r, "se-g", "se-D1");
}

/** One message of a batch's body: sizes and CRC are not looked at by brokers. */
function batched(body: string, properties: string): Buffer {
  const bytes = Buffer.alloc(22 + body.length + properties.length);
  bytes.writeInt32BE(bytes.length, 0);
  bytes.writeInt32BE(body.length, 16);
  bytes.write(body, 20);
  bytes.writeInt16BE(properties.length, 20 + body.length);
  bytes.write(properties, 22 + body.length);
  return bytes;
}
