import { encodeProperties } from "../../../src/format/record/properties.ts";
import type { Recorder } from "../recorder.ts";
import { makeTopic, pull, readable, send } from "./messages.ts";

const TOPIC = "ba-T";
const GROUP = "ba-g";

/** Batches that are stored whole, in queues of their own form (queue.type=BatchCQ). */
export async function batches(r: Recorder): Promise<void> {
  await makeTopic(r, TOPIC, 1, { attributes: "+queue.type=BatchCQ" });
  r.note("sends");
  await batch(r, 3, { UNIQ_KEY: "B1", WAIT: "true", TAGS: "a" });
  await send(r, TOPIC, "single", { properties: { UNIQ_KEY: "S1", TAGS: "b" } });
  await batch(r, 2, { WAIT: "true" });
  await batch(r, 4, { UNIQ_KEY: "B2", KEYS: "k", TAGS: "a" });
  await batch(r, 1, { UNIQ_KEY: "B3", TAGS: "c" });
  await send(r, TOPIC, "single", { properties: { UNIQ_KEY: "S1", INNER_NUM: "2" } });
  await send(r, TOPIC, "no batch at all", { code: 320, properties: { UNIQ_KEY: "B4" } });
  await readable(r, TOPIC, 0, 11);

  r.note("pulls");
  for (const queueOffset of [0, 1, 3, 4, 5, 6, 8, 10, 11, 30, -1]) await pull(r, GROUP, TOPIC, { queueOffset });
  for (const maxMsgNums of [1, 3, 4, 5]) await pull(r, GROUP, TOPIC, { maxMsgNums });
  for (const subscription of ["a", "b", "a || c"]) await pull(r, GROUP, TOPIC, { subscription });

  r.note("the queue");
  const of = { topic: TOPIC, queueId: 0 };
  for (const code of [30, 31, 32]) await r.ask("admin", code, of, { hide: ["timestamp"] });
  for (const boundaryType of ["LOWER", "UPPER"]) {
    for (const timestamp of [0, Date.now() + 3_600_000])
      await r.ask("admin", 29, { ...of, timestamp, boundaryType }, { hide: ["timestamp"] });
  }
  for (const [index, count] of [
    [0, 20],
    [1, 2],
    [30, 1],
  ] as const) {
    await r.ask("admin", 321, { ...of, index, count, consumerGroup: "" }, { hide: ["physicOffset", "physicSize"] });
  }
}

async function batch(r: Recorder, count: number, properties: Readonly<Record<string, string>>): Promise<void> {
  const tags = properties["TAGS"];
  const messages = Array.from({ length: count }, (_, i) => {
    const body = Buffer.from(`m${i}`);
    const text = Buffer.from(
      encodeProperties(new Map([["UNIQ_KEY", `U${i}`], ...(tags === undefined ? [] : [["TAGS", tags] as const])])),
    );
    const message = Buffer.alloc(22 + body.length + text.length);
    message.writeInt32BE(message.length, 0);
    message.writeInt32BE(body.length, 16);
    body.copy(message, 20);
    message.writeInt16BE(text.length, 20 + body.length);
    text.copy(message, 22 + body.length);
    return message;
  });
  await send(r, TOPIC, Buffer.concat(messages), { code: 320, properties });
}
