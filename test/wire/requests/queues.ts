import type { Recorder } from "../recorder.ts";
import { beat, consumer, subscription } from "./clients.ts";
import { makeTopic, readable, send } from "./messages.ts";

const TOPIC = "qu-T";

/** Questions about queues and single messages. */
export async function queues(r: Recorder): Promise<void> {
  await makeTopic(r, TOPIC, 2);
  const of = { topic: TOPIC, queueId: 0 };
  r.note("empty queues");
  for (const code of [30, 31, 32]) await r.ask("admin", code, of);
  await r.ask("admin", 29, { ...of, timestamp: 5 });
  await r.ask("admin", 202, { topic: TOPIC });
  r.note("unknown queues");
  for (const code of [30, 31, 32]) {
    await r.ask("admin", code, { ...of, queueId: 9 });
    await r.ask("admin", code, { topic: "qu-none", queueId: 0 });
    await r.ask("admin", code, { topic: TOPIC });
    await r.ask("admin", code, { topic: TOPIC, queueId: "x" });
  }
  await r.ask("admin", 29, { topic: "qu-none", queueId: 0, timestamp: 5 });
  await r.ask("admin", 202, { topic: "qu-none" });

  const first = await send(r, TOPIC, "one", { properties: { KEYS: "k1 k2", TAGS: "A", UNIQ_KEY: "UNIQUE-1" } });
  const second = await send(r, TOPIC, "two", { properties: { KEYS: "k2", TAGS: "B", UNIQ_KEY: "UNIQUE-2" } });
  await send(r, TOPIC, "three", { header: { queueId: 1 } });
  for (const [queueId, count] of [
    [0, 2],
    [1, 1],
  ] as const)
    await readable(r, TOPIC, queueId, count);
  // The index may lag behind the queues.
  for (const key of ["UNIQUE-1", "UNIQUE-2"])
    await r.until(12, { topic: TOPIC, key, maxNum: 1, beginTimestamp: 0, endTimestamp: 4e12 }, ({ code }) => code === 0);
  r.note("filled queues");
  for (const code of [30, 31, 32]) await r.ask("admin", code, of);
  await r.ask("admin", 30, { ...of, committed: false });
  for (const boundaryType of [undefined, "LOWER", "UPPER", "lower", "NEITHER"]) {
    for (const timestamp of [0, Date.now() + 3_600_000])
      await r.ask("admin", 29, { ...of, timestamp, boundaryType }, { hide: ["timestamp"] });
  }
  await r.ask("admin", 29, of);
  await r.ask("admin", 202, { topic: TOPIC });

  r.note("by place in the log");
  await r.ask("admin", 33, { topic: TOPIC, offset: first.physicalOffset }, { show: "records", hide: ["offset"] });
  await r.ask("admin", 33, { offset: second.physicalOffset }, { show: "records", hide: ["offset"] });
  await r.ask("admin", 33, { topic: TOPIC, offset: 1 });
  await r.ask("admin", 33, { topic: TOPIC, offset: 99_999_999 });
  await r.ask("admin", 33, { topic: TOPIC, offset: -1 });
  await r.ask("admin", 33, { topic: TOPIC });

  r.note("by key");
  const range = { topic: TOPIC, maxNum: 32, beginTimestamp: 0, endTimestamp: Date.now() + 3_600_000 };
  const records = {
    show: "records",
    hide: ["endTimestamp", "beginTimestamp", "indexLastUpdatePhyoffset", "indexLastUpdateTimestamp"],
  } as const;
  for (const key of ["k1", "k2", "none", "A"]) await r.ask("admin", 12, { ...range, key }, records);
  await r.ask("admin", 12, { ...range, key: "k2", maxNum: 1 }, records);
  await r.ask("admin", 12, { ...range, key: "k2", endTimestamp: 5 }, records);
  await r.ask("admin", 12, { ...range, key: "UNIQUE-1", _UNIQUE_KEY_QUERY: true }, records);
  for (const indexType of ["K", "U", "T", "X"]) {
    for (const key of ["k1", "UNIQUE-2", "A"]) await r.ask("admin", 12, { ...range, key, indexType }, records);
  }
  await r.ask("admin", 12, { topic: TOPIC, key: "k1" });

  r.note("queue entries");
  const entries = { topic: TOPIC, queueId: 0, index: 0, count: 10 };
  const hide = ["physicOffset", "msg"];
  await r.ask("admin", 321, entries, { hide });
  await r.ask("admin", 321, { ...entries, index: 1, count: 1 }, { hide });
  await r.ask("admin", 321, { ...entries, index: 5 }, { hide });
  await r.ask("admin", 321, { ...entries, index: -1, count: 1 }, { hide });
  await r.ask("admin", 321, { ...entries, queueId: 9 }, { hide });
  await r.ask("admin", 321, { ...entries, topic: "qu-none" }, { hide });
  await r.ask("admin", 321, { ...entries, consumerGroup: "qu-g" }, { hide });
  await beat(r, "c1", [consumer("qu-g", [subscription({ topic: TOPIC, subString: "A", tagsSet: ["A"], codeSet: [65] })])]);
  await r.ask("admin", 321, { ...entries, consumerGroup: "qu-g" }, { hide });
}
