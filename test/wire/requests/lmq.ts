import type { Recorder } from "../recorder.ts";
import { makeGroup, makeTopic, pull, readable, send } from "./messages.ts";

const TOPIC = "lm-T";
const A = "%LMQ%lm-a";
const B = "%LMQ%lm-b";
const GROUP = "%LMQ%lm-g";

/** Messages that go to further queues (LMQ, lite topics); of a broker with enableLmq and enableMultiDispatch. */
export async function lmq(r: Recorder): Promise<void> {
  await makeTopic(r, TOPIC, 2);
  r.note("sends");
  const to = (names: string, more: Readonly<Record<string, string>> = {}) => ({ INNER_MULTI_DISPATCH: names, ...more });
  await send(r, TOPIC, "one", { properties: to(A, { UNIQ_KEY: "U1", TAGS: "x" }) });
  await send(r, TOPIC, "two", { properties: to(`${A},${B}`, { UNIQ_KEY: "U2", TAGS: "y" }) });
  await send(r, TOPIC, "plain", { properties: { UNIQ_KEY: "U3" } });
  await send(r, TOPIC, "three", { properties: to(`${B},${A}`, { UNIQ_KEY: "U4", TAGS: "x" }), header: { queueId: 1 } });
  await send(r, TOPIC, "claims offsets", { properties: to(B, { UNIQ_KEY: "U5", INNER_MULTI_QUEUE_OFFSET: "77" }) });
  await send(r, TOPIC, "lite", { properties: { UNIQ_KEY: "U6", __LITE_TOPIC: "lite-1" } });
  await readable(r, A, 0, 3);
  await readable(r, B, 0, 3);
  await readable(r, `%LMQ%$${TOPIC}$lite-1`, 0, 1);
  await readable(r, TOPIC, 0, 5);

  r.note("pulls");
  for (const topic of [TOPIC, A, B, `%LMQ%$${TOPIC}$lite-1`]) await pull(r, GROUP, topic, {});
  for (const queueOffset of [1, 2, 3, 4, 9]) await pull(r, GROUP, A, { queueOffset });
  await pull(r, GROUP, A, { subscription: "x" });
  await pull(r, "lm-plain-group", A, {});
  await pull(r, GROUP, A, { queueId: 1 });
  await pull(r, GROUP, "%LMQ%lm-nobody", {});

  r.note("the queues");
  for (const topic of [A, B, "%LMQ%lm-nobody"]) {
    for (const code of [30, 31, 32]) await r.ask("admin", code, { topic, queueId: 0 }, { hide: ["timestamp"] });
  }
  for (const boundaryType of ["LOWER", "UPPER"]) {
    for (const timestamp of [0, Date.now() + 3_600_000])
      await r.ask("admin", 29, { topic: A, queueId: 0, timestamp, boundaryType }, { hide: ["timestamp"] });
  }

  r.note("offsets");
  const of = { consumerGroup: GROUP, topic: A, queueId: 0 };
  await r.ask("c", 14, of);
  await r.ask("c", 14, { ...of, setZeroIfNotFound: false });
  await r.ask("c", 15, { ...of, commitOffset: 2 });
  await r.ask("c", 14, of);
  await r.ask("c", 15, { ...of, consumerGroup: "lm-plain-group", commitOffset: 1 });
  await r.ask("c", 14, { ...of, consumerGroup: "lm-plain-group" });
  await r.ask("c", 14, { ...of, topic: B });

  r.note("what stands in no table");
  await r.ask("admin", 351, { topic: A });
  await makeTopic(r, A, 8);
  await r.ask("admin", 351, { topic: A });
  await r.ask("admin", 352, { group: GROUP });
  await makeGroup(r, GROUP, { consumeEnable: false });
  await r.ask("admin", 352, { group: GROUP });
  await r.ask("admin", 215, { topic: B });
}
