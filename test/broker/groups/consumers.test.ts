import test from "ava";
import { VirtualClock } from "../../../src/base/clock.ts";
import { Consumers } from "../../../src/broker/groups/consumers.ts";
import { Heartbeats } from "../../../src/broker/groups/heartbeat.ts";
import { Producers } from "../../../src/broker/groups/producers.ts";
import { RequestCode, ResponseCode } from "../../../src/format/remoting/remoting-codes.ts";
import { FLAG_ONEWAY, type RemotingCommand } from "../../../src/format/remoting/remoting-command.ts";
import { silentLog } from "../../../src/observe/log.ts";
import { ask, bodyOf, FakeGroups, FakeTopics, NO_FILTERS } from "../fake-lookups.ts";
import { FakeChannel } from "../fake-store.ts";

const { HEART_BEAT, UNREGISTER_CLIENT, NOTIFY_CONSUMER_IDS_CHANGED } = RequestCode;
const { GET_CONSUMER_LIST_BY_GROUP, GET_CONSUMER_CONNECTION_LIST } = RequestCode;

class Broker {
  readonly clock = new VirtualClock(1_000_000);
  readonly groups = new FakeGroups();
  readonly topics = new FakeTopics();
  readonly changed: string[] = [];
  isNotifying = true;
  readonly consumers = new Consumers({
    clock: this.clock,
    log: silentLog,
    groups: this.groups,
    topics: this.topics,
    filters: NO_FILTERS,
    isNotifying: () => this.isNotifying,
    onChanged: (group) => this.changed.push(group),
  });
  readonly producers = new Producers({ clock: this.clock, log: silentLog });
  readonly heartbeats = new Heartbeats({ clock: this.clock, consumers: this.consumers, producers: this.producers });

  beat(channel: FakeChannel, changes: Partial<Beat> = {}): Promise<RemotingCommand> {
    const { group, model, topics, clientId, version, fingerprint, withoutSub } = {
      ...BEAT,
      clientId: `c${channel.id}`,
      ...changes,
    };
    const subscriptionDataSet = topics.map((topic) => ({ topic, subString: "*", tagsSet: [], codeSet: [], subVersion: version }));
    const consumer = { groupName: group, consumeType: "CONSUME_PASSIVELY", messageModel: model, subscriptionDataSet };
    const body = {
      clientID: clientId,
      consumerDataSet: [consumer],
      producerDataSet: [],
      heartbeatFingerprint: fingerprint,
      withoutSub,
    };
    return ask(this.heartbeats.handlers(), HEART_BEAT, {}, JSON.stringify(body), channel);
  }
}

interface Beat {
  group: string;
  model: string;
  topics: string[];
  clientId: string;
  version: number;
  fingerprint: number;
  withoutSub: boolean;
}

const BEAT: Beat = {
  group: "g",
  model: "CLUSTERING",
  topics: ["T"],
  clientId: "",
  version: 1,
  fingerprint: 0,
  withoutSub: false,
};

/** The groups that the client was told of, and forgets them. */
function notes(channel: FakeChannel): string[] {
  return channel.written.splice(0).map(({ code, flag, extFields }) => {
    if (code !== NOTIFY_CONSUMER_IDS_CHANGED || flag !== FLAG_ONEWAY) throw new Error(`unexpected ${code}`);
    return extFields["consumerGroup"]!;
  });
}

test("a new member is told to all members, itself too, and gets the list in the order of arrival", async (t) => {
  const broker = new Broker();
  const [one, two] = [new FakeChannel(1), new FakeChannel(2)];
  const answer = await broker.beat(one);
  t.is(answer.code, ResponseCode.SUCCESS);
  t.deepEqual({ ...answer.extFields }, { IS_SUPPORT_HEART_BEAT_V2: "true", IS_SUB_CHANGE: "true" });
  t.deepEqual(notes(one), ["g"]);
  await broker.beat(two);
  t.deepEqual([notes(one), notes(two)], [["g"], ["g"]]);
  t.deepEqual(broker.changed, ["g", "g"]);
  t.is(broker.topics.get("%RETRY%g")?.readQueueNums, 1);
  const list = await ask(broker.consumers.handlers(), GET_CONSUMER_LIST_BY_GROUP, { consumerGroup: "g" });
  t.is(bodyOf(list), '{"consumerIdList":["c1","c2"]}');
});

test("a repeated heart-beat changes nothing, nobody hears of it", async (t) => {
  const broker = new Broker();
  const channel = new FakeChannel();
  await broker.beat(channel);
  notes(channel);
  await broker.beat(channel);
  t.deepEqual(notes(channel), []);
  t.deepEqual(broker.changed, ["g"]);
});

test("the newest set of topics is the group's; a larger subVersion alone changes what is filtered, not who consumes", async (t) => {
  const broker = new Broker();
  const channel = new FakeChannel();
  const topics = (): string[] => [...(broker.consumers.group("g")?.subscriptions.keys() ?? [])];
  await broker.beat(channel, { topics: ["A", "B"] });
  notes(channel);
  await broker.beat(channel, { topics: ["B", "C"] });
  t.deepEqual(topics(), ["B", "C"]);
  t.deepEqual(notes(channel), ["g"]);
  await broker.beat(channel, { topics: ["B", "C"], version: 2 });
  t.deepEqual(notes(channel), []);
  t.is(broker.changed.length, 3);
  t.is(broker.consumers.group("g")?.subscriptions.get("B")?.subVersion, 2);
  await broker.beat(channel, { topics: ["B", "C"], version: 1 });
  t.is(broker.consumers.group("g")?.subscriptions.get("B")?.subVersion, 2, "an older one does not undo it");
});

test("close, unregister and silence each take a member out and tell the others", async (t) => {
  const broker = new Broker();
  const channels = [1, 2, 3, 4].map((id) => new FakeChannel(id));
  for (const channel of channels) await broker.beat(channel);
  for (const channel of channels) notes(channel);
  const [one, two, three, four] = channels as [FakeChannel, FakeChannel, FakeChannel, FakeChannel];
  broker.heartbeats.channelClosed(one.id);
  t.deepEqual([notes(one), notes(two), notes(three), notes(four)], [[], ["g"], ["g"], ["g"]]);
  await ask(broker.heartbeats.handlers(), UNREGISTER_CLIENT, { clientID: "c2", consumerGroup: "g" }, "", two);
  t.deepEqual([notes(two), notes(three), notes(four)], [[], ["g"], ["g"]]);
  broker.clock.advance(60_000);
  await broker.beat(three);
  broker.clock.advance(60_000);
  t.false(four.isClosed, "120 s are not over");
  broker.clock.advance(10_000);
  t.true(four.isClosed);
  t.false(three.isClosed);
  t.deepEqual([notes(three), notes(four)], [["g"], []]);
  broker.heartbeats.channelClosed(three.id);
  t.is(broker.consumers.group("g"), undefined);
  const list = await ask(broker.consumers.handlers(), GET_CONSUMER_LIST_BY_GROUP, { consumerGroup: "g" });
  t.deepEqual([list.code, list.remark], [ResponseCode.SYSTEM_ERROR, "no consumer for this group, g"]);
});

test("nobody is notified: broadcasting, the group's flag, the broker's", async (t) => {
  const broker = new Broker();
  const channel = new FakeChannel();
  await broker.beat(channel, { group: "b", model: "BROADCASTING" });
  broker.groups.add("quiet", { notifyConsumerIdsChangedEnable: false });
  await broker.beat(channel, { group: "quiet" });
  broker.isNotifying = false;
  await broker.beat(channel);
  t.deepEqual(notes(channel), []);
  t.deepEqual(broker.changed, ["b", "quiet", "g"]);
});

test("a group that may not be made is passed over", async (t) => {
  const broker = new Broker();
  t.is((await broker.beat(new FakeChannel(), { group: "no-such" })).code, ResponseCode.SUCCESS);
  t.is(broker.consumers.group("no-such"), undefined);
  t.is(broker.topics.topics.size, 0);
});

test("second form of heart-beats: the full data is asked for when it changed, or when we never had it", async (t) => {
  const broker = new Broker();
  const channel = new FakeChannel();
  const isSubChange = async (changes: Partial<Beat>): Promise<string | undefined> =>
    (await broker.beat(channel, changes)).extFields["IS_SUB_CHANGE"];
  t.is(await isSubChange({ fingerprint: 5 }), "false");
  t.is(await isSubChange({ fingerprint: 5, withoutSub: true, topics: [] }), "false");
  t.deepEqual([...(broker.consumers.group("g")?.subscriptions.keys() ?? [])], ["T"]);
  t.is(await isSubChange({ fingerprint: 6, topics: ["U"] }), "true");
  t.is(await isSubChange({ fingerprint: 6, topics: ["U"] }), "false");
  broker.heartbeats.channelClosed(channel.id);
  t.is(await isSubChange({ fingerprint: 6, withoutSub: true, topics: [] }), "true", "as after a restart of the broker");
  t.is(await isSubChange({ fingerprint: 6, withoutSub: true, topics: [] }), "true");
  t.is(await isSubChange({ fingerprint: 6, topics: ["U"] }), "false");
  t.is(await isSubChange({ fingerprint: 6, withoutSub: true, topics: [] }), "false");
  t.deepEqual([...(broker.consumers.group("g")?.subscriptions.keys() ?? [])], ["U"]);
});

test("a client that reconnects is one client; its newer connection is used", async (t) => {
  const broker = new Broker();
  const [old, fresh] = [new FakeChannel(1), new FakeChannel(2)];
  await broker.beat(old, { clientId: "c" });
  broker.clock.advance(10);
  await broker.beat(fresh, { clientId: "c" });
  t.is(broker.consumers.client("g", "c")?.channel, fresh);
  t.is(broker.consumers.client("g", "d"), undefined);
  const list = await ask(broker.consumers.handlers(), GET_CONSUMER_LIST_BY_GROUP, { consumerGroup: "g" });
  t.is(bodyOf(list), '{"consumerIdList":["c"]}');
});

test("connections of a group in Java's shape; 206 when there are none", async (t) => {
  const broker = new Broker();
  await broker.beat(new FakeChannel(1, "10.0.0.1:7"), { version: 9 });
  const answer = await ask(broker.consumers.handlers(), GET_CONSUMER_CONNECTION_LIST, { consumerGroup: "g" });
  t.is(
    bodyOf(answer),
    '{"connectionSet":[{"clientAddr":"10.0.0.1:7","clientId":"c1","language":"JAVA","version":477}],' +
      '"consumeFromWhere":"CONSUME_FROM_LAST_OFFSET","consumeType":"CONSUME_PASSIVELY","messageModel":"CLUSTERING",' +
      '"subscriptionTable":{"T":{"classFilterMode":false,"codeSet":[],"expressionType":"TAG","subString":"*","subVersion":9,"tagsSet":[],"topic":"T"}}}',
  );
  const none = await ask(broker.consumers.handlers(), GET_CONSUMER_CONNECTION_LIST, { consumerGroup: "h" });
  t.is(none.code, ResponseCode.CONSUMER_NOT_ONLINE);
});
