import type { Recorder } from "../recorder.ts";
import { beat, consumer, subscription } from "./clients.ts";
import { makeTopic, pull, readable, type Sending, send } from "./messages.ts";

const REPLY_TOPIC = "DefaultCluster_REPLY_TOPIC";
const PUSH = 326;

/** Answers to questions, which the broker hands to the producer that asked. */
export async function replies(r: Recorder): Promise<void> {
  const of = (who: string, more: Readonly<Record<string, string>> = {}): Sending => ({
    code: 325,
    properties: {
      UNIQ_KEY: "U-reply",
      CORRELATION_ID: "c-1",
      MSG_TYPE: "reply",
      REPLY_TO_CLIENT: `127.0.0.2@${who}`,
      TTL: "3000",
      ...more,
    },
  });

  r.note("producers that ask");
  await beat(r, "a1", [], ["re-p"]);
  await beat(r, "a2", [], ["re-p"]);
  await beat(r, "a3", [consumer("re-g", [subscription({ topic: "re-T" })])]);
  await beat(r, "a4", [], ["re-p", "re-q"]);
  await r.settle();

  r.note("replies");
  await send(r, REPLY_TOPIC, "one", of("a1"));
  await r.settle();
  await send(r, REPLY_TOPIC, "two", { ...of("a2"), code: 324 });
  await r.settle();
  await send(r, REPLY_TOPIC, "squeezed", { ...of("a1"), header: { sysFlag: 1, flag: 9, reconsumeTimes: 2, unitMode: true } });
  await r.settle();
  await send(r, REPLY_TOPIC, "any queue", { ...of("a1"), header: { queueId: -1 } });
  await r.settle();
  await send(r, REPLY_TOPIC, "", of("a1"));
  await r.settle();
  await send(r, REPLY_TOPIC, "half", { ...of("a1", { TRAN_MSG: "true" }), header: { sysFlag: 4 } });
  await r.settle();
  await send(r, REPLY_TOPIC, "batch", { ...of("a1"), header: { batch: true } });
  await r.settle();

  r.note("nobody to hand it to");
  await send(r, REPLY_TOPIC, "three", of("none"));
  await send(r, REPLY_TOPIC, "four", { code: 325, properties: { UNIQ_KEY: "U-reply" } });
  await send(r, REPLY_TOPIC, "five", of("a3"));
  await r.settle();
  r.refuseWith("a2", PUSH, 1);
  await send(r, REPLY_TOPIC, "six", of("a2"));
  await r.settle();
  await r.ask("a2", 35, { clientID: "127.0.0.2@a2", producerGroup: "re-p" });
  await send(r, REPLY_TOPIC, "seven", of("a2"));
  await r.settle();
  await r.ask("a4", 35, { clientID: "127.0.0.2@a4", producerGroup: "re-q" });
  await send(r, REPLY_TOPIC, "eight", of("a4"));
  await r.settle();

  r.note("topics");
  await send(r, "re-new", "x", of("a1"));
  await send(r, "re-refused", "x", { ...of("a1"), header: { defaultTopic: "re-none" } });
  await send(r, "re bad", "x", of("a1"));
  await send(r, "TBW102", "x", of("a1"));
  await send(r, REPLY_TOPIC, "x", { ...of("a1"), header: { queueId: 9 } });
  await makeTopic(r, "re-read", 1, { perm: 4 });
  await send(r, "re-read", "x", of("a1"));
  await r.settle();
  await r.ask("p", 325, { a: "p" });

  r.note("what is stored");
  await readable(r, REPLY_TOPIC, 0, 12);
  await pull(r, "re-c", REPLY_TOPIC, { maxMsgNums: 2 });
  await pull(r, "re-c", REPLY_TOPIC, { queueOffset: 2, maxMsgNums: 1 });
  await pull(r, "re-c", REPLY_TOPIC, { queueOffset: 3 });
  await r.ask("admin", 25, {}, { body: "storeReplyMessageEnable=false" });
  await send(r, REPLY_TOPIC, "not stored", of("a1"));
  await r.settle();
  await r.wait(1000);
  await r.ask("admin", 30, { topic: REPLY_TOPIC, queueId: 0 });
  await r.ask("admin", 25, {}, { body: "storeReplyMessageEnable=true" });
  await r.hangUp("a1");
  await send(r, REPLY_TOPIC, "gone", of("a1"));
}
