import type { Recorder } from "../recorder.ts";
import { makeGroup, makeTopic, readable, send } from "./messages.ts";

const PARENT = "li-P";
const PLAIN = "li-T";
const GROUP = "li-g";
/** Sizes of tables that tell of the broker's insides. */
const INSIDES = { hide: ["cqTableSize", "offsetTableSize", "currentLmqNum", "lmqNum"] };

/** Lite topics, as far as clients of the remoting protocol get: sends, and what mqadmin asks. Of a broker with LMQ. */
export async function lite(r: Recorder): Promise<void> {
  await makeTopic(r, PARENT, 1, { attributes: "+message.type=LITE,+lite.topic.expiration=60" });
  await makeTopic(r, PLAIN, 1);
  await makeGroup(r, GROUP, { attributes: { "+lite.bind.topic": PARENT } });
  await makeGroup(r, "li-plain");
  for (const [body, liteTopic] of [
    ["1", "a"],
    ["2", "a"],
    ["3", "b"],
  ] as const) {
    await send(r, PARENT, body, { properties: { UNIQ_KEY: `L${body}`, __LITE_TOPIC: liteTopic } });
  }
  await readable(r, PARENT, 0, 3);
  await readable(r, `%LMQ%$${PARENT}$a`, 0, 2);

  r.note("the broker, the topic");
  await r.ask("admin", 200074, {}, INSIDES);
  for (const topic of [PARENT, PLAIN, "li-none"]) await r.ask("admin", 200075, { topic }, INSIDES);
  await r.ask("admin", 200075, {});

  r.note("one lite topic");
  for (const parentTopic of [PARENT, PLAIN, "li-none"]) await r.ask("admin", 200076, { parentTopic, liteTopic: "a" });
  await r.ask("admin", 200076, { parentTopic: PARENT, liteTopic: "none" });

  r.note("a client");
  const client = { parentTopic: PARENT, group: GROUP, clientId: "c1", maxCount: 10 };
  await r.ask("admin", 200077, client);
  await r.ask("admin", 200077, { ...client, group: "li-plain" });
  await r.ask("admin", 200077, { ...client, group: "li-none" });
  await r.ask("admin", 200077, { ...client, parentTopic: PLAIN });
  await r.ask("admin", 200077, { ...client, parentTopic: "li-none" });

  r.note("a group");
  await r.ask("admin", 200078, { group: GROUP, liteTopic: "a", topK: 5 });
  await r.ask("admin", 200078, { group: GROUP, liteTopic: "none", topK: 5 });
  await r.ask("c", 15, { consumerGroup: GROUP, topic: `%LMQ%$${PARENT}$a`, queueId: 0, commitOffset: 1 });
  await r.ask("admin", 200078, { group: GROUP, liteTopic: "a", topK: 5 });
  await r.ask("c", 15, { consumerGroup: GROUP, topic: `%LMQ%$${PARENT}$b`, queueId: 0, commitOffset: 0 });
  for (const topK of [0, 5]) await r.ask("admin", 200078, { group: GROUP, topK });
  for (const group of ["li-plain", "li-none"]) await r.ask("admin", 200078, { group, liteTopic: "a", topK: 5 });

  r.note("dispatch");
  await r.ask("admin", 200079, { group: GROUP, clientId: "c1" });
  await r.ask("admin", 200079, { group: GROUP });
  for (const group of ["li-plain", "li-none"]) await r.ask("admin", 200079, { group });
}
