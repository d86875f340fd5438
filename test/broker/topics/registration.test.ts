import test from "ava";
import { SystemClock, VirtualClock } from "../../../src/base/clock.ts";
import {
  type BrokerIdentity,
  BrokerRegistration,
  type BrokerRegistrationOptions,
} from "../../../src/broker/topics/registration.ts";
import { RemotingClient } from "../../../src/client/connection/remoting-client.ts";
import { decodeRegistration } from "../../../src/format/remoting/broker-registration.ts";
import { type RemotingCommand, response } from "../../../src/format/remoting/remoting-command.ts";
import type { TopicConfig } from "../../../src/format/topic-config.ts";
import { startNameServer } from "../../../src/namesrv/server.ts";
import type { Log, LogFields } from "../../../src/observe/log.ts";

const IDENTITY: BrokerIdentity = {
  clusterName: "c",
  brokerName: "b",
  brokerId: 0,
  brokerAddress: "127.0.0.1:10911",
  haServerAddress: "127.0.0.1:10912",
};

function topic(topicName: string, perm = 6): TopicConfig {
  return {
    topicName,
    readQueueNums: 4,
    writeQueueNums: 4,
    perm,
    topicFilterType: "SINGLE_TAG",
    topicSysFlag: 0,
    order: false,
    attributes: {},
  };
}

/** Name servers as functions; `down` ones throw. */
class Rig {
  readonly clock = new VirtualClock(1_000_000);
  readonly lines: string[] = [];
  readonly asked: { address: string; command: RemotingCommand; topics: string[]; counter: number }[] = [];
  readonly down = new Set<string>();
  answer: (address: string, command: RemotingCommand) => RemotingCommand | Promise<RemotingCommand> = (_, command) =>
    response(command, 0);
  topics: TopicConfig[] = [topic("T"), topic("U")];
  counter = 1;
  readonly registration: BrokerRegistration;

  constructor(nameServers: string[], options: Partial<BrokerRegistrationOptions> = {}) {
    const add = (fields: LogFields, text: string): void => void this.lines.push(`${String(fields["nameServer"])}: ${text}`);
    const log: Log = { debug() {}, info: add, warn: add, error: add };
    this.registration = new BrokerRegistration({
      identity: IDENTITY,
      nameServers,
      table: () => ({ dataVersion: { counter: this.counter, stateVersion: 0, timestamp: 5 }, topics: this.topics }),
      invoker: { invoke: (address, command) => this.#invoke(address, command) },
      clock: this.clock,
      log,
      ...options,
    });
  }

  async #invoke(address: string, command: RemotingCommand): Promise<RemotingCommand> {
    const isRegistration = command.code === 103;
    const body = isRegistration ? decodeRegistration(command.body, command.extFields["compressed"] === "true", 513) : undefined;
    const topics = (body?.topics ?? []).map(({ topicName }) => topicName);
    this.asked.push({ address, command, topics, counter: body?.dataVersion.counter ?? 0 });
    await Promise.resolve();
    if (this.down.has(address)) throw new Error(`${address}: cannot connect`);
    return this.answer(address, command);
  }

  change(topics: TopicConfig[], names?: string[]): Promise<void> {
    this.topics = topics;
    this.counter++;
    return this.registration.topicsChanged(names);
  }

  async advance(byMs: number): Promise<void> {
    this.clock.advance(byMs);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

test("registers with all at start, then each period, and leaves at stop", async (t) => {
  const rig = new Rig(["a:1", "b:1"]);
  await rig.registration.start();
  t.deepEqual(
    rig.asked.map(({ address, topics }) => [address, ...topics]),
    [
      ["a:1", "T", "U"],
      ["b:1", "T", "U"],
    ],
  );
  t.like(rig.asked[0]!.command.extFields, {
    brokerName: "b",
    brokerAddr: "127.0.0.1:10911",
    clusterName: "c",
    brokerId: "0",
    haServerAddr: "127.0.0.1:10912",
    compressed: "false",
  });
  t.deepEqual(rig.registration.registeredWith, ["a:1", "b:1"]);
  await rig.advance(29_999);
  t.is(rig.asked.length, 2);
  await rig.advance(1);
  t.is(rig.asked.length, 4);
  await rig.registration.stop();
  t.deepEqual(
    rig.asked.slice(4).map(({ address, command }) => [address, command.code]),
    [
      ["a:1", 104],
      ["b:1", 104],
    ],
  );
  await rig.registration.topicsChanged();
  await rig.advance(100_000);
  t.is(rig.asked.length, 6, "silence after the farewell");
});

test("a name server that knows the others is told of the changed topics alone; of all, when anything went wrong", async (t) => {
  const told = new Map<string, TopicConfig>();
  const rig: Rig = new Rig(["a:1", "b:1"], { topicOf: (name) => told.get(name) });
  await rig.registration.start();
  rig.asked.length = 0;
  const change = (...names: string[]): Promise<void> => {
    const added = names.map((name) => topic(name));
    for (const config of added) told.set(config.topicName, config);
    return rig.change([...rig.topics, ...added], names);
  };
  const seen = (): string[] => rig.asked.splice(0).map(({ address, topics }) => `${address} ${topics.join("")}`);
  await change("V");
  t.deepEqual(seen(), ["a:1 V", "b:1 V"]);
  rig.down.add("b:1");
  await change("W");
  t.deepEqual(seen(), ["a:1 W", "b:1 W"]);
  rig.down.delete("b:1");
  await change("X", "Y");
  t.deepEqual(seen(), ["a:1 XY", "b:1 TUVWXY"]);
  t.deepEqual(rig.registration.registeredWith, ["a:1", "b:1"]);
  // Changes that come while a registration is under way share the next one.
  await Promise.all([change("A"), change("B"), change("C")]);
  t.deepEqual(seen().toSorted(), ["a:1 ABC", "b:1 ABC"]);
  rig.registration.connectionLost("a:1");
  await change("Z");
  t.deepEqual(
    seen().filter((line) => line.startsWith("a:1")),
    ["a:1 TUVWXYABCZ"],
  );
  await rig.advance(30_000);
  t.deepEqual(seen(), ["a:1 TUVWXYABCZ", "b:1 TUVWXYABCZ"]);
  await rig.registration.stop();
});

test("the period is held within 10 and 60 s", async (t) => {
  for (const [periodMs, held] of [
    [1, 10_000],
    [1_000_000, 60_000],
  ] as const) {
    const rig = new Rig(["a:1"], { periodMs });
    await rig.registration.start();
    await rig.advance(held - 1);
    t.is(rig.asked.length, 1);
    await rig.advance(1);
    t.is(rig.asked.length, 2);
    await rig.registration.stop();
  }
});

test("changes register at once; those during a registration share the next", async (t) => {
  const rig = new Rig(["a:1"]);
  await rig.registration.start();
  const changes = [rig.change([topic("1"), topic("2")]), rig.change([topic("3"), topic("4")])];
  await Promise.all(changes);
  t.deepEqual(rig.asked.at(-1)?.topics, ["3", "4"]);
  t.is(rig.asked.length, 2, "one for both");

  let release: () => void = () => {};
  rig.answer = (_, command) =>
    new Promise((resolve) => {
      release = () => resolve(response(command, 0));
    });
  const first = rig.change([topic("5"), topic("6")]);
  await new Promise((resolve) => setImmediate(resolve));
  const later = [rig.change([topic("7"), topic("8")]), rig.change([topic("9"), topic("10")])];
  t.is(rig.asked.length, 3);
  rig.answer = (_, command) => response(command, 0);
  release();
  await Promise.all([first, ...later]);
  t.is(rig.asked.length, 4);
  t.deepEqual(rig.asked.at(-1)?.topics, ["9", "10"]);
  await rig.registration.stop();
});

test("one that is down is said once, tried again, and does not hold up the others", async (t) => {
  const rig = new Rig(["a:1", "b:1"]);
  rig.down.add("a:1");
  await rig.registration.start();
  for (let i = 0; i < 10; i++) await rig.advance(5_000);
  t.deepEqual(rig.registration.registeredWith, ["b:1"]);
  rig.down.clear();
  await rig.advance(5_000);
  t.deepEqual(rig.registration.registeredWith, ["a:1", "b:1"]);
  rig.down.add("a:1");
  await rig.registration.topicsChanged();
  await rig.advance(30_000);
  t.deepEqual(
    rig.lines.filter((line) => line.startsWith("a:1")),
    [
      "a:1: not registered with the name server; will go on trying",
      "a:1: registered with the name server",
      "a:1: not registered with the name server; will go on trying",
    ],
  );
  t.is(rig.lines.filter((line) => line.startsWith("b:1")).length, 1);
  await rig.registration.stop();
});

test("a refusal is a failure too", async (t) => {
  const rig = new Rig(["a:1"]);
  rig.answer = (_, command) => response(command, 1, "register broker failed");
  await rig.registration.start();
  t.deepEqual(rig.registration.registeredWith, []);
  await rig.registration.stop();
  t.is(rig.asked.at(-1)?.command.code, 103, "nothing to take back");
});

test("a lost connection registers at once, if there was a registration", async (t) => {
  const rig = new Rig(["a:1"]);
  rig.registration.connectionLost("a:1");
  await rig.registration.start();
  rig.registration.connectionLost("other:1");
  t.is(rig.asked.length, 1);
  rig.registration.connectionLost("a:1");
  await rig.advance(0);
  t.is(rig.asked.length, 2);
  await rig.registration.stop();
});

test("many topics go in parts, the true version last", async (t) => {
  const rig = new Rig(["a:1"], { topicsPerRequest: 2, compressed: true });
  rig.topics = ["1", "2", "3", "4", "5"].map((name) => topic(name));
  await rig.registration.start();
  t.deepEqual(
    rig.asked.map(({ topics, counter }) => [counter, ...topics]),
    [
      [-1, "1", "2"],
      [-2, "3", "4"],
      [1, "5"],
    ],
  );
  await rig.registration.stop();
});

test("order tables and the master are told when they change", async (t) => {
  const orders: Record<string, string>[] = [];
  const masters: (string | undefined)[] = [];
  const rig = new Rig(["a:1", "b:1"], {
    onOrderTopics: (table) => orders.push(Object.fromEntries(table)),
    onMaster: ({ masterAddress }) => masters.push(masterAddress),
  });
  rig.answer = (address, command) =>
    response(command, 0, undefined, { masterAddr: `master of ${address}` }, Buffer.from(`{"table":{"T":"of ${address}"}}`));
  await rig.registration.start();
  await rig.registration.topicsChanged();
  t.deepEqual(orders.at(-1), { T: "of a:1" }, "the first name server's counts");
  t.is(masters.at(-1), "master of a:1");
  const told = orders.length;
  await rig.registration.topicsChanged();
  t.is(orders.length, told, "nothing new");
  rig.down.add("a:1");
  await rig.registration.topicsChanged();
  await rig.registration.topicsChanged();
  t.deepEqual(orders.at(-1), { T: "of b:1" });
  rig.down.clear();
  rig.answer = (_, command) => response(command, 0);
  await rig.registration.topicsChanged();
  t.deepEqual(orders.at(-1), {});
  t.is(masters.at(-1), undefined);
  await rig.registration.stop();
});

test("the broker's permission limits that of its topics", async (t) => {
  let permission = 6;
  const rig = new Rig(["a:1"], { brokerPermission: () => permission });
  await rig.registration.start();
  permission = 4;
  await rig.registration.topicsChanged();
  const perms = rig.asked.map(({ command }) => decodeRegistration(command.body, false, 513).topics.map(({ perm }) => perm));
  t.deepEqual(perms, [
    [6, 6],
    [4, 4],
  ]);
  await rig.registration.stop();
});

test("name servers may be exchanged", async (t) => {
  const rig = new Rig(["a:1", "b:1"]);
  await rig.registration.start();
  await rig.registration.setNameServers(["b:1", "c:1"]);
  const asked = rig.asked.slice(2).map(({ address, command }) => `${address} ${command.code}`);
  t.deepEqual(asked.toSorted(), ["a:1 104", "c:1 103"]);
  t.deepEqual(rig.registration.registeredWith, ["b:1", "c:1"]);
  await rig.registration.stop();
});

test("a hanging name server does not hold up the stop for longer than 3 s", async (t) => {
  const rig = new Rig(["a:1"]);
  rig.answer = () => new Promise(() => {});
  void rig.registration.start();
  await rig.advance(0);
  const stopped = rig.registration.stop();
  await rig.advance(3_000);
  await stopped;
  t.pass();
});

for (const count of [0, 1, 2, 5]) {
  for (const compressed of [false, true]) {
    test(`a broker with ${count} topics, ${compressed ? "compressed" : "plain"}, over the wire`, async (t) => {
      const server = await startNameServer({ host: "127.0.0.1", port: 0 });
      const invoker = new RemotingClient();
      const topics = Array.from({ length: count }, (_, index) => topic(`T${index}`));
      const registration = new BrokerRegistration({
        identity: IDENTITY,
        nameServers: [server.address],
        table: () => ({ dataVersion: { counter: 1, stateVersion: 0, timestamp: 5 }, topics }),
        invoker,
        clock: new SystemClock(),
        log: { debug() {}, info() {}, warn() {}, error() {} },
        compressed,
        topicsPerRequest: 3,
      });
      await registration.start();
      t.deepEqual(registration.registeredWith, [server.address]);
      t.deepEqual(
        server.routes.topics.names().sort(),
        topics.map(({ topicName }) => topicName),
      );
      t.false(server.routes.isChanged("c", IDENTITY.brokerAddress, { counter: 1, stateVersion: 0, timestamp: 5 }));
      t.is(server.routes.groups.get("b")?.addresses.get(0), IDENTITY.brokerAddress);
      await registration.stop();
      t.is(server.routes.groups.size, 0);
      await invoker.close();
      await server.close();
    });
  }
}
