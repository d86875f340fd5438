import { Recorder } from "../recorder.ts";
import { beat, consumer, subscription } from "./clients.ts";
import { makeTopic, pull, readable, send } from "./messages.ts";

const TOPIC = "pu-T";
const GROUP = "pu-g";
const A = 65;

/** Pulls: what is refused, what is found, where to go on. */
export async function pulls(r: Recorder): Promise<void> {
  await makeTopic(r, TOPIC, 2);
  r.note("empty queue");
  await pull(r, GROUP, TOPIC);
  await pull(r, GROUP, TOPIC, { queueOffset: 5 });
  await pull(r, GROUP, TOPIC, { queueOffset: -5 });

  for (const tag of ["A", "B", "A", ""])
    await send(r, TOPIC, `tag ${tag}`, { properties: { UNIQ_KEY: "U", ...(tag === "" ? {} : { TAGS: tag }) } });
  await readable(r, TOPIC, 0, 4);
  r.note("found");
  await pull(r, GROUP, TOPIC, {});
  await pull(r, GROUP, TOPIC, { subscription: "A" });
  await pull(r, GROUP, TOPIC, { subscription: "A || B", maxMsgNums: 2 });
  await pull(r, GROUP, TOPIC, { subscription: "C" });
  await pull(r, GROUP, TOPIC, { subscription: "" });
  await pull(r, GROUP, TOPIC, { subscription: undefined });
  await pull(r, GROUP, TOPIC, { subscription: "||" });
  for (const queueOffset of [3, 4, 5, 100, -1]) await pull(r, GROUP, TOPIC, { queueOffset });
  for (const maxMsgNums of [0, -1, 1]) await pull(r, GROUP, TOPIC, { maxMsgNums });
  await r.ask(
    "c",
    361,
    {
      consumerGroup: GROUP,
      topic: TOPIC,
      queueId: 0,
      queueOffset: 3,
      maxMsgNums: 1,
      sysFlag: 20,
      commitOffset: 0,
      suspendTimeoutMillis: 0,
      subscription: "*",
      subVersion: 0,
    },
    { show: "records" },
  );

  r.note("refusals");
  await pull(r, "pu g", TOPIC);
  await pull(r, GROUP, "pu-none");
  for (const queueId of [2, -1]) await pull(r, GROUP, TOPIC, { queueId });
  await pull(r, GROUP, TOPIC, { queueId: "x" });
  await pull(r, GROUP, TOPIC, { expressionType: "SQL92", subscription: "a > 1" });
  await pull(r, GROUP, TOPIC, { expressionType: "OTHER" });
  await r.ask("c", 11, { consumerGroup: GROUP });
  await makeTopic(r, "pu-W", 1, { perm: 2 });
  await pull(r, GROUP, "pu-W");

  r.note("by the heart-beat's subscription");
  const known = { sysFlag: 0, subscription: undefined, subVersion: 5 };
  await pull(r, GROUP, TOPIC, known);
  await beat(r, "c1", [
    consumer(GROUP, [subscription({ topic: TOPIC, subString: "A", subVersion: 5, tagsSet: ["A"], codeSet: [A] })]),
  ]);
  await r.settle();
  await pull(r, GROUP, TOPIC, known);
  await pull(r, GROUP, TOPIC, { ...known, subVersion: 4 });
  await pull(r, GROUP, TOPIC, { ...known, subVersion: 6 });
  await pull(r, GROUP, "pu-W", known);
  await makeTopic(r, "pu-U", 1);
  await pull(r, GROUP, "pu-U", known);
  await r.hangUp("c1");
  await pull(r, GROUP, TOPIC, known);

  r.note("groups that may not");
  await r.ask("admin", 200, {}, { body: { groupName: "pu-off", consumeEnable: false } });
  await pull(r, "pu-off", TOPIC);
  await r.ask("admin", 200, {}, { body: { groupName: "pu-nb", consumeBroadcastEnable: false } });
  await beat(r, "c2", [consumer("pu-nb", [subscription({ topic: TOPIC })], { messageModel: "BROADCASTING" })]);
  await pull(r, "pu-nb", TOPIC, { ...known, subVersion: 1 });
  await beat(r, "c3", [consumer("pu-f", [subscription({ topic: TOPIC }), subscription({ topic: "pu-U" })])]);
  await r.settle();
  await r.ask("admin", 353, { group: "pu-f", topic: TOPIC, readable: false });
  await pull(r, "pu-f", TOPIC, { ...known, subVersion: 1 });
  await pull(r, "pu-f", "pu-U", { ...known, subVersion: 1 });

  r.note("held");
  const held = { queueId: 1, sysFlag: 6, suspendTimeoutMillis: 300 };
  await pull(r, GROUP, TOPIC, held);
  const waiting = pull(r, GROUP, TOPIC, { ...held, suspendTimeoutMillis: 10_000 });
  await r.wait(100);
  const other = new Recorder(r.address, 0);
  await send(other, TOPIC, "wakes", { header: { queueId: 1 } });
  await other.close();
  await waiting;
}
