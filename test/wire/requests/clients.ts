import type { Recorder } from "../recorder.ts";

interface Subscribed {
  topic: string;
  subString?: string;
  subVersion?: number;
  expressionType?: string;
  tagsSet?: string[];
  codeSet?: number[];
}

/** One entry of a heart-beat. */
export function subscription({
  topic,
  subString = "*",
  subVersion = 1,
  expressionType = "TAG",
  tagsSet = [],
  codeSet = [],
}: Subscribed): object {
  return { classFilterMode: false, codeSet, expressionType, subString, subVersion, tagsSet, topic };
}

export function consumer(groupName: string, subscriptionDataSet: readonly object[], more: object = {}): object {
  return {
    groupName,
    consumeType: "CONSUME_PASSIVELY",
    messageModel: "CLUSTERING",
    consumeFromWhere: "CONSUME_FROM_LAST_OFFSET",
    subscriptionDataSet,
    unitMode: false,
    ...more,
  };
}

/** Sends a heart-beat of client `who` over its own connection. */
export function beat(
  r: Recorder,
  who: string,
  consumers: readonly object[],
  producers: readonly string[] = [],
  more: object = {},
): Promise<unknown> {
  const producerDataSet = producers.map((groupName) => ({ groupName }));
  const body = {
    clientID: `127.0.0.2@${who}`,
    consumerDataSet: consumers,
    producerDataSet,
    heartbeatFingerprint: 0,
    withoutSub: false,
    ...more,
  };
  return r.ask(who, 34, {}, { body });
}

const RETRY = (group: string) => subscription({ topic: `%RETRY%${group}` });

/** Heart-beats, who is there, notifications, farewells. */
export async function clients(r: Recorder): Promise<void> {
  r.note("nobody");
  for (const consumerGroup of ["cl-g", "cl-none"]) {
    await r.ask("admin", 38, { consumerGroup });
    await r.ask("admin", 203, { consumerGroup });
  }
  await r.ask("admin", 204, { producerGroup: "cl-p" });
  await r.ask("admin", 38);
  await r.ask("admin", 38, { consumerGroup: "" });

  r.note("consumers come");
  const both = [subscription({ topic: "cl-T", subString: "A || B", tagsSet: ["A", "B"], codeSet: [65, 66] }), RETRY("cl-g")];
  await beat(r, "c1", [consumer("cl-g", both)]);
  await r.settle();
  await r.ask("admin", 38, { consumerGroup: "cl-g" });
  await r.ask("admin", 351, { topic: "%RETRY%cl-g" });
  await beat(r, "c2", [consumer("cl-g", both)]);
  await r.settle();
  await r.ask("c1", 38, { consumerGroup: "cl-g" });
  await r.ask("admin", 203, { consumerGroup: "cl-g" });
  await beat(r, "c2", [consumer("cl-g", both)]);
  await r.settle();

  r.note("subscriptions change");
  const newer = [subscription({ topic: "cl-T", subString: "C", subVersion: 2, tagsSet: ["C"], codeSet: [67] }), RETRY("cl-g")];
  await beat(r, "c2", [consumer("cl-g", newer)]);
  await r.settle();
  await r.ask("admin", 203, { consumerGroup: "cl-g" });
  await beat(r, "c2", [consumer("cl-g", [...newer, subscription({ topic: "cl-U" })])]);
  await r.settle();
  await beat(r, "c1", [consumer("cl-g", both)]);
  await r.settle();
  await r.ask("admin", 203, { consumerGroup: "cl-g" });
  await r.ask("admin", 345, { group: "cl-g", topic: "cl-T" });
  await r.ask("admin", 345, { group: "cl-g", topic: "cl-U" });
  await r.ask("admin", 345, { group: "cl-none", topic: "cl-T" });
  await r.ask("admin", 345, { group: "cl-g" });
  await r.ask("admin", 300, { topic: "cl-T" });
  await r.ask("admin", 300, { topic: "cl-none" });

  r.note("heart-beats of version 2");
  const v2 = { heartbeatFingerprint: 77 };
  await beat(r, "c3", [consumer("cl-v2", both)], [], v2);
  await beat(r, "c3", [consumer("cl-v2", [])], [], { ...v2, withoutSub: true });
  await r.ask("admin", 203, { consumerGroup: "cl-v2" });
  await beat(r, "c3", [consumer("cl-v2", [])], [], { heartbeatFingerprint: 78, withoutSub: true });
  await beat(r, "c3", [consumer("cl-v2", [])], [], { heartbeatFingerprint: 78, withoutSub: true });
  await beat(r, "c3", [consumer("cl-v2", both)], [], { heartbeatFingerprint: 78 });
  await beat(r, "c3", [consumer("cl-v2", [])], [], { heartbeatFingerprint: 78, withoutSub: true });
  await beat(r, "c4", [consumer("cl-v2", [])], [], { heartbeatFingerprint: 78, withoutSub: true });
  await beat(r, "c4", [consumer("cl-v2", both)], [], { heartbeatFingerprint: 79 });
  await beat(r, "c3", [consumer("cl-v2", [])], [], { heartbeatFingerprint: 78, withoutSub: true });
  await r.ask("admin", 203, { consumerGroup: "cl-v2" });
  await r.settle();
  await r.ask("admin", 38, { consumerGroup: "cl-v2" });

  r.note("other kinds of groups");
  await beat(r, "b1", [
    consumer("cl-b", [subscription({ topic: "cl-T" })], { messageModel: "BROADCASTING", consumeType: "CONSUME_ACTIVELY" }),
  ]);
  await beat(r, "b2", [
    consumer("cl-b", [subscription({ topic: "cl-T" })], { messageModel: "BROADCASTING", consumeType: "CONSUME_ACTIVELY" }),
  ]);
  await r.settle();
  await r.ask("admin", 203, { consumerGroup: "cl-b" });
  await beat(r, "x1", [consumer("cl bad", [subscription({ topic: "cl-T" })])]);
  await r.ask("admin", 38, { consumerGroup: "cl bad" });
  await beat(r, "x1", []);
  await r.ask("x1", 34, {}, { body: "{" });
  await r.ask("x1", 34);

  r.note("producers");
  await beat(r, "p1", [], ["cl-p"]);
  await beat(r, "p2", [], ["cl-p", "cl-q"]);
  await r.ask("admin", 204, { producerGroup: "cl-p" });
  await r.ask("admin", 204, { producerGroup: "cl-none" });
  await r.ask("admin", 204);
  const own = (body: Buffer) =>
    Object.entries((JSON.parse(body.toString()) as { data: Record<string, unknown> }).data).filter(([name]) =>
      name.startsWith("cl-"),
    );
  await r.ask("admin", 328, {}, { show: own });

  r.note("farewells");
  await r.ask("p2", 35, { clientID: "127.0.0.2@p2", producerGroup: "cl-p" });
  await r.ask("admin", 204, { producerGroup: "cl-p" });
  await r.ask("c2", 35, { clientID: "127.0.0.2@c2", consumerGroup: "cl-g" });
  await r.settle();
  await r.ask("admin", 38, { consumerGroup: "cl-g" });
  await r.ask("c2", 35, { clientID: "127.0.0.2@c2", consumerGroup: "cl-none" });
  await r.ask("c2", 35);
  await beat(r, "c2", [consumer("cl-g", both)]);
  await r.settle();
  await r.hangUp("c2");
  await r.settle();
  await r.ask("admin", 38, { consumerGroup: "cl-g" });
  await r.hangUp("p1");
  await r.hangUp("p2");
  await r.ask("admin", 204, { producerGroup: "cl-p" });
  await r.hangUp("c1");
  await r.settle();
  await r.ask("admin", 38, { consumerGroup: "cl-g" });
  await r.ask("admin", 203, { consumerGroup: "cl-g" });

  r.note("46: will the broker take the filter");
  const check = (subscriptionData: object | undefined) => ({ clientId: "x", group: "cl-g", subscriptionData });
  await r.ask("x1", 46, {}, { body: check(subscription({ topic: "cl-T" })) });
  await r.ask("x1", 46, {}, { body: check(subscription({ topic: "cl-T", expressionType: "SQL92", subString: "a > 1" })) });
  await r.ask("x1", 46, {}, { body: check(subscription({ topic: "cl-T", expressionType: "SQL92", subString: "a >" })) });
  await r.ask("x1", 46, {}, { body: check(undefined) });
  await r.ask("x1", 46);
}
