import test from "ava";
import { decodeHeartbeat } from "../../../src/format/remoting/heartbeat.ts";

test("a heart-beat as Java's client writes it", (t) => {
  const body =
    '{"clientID":"10.0.0.1@1","consumerDataSet":[{"consumeFromWhere":"CONSUME_FROM_FIRST_OFFSET","consumeType":"CONSUME_PASSIVELY",' +
    '"groupName":"g","messageModel":"BROADCASTING","subscriptionDataSet":[{"classFilterMode":false,"codeSet":[65,66],' +
    '"expressionType":"TAG","subString":"A||B","subVersion":1700000000000,"tagsSet":["A","B"],"topic":"T"}],"unitMode":false}],' +
    '"heartbeatFingerprint":-7,"producerDataSet":[{"groupName":"p"}],"withoutSub":true}';
  t.deepEqual(decodeHeartbeat(Buffer.from(body)), {
    clientId: "10.0.0.1@1",
    producerGroups: ["p"],
    consumers: [
      {
        group: "g",
        consumeType: "CONSUME_PASSIVELY",
        messageModel: "BROADCASTING",
        consumeFromWhere: "CONSUME_FROM_FIRST_OFFSET",
        subscriptions: [
          {
            topic: "T",
            subString: "A||B",
            tagsSet: ["A", "B"],
            codeSet: [65, 66],
            subVersion: 1_700_000_000_000,
            expressionType: "TAG",
            classFilterMode: false,
          },
        ],
        unitMode: false,
      },
    ],
    fingerprint: -7,
    withoutSub: true,
  });
});

test("numbers for enums, text for hash codes, and codes that are left out", (t) => {
  const subscription = (codeSet: unknown): object => ({ topic: "T", subString: "AB", tagsSet: ["AB"], codeSet, subVersion: "5" });
  const consumer = {
    groupName: "g",
    consumeType: 0,
    messageModel: 1,
    consumeFromWhere: 5,
    subscriptionDataSet: [subscription(["2081"]), subscription(undefined)],
  };
  const { consumers } = decodeHeartbeat(Buffer.from(JSON.stringify({ clientID: "c", consumerDataSet: [consumer] })));
  const { consumeType, messageModel, consumeFromWhere, subscriptions } = consumers[0]!;
  t.deepEqual([consumeType, messageModel, consumeFromWhere], ["CONSUME_ACTIVELY", "CLUSTERING", "CONSUME_FROM_TIMESTAMP"]);
  t.deepEqual(
    subscriptions.map(({ codeSet }) => codeSet),
    [[2081], [2081]],
  );
  t.is(subscriptions[0]!.subVersion, 5);
});

test("what is no heart-beat is refused by name", (t) => {
  const bodies = [
    ["{}", /clientID/],
    ['{"clientID":"c","producerDataSet":[{}]}', /groupName/],
    ['{"clientID":"c","consumerDataSet":[{"groupName":"g","messageModel":"SOLO"}]}', /messageModel SOLO/],
    ['{"clientID":"c","consumerDataSet":[{"groupName":"g","subscriptionDataSet":[{}]}]}', /topic/],
    ["[", /JSON/],
  ] as const;
  for (const [body, message] of bodies)
    t.throws(() => decodeHeartbeat(Buffer.from(body)), { code: "MILLRACE_PROTOCOL", message });
});
