import type { Recorder } from "../recorder.ts";
import { makeTopic, pull, readable, send } from "./messages.ts";

/** Requests about the broker itself. */
export async function administration(r: Recorder): Promise<void> {
  r.note("codes that no broker serves");
  for (const code of [13, 22, 23, 27, 47, 105, 209, 214, 301, 4242, 200_072]) await r.ask("admin", code);

  await configuration(r);
  await figures(r);
  r.note("cleaning");
  for (const code of [306, 316, 329]) await r.ask("admin", code);
}

function set(r: Recorder, properties: string): Promise<unknown> {
  return r.ask("admin", 25, {}, { body: properties });
}

async function configuration(r: Recorder): Promise<void> {
  r.note("configuration");
  await r.ask("admin", 25);
  await set(r, "brokerConfigPath=/tmp/x");
  await makeTopic(r, "ad-order", 1, { order: true });
  await makeTopic(r, "ad-T", 1);
  await set(r, "brokerPermission=4");
  await send(r, "ad-order", "x");
  await r.ask("admin", 36, { group: "ad-g", offset: 0, delayLevel: 1 });
  await pull(r, "ad-g", "ad-T");
  await set(r, "brokerPermission=2");
  await pull(r, "ad-g", "ad-T");
  await send(r, "ad-T", "x");
  await set(r, "brokerPermission=6");
  await readable(r, "ad-T", 0, 1);
  await pull(r, "ad-g", "ad-T");
  await set(r, "rejectTransactionMessage=true");
  await send(r, "ad-T", "x", { properties: { TRAN_MSG: "true" }, header: { sysFlag: 4 } });
  await set(r, "rejectTransactionMessage=false");

  r.note("groups by use, or not");
  await set(r, "autoCreateSubscriptionGroup=false");
  await pull(r, "ad-none", "ad-T");
  await r.ask("admin", 352, { group: "ad-none" });
  await r.ask("admin", 14, { consumerGroup: "ad-none", topic: "ad-T", queueId: 0 });
  await r.ask("admin", 15, { consumerGroup: "ad-none", topic: "ad-T", queueId: 0, commitOffset: 1 });
  await r.ask("admin", 36, { group: "ad-none", offset: 0, delayLevel: 1 });
  await set(r, "autoCreateTopicEnable=true\nautoCreateSubscriptionGroup=true");
  await pull(r, "ad-none", "ad-T");

  r.note("topics by use, or not");
  await send(r, "ad-by-use", "x");
  await set(r, "autoCreateTopicEnable=false");
  await send(r, "ad-by-use", "x");
  await send(r, "ad-refused", "x");
  await set(r, "autoCreateTopicEnable=true");
  const shown =
    /^(brokerName|brokerClusterName|brokerId|brokerPermission|autoCreate\w*|messageDelayLevel|maxMessageSize|defaultQueryMaxNum|regionId)=/;
  const some = (body: Buffer) =>
    body
      .toString()
      .split("\n")
      .filter((line) => shown.test(line));
  await r.ask("admin", 26, {}, { show: some, hide: ["version"] });
}

async function figures(r: Recorder): Promise<void> {
  r.note("figures");
  const names = (body: Buffer) => {
    const { table } = JSON.parse(body.toString()) as { table: Record<string, string> };
    const wanted =
      /^(brokerVersionDesc|brokerActive|commitLogMinOffset|pageCacheLockTimeMills|startAcceptSendRequestTimeStamp|remainTransientStoreBufferNumbs)$/;
    return Object.fromEntries(Object.entries(table).filter(([name]) => wanted.test(name)));
  };
  await r.ask("admin", 28, {}, { show: names });
  await r.ask("admin", 315, { statsName: "TOPIC_PUT_NUMS", statsKey: "ad-none" });
  await r.ask("admin", 315, { statsName: "NONE", statsKey: "x" });
  await r.ask("admin", 315);
  await r.ask("admin", 45, {}, { show: "nothing" });
  await r.ask("admin", 402, {}, { show: "text" });
  await r.ask("admin", 907, {}, { show: "nothing" });
}
