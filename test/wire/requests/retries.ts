import type { Recorder } from "../recorder.ts";
import { makeTopic, pull, readable, send } from "./messages.ts";

const TOPIC = "re-T";
const GROUP = "re-g";

/** Messages that a consumer sends back. */
export async function retries(r: Recorder): Promise<void> {
  await makeTopic(r, TOPIC);
  const sent = await send(r, TOPIC, "to retry", { properties: { TAGS: "A", KEYS: "k", UNIQ_KEY: "R1" }, header: { flag: 3 } });
  const hide = ["offset", "ORIGIN_MESSAGE_ID", "size"];
  const back = { group: GROUP, offset: sent.physicalOffset, delayLevel: 1, originMsgId: "R1", originTopic: TOPIC };
  const retry = `%RETRY%${GROUP}`;
  r.note("to the retry topic, after ten seconds or one");
  await r.ask("c", 36, { ...back, delayLevel: 0 }, { hide });
  await r.ask("admin", 351, { topic: retry });
  await readable(r, "SCHEDULE_TOPIC_XXXX", 2, 1);
  await pull(r, GROUP, "SCHEDULE_TOPIC_XXXX", { queueId: 2 }, { hide });
  await pull(r, GROUP, retry, {}, { hide });
  await r.ask("c", 36, back, { hide });
  await readable(r, retry, 0, 1);
  const retried = await pull(r, GROUP, retry, {}, { hide });

  r.note("once more");
  const offset = retried === undefined || retried.body.length === 0 ? -1 : Number(retried.body.readBigInt64BE(28));
  await r.ask("c", 36, { ...back, offset }, { hide });
  await readable(r, retry, 0, 2);
  await pull(r, GROUP, retry, { queueOffset: 1 }, { hide });

  r.note("to the dead letters");
  await r.ask("c", 36, { ...back, delayLevel: -1 }, { hide });
  await r.ask("admin", 351, { topic: `%DLQ%${GROUP}` });
  await r.ask("c", 36, { ...back, maxReconsumeTimes: 0 }, { hide });
  await r.ask("c", 36, { ...back, maxReconsumeTimes: 0 }, { hide, version: 100 });
  await makeTopic(r, `%DLQ%${GROUP}`, 1, { perm: 6 });
  await readable(r, `%DLQ%${GROUP}`, 0, 2);
  await pull(r, GROUP, `%DLQ%${GROUP}`, {}, { hide });

  r.note("refusals");
  await r.ask("c", 36, { ...back, group: "re bad" }, { hide });
  await r.ask("c", 36, { ...back, offset: 1 });
  await r.ask("c", 36, { ...back, offset: 99_999_999_999 });
  await r.ask("c", 36, { group: GROUP });
  await r.ask("admin", 200, {}, { body: { groupName: "re-off", retryQueueNums: 0 } });
  await r.ask("c", 36, { ...back, group: "re-off" }, { hide });
  await r.ask("admin", 351, { topic: "%RETRY%re-off" });
}
