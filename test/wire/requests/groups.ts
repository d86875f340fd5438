import type { Recorder } from "../recorder.ts";

const USUAL = {
  groupName: "gr-A", consumeEnable: true, consumeFromMinEnable: true, consumeBroadcastEnable: true, consumeMessageOrderly: false,
  retryQueueNums: 1, retryMaxTimes: 16, groupRetryPolicy: { type: "CUSTOMIZED" }, brokerId: 0, whichBrokerWhenConsumeSlowly: 1,
  notifyConsumerIdsChangedEnable: true, groupSysFlag: 0, consumeTimeoutMinute: 15, attributes: {},
}; // biome-ignore format: one thing.

/** Making, changing, forbidding and deleting consumer groups. */
export async function groups(r: Recorder): Promise<void> {
  r.note("make and change");
  await r.ask("admin", 200, {}, { body: USUAL });
  await r.ask("admin", 352, { group: "gr-A" });
  await r.ask("admin", 200, {}, { body: { ...USUAL, retryMaxTimes: 3, consumeEnable: false, retryQueueNums: 2, brokerId: 7 } });
  await r.ask("admin", 352, { group: "gr-A" });
  await r.ask("admin", 200, {}, { body: { groupName: "gr-short" } });
  await r.ask("admin", 352, { group: "gr-short" });
  const exponential = { type: "EXPONENTIAL", exponentialRetryPolicy: { initial: 5000, max: 7_200_000, multiplier: 2 } };
  await r.ask("admin", 200, {}, { body: { ...USUAL, groupName: "gr-E", groupRetryPolicy: exponential } });
  await r.ask("admin", 352, { group: "gr-E" });
  await r.ask("admin", 352, { group: "gr-auto" });
  await r.ask("admin", 352, { group: "gr auto" });
  await r.ask("admin", 352);

  r.note("names");
  for (const groupName of ["gr a", "gr.a", "", "g".repeat(120), "g".repeat(121), "g".repeat(255), "g".repeat(256), "%RETRY%gr"]) {
    await r.ask("admin", 200, {}, { body: { ...USUAL, groupName } });
  }
  await r.ask("admin", 200, {}, { body: "{" });
  await r.ask("admin", 200);

  r.note("attributes");
  for (const attributes of [
    { "+priority.factor": "50" },
    { "+priority.factor": "101" },
    { "-priority.factor": "" },
    { "+none": "1" },
  ]) {
    await r.ask("admin", 200, {}, { body: { ...USUAL, groupName: "gr-attr", attributes } });
    await r.ask("admin", 352, { group: "gr-attr" });
  }

  r.note("several at once");
  await r.ask(
    "admin",
    225,
    {},
    {
      body: {
        groupConfigList: [
          { ...USUAL, groupName: "gr-L1" },
          { ...USUAL, groupName: "gr-L2" },
        ],
      },
    },
  );
  await r.ask("admin", 352, { group: "gr-L2" });
  await r.ask(
    "admin",
    225,
    {},
    {
      body: {
        groupConfigList: [
          { ...USUAL, groupName: "gr-L3" },
          { ...USUAL, groupName: "gr L4" },
        ],
      },
    },
  );
  await r.ask("admin", 225, {}, { body: { groupConfigList: [] } });

  r.note("forbidden topics");
  const topic = "gr-T";
  await r.ask("admin", 17, {
    topic,
    defaultTopic: "TBW102",
    readQueueNums: 1,
    writeQueueNums: 1,
    perm: 6,
    topicFilterType: "SINGLE_TAG",
    order: false,
  });
  await r.ask("admin", 353, { group: "gr-L1", topic });
  await r.ask("admin", 353, { group: "gr-L1", topic, readable: false });
  await r.ask("admin", 353, { group: "gr-L1", topic });
  const pull = {
    topic,
    queueId: 0,
    queueOffset: 0,
    maxMsgNums: 1,
    sysFlag: 4,
    commitOffset: 0,
    suspendTimeoutMillis: 0,
    subscription: "*",
    subVersion: 0,
  };
  await r.ask("c", 11, { ...pull, consumerGroup: "gr-L1" });
  await r.ask("c", 11, { ...pull, consumerGroup: "gr-A" });
  await r.ask("admin", 353, { group: "gr-L1", topic, readable: true });
  await r.ask("admin", 353, { group: "gr-L1", topic });
  await r.ask("c", 11, { ...pull, consumerGroup: "gr-L1" });
  await r.ask("admin", 353, { group: "gr-new", topic, readable: false });
  await r.ask("admin", 353, { group: "gr-L1", topic: "gr-none", readable: false });
  await r.ask("admin", 353, { group: "gr-L1" });

  r.note("delete");
  await r.ask("admin", 207, { groupName: "gr-L1" });
  await r.ask("admin", 207, { groupName: "gr-L1" });
  await r.ask("admin", 207, { groupName: "gr-L2", cleanOffset: true });
  await r.ask("admin", 207);
  await r.ask(
    "admin",
    201,
    {},
    {
      show: (body) =>
        Object.keys((JSON.parse(body.toString()) as { subscriptionGroupTable: object }).subscriptionGroupTable).filter((name) =>
          name.startsWith("gr"),
        ),
      hide: ["totalGroupNum"],
    },
  );
  await r.ask("admin", 201, { groupSeq: 0, maxGroupNum: 1 }, { show: "nothing", hide: ["totalGroupNum"] });
}
