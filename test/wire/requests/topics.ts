import type { HeaderValues } from "../../../src/format/remoting/remoting-command.ts";
import type { Recorder } from "../recorder.ts";

const USUAL = {
  defaultTopic: "TBW102",
  readQueueNums: 4,
  writeQueueNums: 4,
  perm: 6,
  topicFilterType: "SINGLE_TAG",
  topicSysFlag: 0,
  order: false,
};

function put(r: Recorder, topic: string, header: HeaderValues = {}): Promise<unknown> {
  return r.ask("admin", 17, { ...USUAL, topic, ...header });
}

/** Making, changing, naming and deleting topics. */
export async function topics(r: Recorder): Promise<void> {
  r.note("make and change");
  await put(r, "tp-A");
  await r.ask("admin", 351, { topic: "tp-A" });
  await put(r, "tp-A", {
    readQueueNums: 8,
    writeQueueNums: 2,
    perm: 4,
    order: true,
    topicSysFlag: 1,
    topicFilterType: "MULTI_TAG",
  });
  await r.ask("admin", 351, { topic: "tp-A" });
  await put(r, "tp-A", { readQueueNums: 8, writeQueueNums: 2, perm: 4, order: true });
  await r.ask("admin", 351, { topic: "tp-none" });
  await r.ask("admin", 351);

  r.note("names");
  const legal = "tp-Az09_%|";
  for (const topic of [legal, "tp a", "tp.a", "", " ", "tp-ü", "%RETRY%tp-g", "%DLQ%tp-g", "t".repeat(127), "t".repeat(128)]) {
    await put(r, topic);
  }
  for (const topic of ["TBW102", "SELF_TEST_TOPIC", "rmq_sys_tp", "SCHEDULE_TOPIC_XXXX", "DefaultCluster", "broker-a"])
    await put(r, topic);
  await put(r, "%RETRY%" + "t".repeat(248));
  await put(r, "%RETRY%" + "t".repeat(249));
  await r.ask("admin", 17, { topic: "tp-A" });
  await put(r, "tp-N", { perm: "six" });
  await put(r, "tp-N", { topicFilterType: "NO_TAG" });
  for (const queues of [0, -1]) await put(r, "tp-N", { readQueueNums: queues, writeQueueNums: queues });
  await r.ask("admin", 351, { topic: "tp-N" });
  for (const perm of [0, 1, 7, 8, 15, -1]) {
    await put(r, "tp-P", { perm });
    await r.ask("admin", 351, { topic: "tp-P" });
  }

  r.note("attributes");
  await put(r, "tp-M", { attributes: "+message.type=FIFO" });
  await r.ask("admin", 351, { topic: "tp-M" });
  for (const attributes of [
    "+message.type=DELAY",
    "-message.type",
    "-message.type",
    "message.type=FIFO",
    "+message.type",
    "+nothing=1",
    "+message.type=NONE",
    "+queue.type=BatchCQ",
    "+message.type=FIFO,+message.type=DELAY",
    "+reserve.time=10",
    "+reserve.time=-2",
    "",
  ]) {
    await put(r, "tp-M", { attributes });
  }
  await r.ask("admin", 351, { topic: "tp-M" });
  await put(r, "tp-Q", { attributes: "-message.type" });
  await put(r, "tp-Q", { attributes: "+nothing=1" });
  await r.ask("admin", 351, { topic: "tp-Q" });

  r.note("several at once");
  const one = (topicName: string) => ({
    topicName,
    readQueueNums: 1,
    writeQueueNums: 1,
    perm: 6,
    topicFilterType: "SINGLE_TAG",
    topicSysFlag: 0,
    order: false,
    attributes: {},
  });
  await r.ask("admin", 18, {}, { body: { topicConfigList: [one("tp-L1"), one("tp-L2")] } });
  for (const topic of ["tp-L1", "tp-L2"]) await r.ask("admin", 351, { topic });
  await r.ask("admin", 18, {}, { body: { topicConfigList: [one("tp-L3"), one("tp L4")] } });
  await r.ask("admin", 351, { topic: "tp-L3" });
  await r.ask("admin", 18, {}, { body: { topicConfigList: [one("tp-L5"), one("TBW102")] } });
  await r.ask("admin", 351, { topic: "tp-L5" });
  await r.ask("admin", 18, {}, { body: { topicConfigList: [{ ...one("tp-L6"), attributes: { "+message.type": "FIFO" } }] } });
  await r.ask("admin", 351, { topic: "tp-L6" });
  await r.ask("admin", 18, {}, { body: { topicConfigList: [] } });
  await r.ask("admin", 18, {}, { body: "{" });

  r.note("delete");
  await r.ask("admin", 215, { topic: "tp-L1" });
  await r.ask("admin", 351, { topic: "tp-L1" });
  await r.ask("admin", 215, { topic: "tp-L1" });
  for (const topic of ["", " ", "TBW102", "SCHEDULE_TOPIC_XXXX", "DefaultCluster"]) await r.ask("admin", 215, { topic });
  await r.ask("admin", 215);

  r.note("lists");
  await r.ask("admin", 305);
  const only = (body: Buffer) =>
    Object.keys((JSON.parse(body.toString()) as { topicConfigTable: object }).topicConfigTable).filter(
      (name) => /^(tp-|[A-Z])/.test(name) && !/t{100}/.test(name),
    );
  await r.ask("admin", 21, {}, { show: only, hide: ["totalTopicNum"] });
  await r.ask("admin", 21, { topicSeq: 0, maxTopicNum: 2 }, { show: "nothing", hide: ["totalTopicNum"] });
  await r.ask("admin", 21, { topicSeq: 0 }, { show: only, hide: ["totalTopicNum"] });
}
