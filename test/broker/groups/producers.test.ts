import test from "ava";
import { VirtualClock } from "../../../src/base/clock.ts";
import { Producers } from "../../../src/broker/groups/producers.ts";
import { RequestCode, ResponseCode } from "../../../src/format/remoting/remoting-codes.ts";
import { silentLog } from "../../../src/observe/log.ts";
import { ask, bodyOf } from "../fake-lookups.ts";
import { FakeChannel } from "../fake-store.ts";

const { GET_PRODUCER_CONNECTION_LIST, GET_ALL_PRODUCER_INFO } = RequestCode;

function makeProducers(): {
  producers: Producers;
  clock: VirtualClock;
  beat: (group: string, channel: FakeChannel, clientId?: string) => void;
} {
  const clock = new VirtualClock(1_000_000);
  const producers = new Producers({ clock, log: silentLog });
  const beat = (group: string, channel: FakeChannel, clientId = `c${channel.id}`): void =>
    producers.heartbeat(group, { clientId, channel, language: "GO", version: 3, lastUpdateMs: clock.now() });
  return { producers, clock, beat };
}

test("each connection of the group in turn", (t) => {
  const { producers, beat } = makeProducers();
  const channels = [1, 2, 3].map((id) => new FakeChannel(id));
  for (const channel of channels) beat("p", channel);
  const turns = [1, 2, 3, 4, 5, 6].map(() => producers.anyChannel("p")?.id);
  for (const channel of channels) t.true(turns.slice(0, 3).includes(channel.id));
  t.deepEqual(turns.slice(3), turns.slice(0, 3));
  t.is(producers.anyChannel("q"), undefined);
});

test("a client is found by its id on its newest connection until it is gone from all groups", (t) => {
  const { producers, beat } = makeProducers();
  const [old, fresh] = [new FakeChannel(1), new FakeChannel(2)];
  beat("p", old, "c");
  beat("p", fresh, "c");
  beat("q", fresh, "c");
  t.is(producers.channelOf("c"), fresh);
  producers.channelClosed(old.id);
  producers.unregister("p", fresh.id);
  t.is(producers.channelOf("c"), fresh);
  producers.unregister("q", fresh.id);
  t.is(producers.channelOf("c"), undefined);
  t.is(producers.anyChannel("p"), undefined);
});

test("an older connection that still beats takes over when the newer one goes", (t) => {
  const { producers, beat } = makeProducers();
  const [old, fresh] = [new FakeChannel(1), new FakeChannel(2)];
  beat("p", old, "c");
  beat("p", fresh, "c");
  producers.channelClosed(fresh.id);
  beat("p", old, "c");
  t.is(producers.channelOf("c"), old);
});

test("after 120 s of silence the connection is closed", (t) => {
  const { producers, clock, beat } = makeProducers();
  const [silent, alive] = [new FakeChannel(1), new FakeChannel(2)];
  beat("p", silent);
  beat("p", alive);
  clock.advance(115_000);
  beat("p", alive);
  t.false(silent.isClosed);
  clock.advance(15_000);
  t.true(silent.isClosed);
  t.false(alive.isClosed);
  t.is(producers.channelOf("c1"), undefined);
});

test("answers in Java's shape", async (t) => {
  const { producers, beat } = makeProducers();
  beat("p", new FakeChannel(1, "10.0.0.1:7"));
  const connections = await ask(producers.handlers(), GET_PRODUCER_CONNECTION_LIST, { producerGroup: "p" });
  t.is(bodyOf(connections), '{"connectionSet":[{"clientAddr":"10.0.0.1:7","clientId":"c1","language":"GO","version":3}]}');
  const all = await ask(producers.handlers(), GET_ALL_PRODUCER_INFO);
  t.is(
    bodyOf(all),
    '{"data":{"p":[{"clientId":"c1","language":"GO","lastUpdateTimestamp":1000000,"remoteIP":"/10.0.0.1:7","version":3}]}}',
  );
  const none = await ask(producers.handlers(), GET_PRODUCER_CONNECTION_LIST, { producerGroup: "q" });
  t.is(none.code, ResponseCode.SYSTEM_ERROR);
});
