import test from "ava";
import fc from "fast-check";
import { VirtualClock } from "../../src/base/clock.ts";
import type { Channel } from "../../src/broker/channel.ts";
import type { RegistrationBody } from "../../src/format/remoting/broker-registration.ts";
import type { TopicConfig } from "../../src/format/topic-config.ts";
import {
  type MinBrokerIdChange,
  REGISTRATION_REFUSED,
  type Registrant,
  type RouteSettings,
  RouteTable,
} from "../../src/namesrv/routes.ts";
import { silentLog } from "../../src/observe/log.ts";

const MASTER: Registrant = {
  clusterName: "c",
  brokerName: "b",
  brokerId: 0,
  brokerAddress: "1.1.1.1:10911",
  haServerAddress: "1.1.1.1:10912",
};
const SLAVE: Registrant = { ...MASTER, brokerId: 1, brokerAddress: "1.1.1.2:10911", haServerAddress: "1.1.1.2:10912" };

function topic(topicName: string, change: Partial<TopicConfig> = {}): TopicConfig {
  return {
    topicName,
    readQueueNums: 4,
    writeQueueNums: 4,
    perm: 6,
    topicFilterType: "SINGLE_TAG",
    topicSysFlag: 0,
    order: false,
    attributes: {},
    ...change,
  };
}

function body(topics: TopicConfig[], timestamp = 1, stateVersion = 0): RegistrationBody {
  return { dataVersion: { counter: 0, stateVersion, timestamp }, topics, queueMappings: new Map(), filterServers: [] };
}

const TWO = body([topic("T"), topic("U")]);

function rig(change: Partial<RouteSettings> = {}) {
  const clock = new VirtualClock(1_000_000);
  const changes: MinBrokerIdChange[] = [];
  const settings = {
    supportActingMaster: false,
    deleteTopicWithBrokerRegistration: false,
    notifyMinBrokerIdChanged: false,
    ...change,
  };
  const routes = new RouteTable({ clock, log: silentLog, settings, onMinBrokerIdChange: (event) => changes.push(event) });
  return { clock, routes, changes };
}

function channel(): Channel & { isClosed: boolean } {
  return {
    id: 1,
    remoteAddress: "1.1.1.1:5",
    isClosed: false,
    write() {},
    invoke: () => Promise.reject(new Error("not used")),
    nextOpaque: () => 0,
    close() {
      this.isClosed = true;
    },
  };
}

test("an unknown broker with a single topic is refused and leaves no trace", (t) => {
  const { routes } = rig();
  t.is(routes.register(MASTER, body([topic("T")])), REGISTRATION_REFUSED);
  t.is(routes.groups.size, 0);
  t.is(routes.clusters.size, 0);
  t.deepEqual(routes.register(MASTER, body([])), {});
  t.deepEqual(routes.register(MASTER, body([topic("T")])), {}, "known now, if with no topic");
  t.deepEqual(routes.topics.names(), ["T"]);
});

test("topics are taken again only with a new version, or where the broker is missing", (t) => {
  const { routes } = rig();
  routes.register(MASTER, TWO);
  routes.register(MASTER, body([topic("T", { readQueueNums: 9 }), topic("V")]));
  t.is(routes.route("T")?.queues[0]?.readQueueNums, 4, "same version: as it was");
  t.truthy(routes.route("V"), "same version: but this one was missing");
  routes.register(MASTER, body([topic("T", { readQueueNums: 9 })], 2));
  t.is(routes.route("T")?.queues[0]?.readQueueNums, 9);
  t.truthy(routes.route("U"), "a registration only adds");
});

test("deleteTopicWithBrokerRegistration: a registration also removes", (t) => {
  const { routes } = rig({ deleteTopicWithBrokerRegistration: true });
  routes.register(MASTER, TWO);
  routes.register({ ...MASTER, brokerName: "other", brokerAddress: "1.1.1.3:1" }, TWO);
  routes.register(MASTER, body([topic("T"), topic("V")], 2));
  t.deepEqual(routes.topics.namesOfBroker("b"), ["T", "V"]);
  t.deepEqual(routes.topics.namesOfBroker("other"), ["T", "U"]);
});

test("a broker is forgotten just after its time, no sooner; heartbeats extend it", (t) => {
  const { routes, clock } = rig();
  const connection = channel();
  routes.register(MASTER, TWO, connection);
  routes.register({ ...MASTER, brokerName: "own", brokerAddress: "1.1.1.3:1", heartbeatTimeoutMs: 10_000 }, TWO);
  clock.advance(10_000);
  routes.expire();
  t.is(routes.route("T")?.brokers.length, 2);
  clock.advance(1);
  routes.expire();
  t.is(routes.route("T")?.brokers.length, 1);
  routes.heartbeat("c", MASTER.brokerAddress);
  clock.advance(120_000);
  routes.expire();
  t.truthy(routes.route("T"));
  t.false(connection.isClosed);
  clock.advance(1);
  routes.expire();
  t.is(routes.route("T"), undefined);
  t.true(connection.isClosed);
  t.is(routes.clusters.size + routes.groups.size, 0);
  t.is(routes.dataVersionOf("c", MASTER.brokerAddress), undefined);
});

test("a closed connection takes its brokers with it, but not one that came back over another", (t) => {
  const { routes } = rig();
  const [old, shared, fresh] = [channel(), channel(), channel()];
  routes.register(MASTER, TWO, old);
  routes.register({ ...MASTER, brokerName: "x", brokerAddress: "1.1.1.3:1" }, TWO, shared);
  routes.register({ ...MASTER, brokerName: "y", brokerAddress: "1.1.1.4:1" }, TWO, shared);
  routes.register(MASTER, TWO, fresh);
  routes.channelClosed(old);
  t.deepEqual([...routes.groups.keys()], ["b", "x", "y"]);
  routes.channelClosed(shared);
  t.deepEqual([...routes.groups.keys()], ["b"]);
});

test("a slave learns where its master is, once there is one", (t) => {
  const { routes } = rig();
  t.deepEqual(routes.register(SLAVE, TWO), {});
  t.is(routes.route("T"), undefined, "topics come from the master");
  t.deepEqual(routes.register(MASTER, TWO), {});
  t.deepEqual(routes.register(SLAVE, TWO), { masterAddress: MASTER.brokerAddress, haServerAddress: MASTER.haServerAddress });
  t.deepEqual(
    [...routes.route("T")!.brokers[0]!.addresses],
    [
      [0, MASTER.brokerAddress],
      [1, SLAVE.brokerAddress],
    ],
  );
});

test("one address stands under one id; an older state does not displace a newer one", (t) => {
  const { routes } = rig();
  routes.register(MASTER, body([topic("T"), topic("U")], 1, 5));
  routes.register(SLAVE, TWO);
  routes.register({ ...SLAVE, brokerId: 0 }, body([topic("T"), topic("V")], 2, 4));
  t.deepEqual([...routes.groups.get("b")!.addresses], [[0, MASTER.brokerAddress]]);
  t.is(routes.route("V"), undefined);
  t.is(routes.dataVersionOf("c", SLAVE.brokerAddress), undefined);
  routes.register({ ...SLAVE, brokerId: 0 }, body([topic("T"), topic("V")], 2, 6));
  t.deepEqual([...routes.groups.get("b")!.addresses], [[0, SLAVE.brokerAddress]]);
});

test("the acting master is shown as a read-only master, where that is switched on", (t) => {
  const acting = { enableActingMaster: true };
  const { routes } = rig({ supportActingMaster: true });
  const data = body([topic("T"), topic("rmq_sys_SYNC_BROKER_MEMBER_b")]);
  routes.register({ ...MASTER, ...acting }, data);
  routes.register({ ...SLAVE, ...acting }, data);
  t.is(routes.route("T")!.queues[0]!.perm, 6);
  routes.unregister([MASTER]);
  const route = routes.route("T")!;
  t.deepEqual([...route.brokers[0]!.addresses], [[0, SLAVE.brokerAddress]]);
  t.is(route.queues[0]!.perm, 4);
  t.deepEqual([...routes.route("rmq_sys_SYNC_BROKER_MEMBER_b")!.brokers[0]!.addresses.keys()], [1], "members see the truth");
  t.deepEqual([...routes.groups.get("b")!.addresses.keys()], [1], "what is shown is a copy");
  routes.register({ ...MASTER, ...acting }, { ...data, dataVersion: { ...data.dataVersion, timestamp: 2 } });
  t.is(routes.route("T")!.queues[0]!.perm, 6);
});

test("members hear of a new smallest id: all when one left, the others when one came", (t) => {
  const { routes, changes } = rig({ notifyMinBrokerIdChanged: true });
  const second = { ...SLAVE, brokerId: 2, brokerAddress: "1.1.1.3:10911" };
  for (const who of [second, SLAVE, MASTER]) routes.register(who, TWO);
  const [slaveCame, masterCame] = changes;
  t.deepEqual(slaveCame, {
    brokerName: "b",
    minBrokerId: 1,
    minBrokerAddress: SLAVE.brokerAddress,
    offlineBrokerAddress: undefined,
    haServerAddress: SLAVE.haServerAddress,
    notify: [second.brokerAddress],
  });
  t.is(masterCame!.minBrokerId, 0);
  routes.unregister([second]);
  t.is(changes.length, 2, "not the smallest");
  routes.unregister([MASTER]);
  t.deepEqual(changes[2]!.notify, [SLAVE.brokerAddress]);
  t.is(changes[2]!.offlineBrokerAddress, MASTER.brokerAddress);
  routes.unregister([SLAVE]);
  t.is(changes.length, 3, "nobody left to tell");
});

test("lists by cluster, system topics, unit flags", (t) => {
  const { routes } = rig();
  routes.register(
    MASTER,
    body([topic("A", { topicSysFlag: 1 }), topic("B", { topicSysFlag: 2 }), topic("C", { topicSysFlag: 3 })]),
  );
  routes.register({ ...MASTER, clusterName: "d", brokerName: "e", brokerAddress: "2:1" }, body([topic("A"), topic("D")]));
  t.deepEqual(routes.topicsOfCluster("d"), ["A", "D"]);
  t.deepEqual(routes.topicsOfCluster("none"), []);
  t.deepEqual(routes.systemTopics(), { topics: ["c", "b", "d", "e"], brokerAddress: MASTER.brokerAddress });
  t.deepEqual(routes.topics.unitTopics(), ["A", "C"]);
  t.deepEqual(routes.topics.unitSubTopics(), ["B", "C"]);
  t.deepEqual(routes.topics.unitSubNotUnitTopics(), ["B"]);
});

// Goal: whatever comes, the tables agree with each other and nothing is left of a broker that is gone.
// Method: random operations of few brokers; after each, the invariants; after all, everyone leaves.
const registrant = fc.record({
  clusterName: fc.constantFrom("c1", "c2"),
  brokerName: fc.constantFrom("a", "b"),
  brokerId: fc.nat(2),
  brokerAddress: fc.constantFrom("1:1", "2:2", "3:3"),
  haServerAddress: fc.constant("h"),
  enableActingMaster: fc.constantFrom(undefined, true, false),
});
const operation = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.tuple(fc.constant("register" as const), registrant, fc.subarray(["T", "U", "V"]), fc.nat(2), fc.nat(1)),
  },
  { weight: 2, arbitrary: fc.tuple(fc.constant("unregister" as const), registrant) },
  { weight: 1, arbitrary: fc.tuple(fc.constant("advance" as const), fc.constantFrom(1, 60_000, 130_000)) },
  { weight: 1, arbitrary: fc.tuple(fc.constant("delete" as const), fc.constantFrom("T", "U")) },
  { weight: 1, arbitrary: fc.tuple(fc.constant("topic" as const), fc.constantFrom("a", "b")) },
);

test("the tables agree whatever happens", (t) => {
  const property = fc.property(fc.array(operation, { minLength: 10, maxLength: 60 }), fc.boolean(), (operations, flag) => {
    const { routes, clock } = rig({ supportActingMaster: flag, notifyMinBrokerIdChanged: flag });
    for (const op of operations) {
      if (op[0] === "register")
        routes.register(
          op[1],
          body(
            op[2].map((name) => topic(name)),
            op[3],
            op[4],
          ),
        );
      else if (op[0] === "unregister") routes.unregister([op[1]]);
      else if (op[0] === "delete") routes.deleteTopic(op[1]);
      else if (op[0] === "topic") {
        routes.registerTopic("N", [{ brokerName: op[1], perm: 6, readQueueNums: 1, topicSysFlag: 0, writeQueueNums: 1 }]);
      } else {
        clock.advance(op[1]);
        routes.expire();
      }
      for (const [name, group] of routes.groups) {
        if (group.addresses.size === 0) throw new Error(`${name} has no address`);
        if (new Set(group.addresses.values()).size !== group.addresses.size) throw new Error(`${name} has an address twice`);
        if (!routes.clusters.get(group.cluster)?.has(name)) throw new Error(`${name} is not in its cluster`);
      }
      for (const names of routes.clusters.values()) {
        if (names.size === 0) throw new Error("a cluster without brokers");
        for (const name of names) if (!routes.groups.has(name)) throw new Error(`${name} is in a cluster only`);
      }
      for (const name of routes.topics.names()) {
        if (routes.route(name) === undefined) throw new Error(`${name} has queues but no broker`);
        for (const queues of routes.topics.of(name)!) {
          if (!routes.groups.has(queues.brokerName)) throw new Error(`${name} names a broker that is gone`);
        }
      }
    }
    const leavers = [...routes.groups.values()].flatMap(({ addresses, brokerName, cluster }) =>
      [...addresses].map(([brokerId, brokerAddress]) => ({ clusterName: cluster, brokerName, brokerId, brokerAddress })),
    );
    routes.unregister(leavers);
    return routes.groups.size === 0 && routes.topics.names().length === 0 && routes.clusters.size === 0;
  });
  t.notThrows(() => fc.assert(property, { numRuns: 500 }));
});
