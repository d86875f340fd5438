import type { Recorder } from "../recorder.ts";
import { makeTopic, pull, readable, send } from "./messages.ts";

const TOPIC = "ti-T";
const WHEEL = "rmq_sys_wheel_timer";
/** A message that a busy machine parks too late tells no time of its parking. */
const TOLD = ["size", "TIMER_ENQUEUE_MS"];

/** Messages with a delivery time of their own, and taking them back. */
export async function timers(r: Recorder): Promise<void> {
  await makeTopic(r, TOPIC);
  const hide = { hide: ["recallHandle"] };
  const timed = (key: string, properties: Record<string, string>) =>
    send(r, TOPIC, key, { ...hide, properties: { UNIQ_KEY: key, ...properties } });
  r.note("at once");
  await timed("past", { TIMER_DELIVER_MS: "1000" });
  await timed("zero", { TIMER_DELAY_MS: "0" });
  await timed("negative", { TIMER_DELAY_SEC: "-5" });
  r.note("refused");
  await timed("far", { TIMER_DELAY_SEC: "259300" });
  await timed("word", { TIMER_DELAY_SEC: "soon" });
  await timed("broken", { TIMER_DELAY_MS: "1.5" });
  await timed("mark", { TIMER_DELIVER_MS: "1000", TIMER_DEL_UNIQKEY: "x" });
  r.note("later");
  const { answer } = await timed("at", { TIMER_DELIVER_MS: String(Date.now() + 1000), TAGS: "A", mine: "x" });
  r.note(`the handle is ${handleOf(answer?.extFields["recallHandle"])}`);
  await readable(r, TOPIC, 0, 4);
  await timed("ms", { TIMER_DELAY_MS: "700", TIMER_DELIVER_MS: "1000" });
  await readable(r, TOPIC, 0, 5);
  await timed("s", { TIMER_DELAY_SEC: "1", TIMER_DELAY_MS: "90000" });
  await readable(r, TOPIC, 0, 6);
  await send(r, TOPIC, "level", {
    hide: ["queueOffset"], // In the schedule topic, which others use as well.
    properties: { UNIQ_KEY: "level", TIMER_DELAY_SEC: "90", DELAY: "1" },
  });
  await readable(r, TOPIC, 0, 7);
  await pull(r, "ti-g", TOPIC, {}, { hide: TOLD });

  r.note("taken back");
  const recall = (recallHandle: string | undefined, topic = TOPIC) =>
    r.ask("p", 370, { producerGroup: "pg", topic, recallHandle }, hide);
  const last = await timed("recalled", { TIMER_DELAY_SEC: "4" });
  const handle = last.answer?.extFields["recallHandle"];
  await recall(handle);
  await r.ask("admin", 25, {}, { body: "recallMessageEnable=true" });
  await recall("nothing");
  await recall(undefined);
  await recall(Buffer.from("v1 ti-T broker-a 1").toString("base64url"));
  await recall(Buffer.from("v1 ti-T broker-a 1 key").toString("base64url"));
  await recall(Buffer.from(`v1 ti-T broker-b ${Date.now() + 5000} key`).toString("base64url"));
  await recall(handle, "ti-none");
  await recall(handle, "TBW102");
  await recall(handle);
  await timed("kept", { TIMER_DELAY_SEC: "4" });
  await readable(r, TOPIC, 0, 8);
  await recall(handle);
  await pull(r, "ti-g", TOPIC, { queueOffset: 7 }, { hide: TOLD });
  await r.ask("admin", 25, {}, { body: "recallMessageEnable=false" });
  await pull(r, "ti-g", WHEEL, {}, { hide: TOLD });
  await r.ask("admin", 60, {}, { show: (body) => body.length });
}

/** Its text, without the time. */
function handleOf(handle: string | undefined): string {
  return Buffer.from(handle ?? "", "base64url")
    .toString()
    .replace(/\d{13}/, "<time>");
}
