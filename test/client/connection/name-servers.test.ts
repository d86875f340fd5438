import test from "ava";
import { VirtualClock } from "../../../src/base/clock.ts";
import { MillraceError } from "../../../src/base/errors.ts";
import { NameServers } from "../../../src/client/connection/name-servers.ts";
import { RemotingClient } from "../../../src/client/connection/remoting-client.ts";
import { parseTopicRoute, readableQueues, type TopicRoute, writableQueues } from "../../../src/client/connection/routes.ts";
import { response } from "../../../src/format/remoting/remoting-command.ts";
import { until } from "../../until.ts";
import { FakeCluster } from "../fake-cluster.ts";
import { FakeServer } from "../fake-server.ts";

test("a route is asked for once, then again every 30 s, and changes are told", async (t) => {
  const cluster = await FakeCluster.start(["a", "b"], { T: { queueCount: 2, brokers: ["a"] } });
  const clock = new VirtualClock(0);
  const client = new RemotingClient({ clock });
  const names = new NameServers(client, clock, [cluster.namesrvAddr]);
  const changes: TopicRoute[] = [];
  names.onChange((route) => changes.push(route));
  names.start();
  const [first, second] = await Promise.all([names.route("T"), names.route("T")]);
  t.is(first, second);
  await names.route("T");
  t.is(cluster.nameServer.received.length, 1);
  t.is(names.brokerAddress("a"), cluster.broker("a").address);
  t.is(names.brokerAddress("a", 1), undefined);
  t.is(names.readAddress("a", 1), cluster.broker("a").address);
  cluster.topics.set("T", { queueCount: 2, brokers: ["a", "b"] });
  clock.advance(30_000);
  await until(() => changes.length === 2);
  t.deepEqual(
    changes[1]!.queues.map(({ brokerName }) => brokerName),
    ["a", "b"],
  );
  clock.advance(30_000);
  await until(() => cluster.nameServer.received.length === 3);
  t.is(changes.length, 2);
  // A name server that forgot the topic (it was started again) does not take the route away.
  cluster.topics.delete("T");
  t.is((await names.refresh("T"))?.queues.length, 2);
  names.forget("T");
  t.is(await names.refresh("T"), undefined);
  names.stop();
  await client.close();
  await cluster.stop();
});

test("a name server that fails is passed over, and the one that answered is kept to", async (t) => {
  const cluster = await FakeCluster.start(["a"], { T: { queueCount: 1, brokers: ["a"] } });
  const dead = await FakeServer.start();
  const silent = await FakeServer.start();
  await dead.stop();
  const clock = new VirtualClock(0);
  const client = new RemotingClient({ clock });
  const names = new NameServers(client, clock, [dead.address, silent.address, cluster.namesrvAddr]);
  const looked = names.route("T");
  await until(() => silent.received.length === 1);
  clock.advance(3_100);
  t.is((await looked)?.topic, "T");
  await names.refresh("T");
  t.is(silent.received.length, 1);
  t.is(cluster.nameServer.received.length, 2);
  await cluster.stop();
  await silent.stop();
  clock.advance(10_000);
  const failure = await t.throwsAsync(names.refresh("U"), { instanceOf: MillraceError });
  t.is(failure.code, "MILLRACE_CONNECTION");
  await client.close();
});

test("answers other than a route are errors", async (t) => {
  const server = await FakeServer.start();
  const clock = new VirtualClock(0);
  const client = new RemotingClient({ clock });
  const names = new NameServers(client, clock, [server.address]);
  server.on(105, (command) => response(command, 1, "name server not ready"));
  const notReady = await t.throwsAsync(names.route("T"), { instanceOf: MillraceError });
  t.is(notReady.details["responseCode"], 1);
  for (const body of [
    "",
    "[]]",
    '{"queueDatas":[{"brokerName":"a","perm":6,"readQueueNums":-1,"writeQueueNums":1}]}',
    '{"queueDatas":5}',
  ]) {
    server.on(105, (command) => response(command, 0, undefined, {}, Buffer.from(body)));
    const malformed = await t.throwsAsync(names.route("T"), { instanceOf: MillraceError });
    t.is(malformed.code, "MILLRACE_PROTOCOL");
  }
  await client.close();
  await server.stop();
});

test("routes: both spellings of broker ids, permissions, masters, order", (t) => {
  const route = parseTopicRoute(
    "T",
    Buffer.from(
      '{"brokerDatas":[{"brokerAddrs":{1:"1.1.1.2:2",0:"1.1.1.1:1"},"brokerName":"b","cluster":"c"},' +
        '{"brokerAddrs":{"1":"1.1.1.3:1"},"brokerName":"a","cluster":"c"}],"filterServerTable":{},' +
        '"queueDatas":[{"brokerName":"b","perm":2,"readQueueNums":1,"topicSysFlag":0,"writeQueueNums":2},' +
        '{"brokerName":"a","perm":6,"readQueueNums":3,"topicSysFlag":0,"writeQueueNums":3}]}',
    ),
  );
  t.deepEqual(
    route.brokers.map(({ brokerName, addresses }) => [brokerName, addresses.get(0), addresses.get(1)]),
    [
      ["a", undefined, "1.1.1.3:1"],
      ["b", "1.1.1.1:1", "1.1.1.2:2"],
    ],
  );
  // No master of a can take messages; b may not be read.
  t.deepEqual(
    writableQueues(route).map(({ brokerName, queueId }) => `${brokerName}${queueId}`),
    ["b0", "b1"],
  );
  t.deepEqual(
    readableQueues(route).map(({ brokerName, queueId }) => `${brokerName}${queueId}`),
    ["a0", "a1", "a2"],
  );
});
