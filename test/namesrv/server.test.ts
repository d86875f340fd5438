import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import test, { type ExecutionContext } from "ava";
import { SystemClock, VirtualClock } from "../../src/base/clock.ts";
import type { RequestHandler } from "../../src/broker/channel.ts";
import { RemotingClient } from "../../src/client/connection/remoting-client.ts";
import { encodeRegistration } from "../../src/format/remoting/broker-registration.ts";
import { EMPTY_BODY, type HeaderValues, type RemotingCommand, request } from "../../src/format/remoting/remoting-command.ts";
import { parseProperties } from "../../src/format/text/java-properties.ts";
import { type NameServer, type NameServerOptions, startNameServer } from "../../src/namesrv/server.ts";
import { silentLog } from "../../src/observe/log.ts";
import { RemotingServer } from "../../src/remoting/server.ts";
import { until } from "../until.ts";

interface Rig {
  server: NameServer;
  ask: (code: number, header?: HeaderValues, body?: Buffer | string) => Promise<RemotingCommand>;
  register: (brokerName: string, brokerId?: number, brokerAddr?: string) => Promise<RemotingCommand>;
}

async function start(t: ExecutionContext, options: NameServerOptions = {}): Promise<Rig> {
  const server = await startNameServer({ host: "127.0.0.1", port: 0, ...options });
  const client = new RemotingClient();
  t.teardown(async () => {
    await client.close();
    await server.close();
  });
  const ask: Rig["ask"] = (code, header = {}, body = EMPTY_BODY) =>
    client.invoke(server.address, request(code, 0, header, Buffer.from(body)), 5_000);
  const topics = ["T", "U"].map((topicName) => ({
    topicName,
    readQueueNums: 4,
    writeQueueNums: 4,
    perm: 6,
    topicFilterType: "SINGLE_TAG",
    topicSysFlag: 0,
    order: false,
    attributes: {},
  }));
  const dataVersion = { counter: 0, stateVersion: 0, timestamp: 1 };
  const body = encodeRegistration({ dataVersion, topics, queueMappings: new Map(), filterServers: [] });
  const register: Rig["register"] = (brokerName, brokerId = 0, brokerAddr = `${brokerName}:${brokerId}`) =>
    ask(103, { clusterName: "c", brokerName, brokerId, brokerAddr, haServerAddr: "h:1", enableActingMaster: true }, body);
  return { server, ask, register };
}

function directory(t: ExecutionContext): string {
  const made = mkdtempSync(path.join(tmpdir(), "millrace-namesrv-"));
  t.teardown(() => rmSync(made, { recursive: true, force: true }));
  return made;
}

test("KV table and settings outlive the server", async (t) => {
  const storePath = directory(t);
  const first = await start(t, { storePath });
  t.is((await first.ask(100, { namespace: "ORDER_TOPIC_CONFIG", key: "T", value: "a:4" })).code, 0);
  t.is((await first.ask(318, {}, "orderMessageEnable=true\nserverWorkerThreads=4\n")).code, 0);
  await first.server.close();
  t.is(readFileSync(path.join(storePath, "namesrv.properties"), "utf8"), "orderMessageEnable=true\n");

  const second = await start(t, { storePath });
  await second.register("a");
  const route = JSON.parse((await second.ask(105, { topic: "T" })).body.toString()) as { orderTopicConf: string };
  t.is(route.orderTopicConf, "a:4");
});

test("settings: all or nothing, with a clear word about what is wrong", async (t) => {
  const storePath = directory(t);
  const { ask, server } = await start(t, { storePath });
  const settings = async (): Promise<Map<string, string>> => parseProperties((await ask(319)).body.toString());
  t.like(Object.fromEntries(await settings()), {
    listenPort: String(server.port),
    bindAddress: "127.0.0.1",
    orderMessageEnable: "false",
    kvConfigPath: path.join(storePath, "kvConfig.json"),
  });
  const refused: [string, number, RegExp][] = [
    ["orderMessageEnable=true\nkvConfigPath=/tmp/x", 16, /black list: kvConfigPath/],
    ["orderMessageEnable=true\nlistenPort=1", 16, /black list: listenPort/],
    ["orderMessageEnable=true\norderMesageEnabled=true", 1, /did you mean orderMessageEnable\?/],
    ["orderMessageEnable=yes", 1, /allowed: true or false/],
    ["orderMessageEnable=true\nscanNotActiveBrokerInterval=0", 1, /allowed: a whole number from 1 to 2147483647 \(ms\)/],
    ["orderMessageEnable=\\u1", 1, /line 1/],
  ];
  for (const [text, code, remark] of refused) {
    const answer = await ask(318, {}, text);
    t.is(answer.code, code, text);
    t.regex(answer.remark ?? "", remark, text);
  }
  t.is((await settings()).get("orderMessageEnable"), "false");
});

test("a broken settings file stops the start and names the key", async (t) => {
  const storePath = directory(t);
  writeFileSync(path.join(storePath, "namesrv.properties"), "orderMessageEnabl=true\n");
  await t.throwsAsync(startNameServer({ host: "127.0.0.1", port: 0, storePath }), {
    code: "MILLRACE_CONFIG_INVALID",
    message: /orderMessageEnabl.*did you mean orderMessageEnable\?/,
  });
});

test("settings from the file, beaten by those given", async (t) => {
  const configStorePath = path.join(directory(t), "my.properties");
  writeFileSync(configStorePath, "enableTopicList=false\nenableAllTopicList=false\n# comment\nrocketmqHome=/opt\n");
  const { ask } = await start(t, { configStorePath, settings: { enableAllTopicList: true } });
  t.is((await ask(224, { cluster: "c" })).remark, "disable");
  t.is((await ask(206)).code, 0);
  await ask(318, {}, "enableTopicList=true");
  t.is(readFileSync(configStorePath, "utf8"), "enableTopicList=true\nenableAllTopicList=false\nrocketmqHome=/opt\n");
});

test("a port in use is said plainly, and nothing is left running", async (t) => {
  const { server } = await start(t);
  await t.throwsAsync(startNameServer({ host: "127.0.0.1", port: server.port }), {
    code: "MILLRACE_ADDRESS_IN_USE",
    message: `127.0.0.1:${server.port} is already in use`,
  });
});

test("brokers that fall silent are forgotten within the scan interval, and their connection is closed", async (t) => {
  const clock = new VirtualClock(1_000_000);
  const { server, ask, register } = await start(t, { clock, settings: { serverChannelMaxIdleTimeSeconds: 100_000 } });
  await register("a");
  clock.advance(115_000);
  t.is((await ask(105, { topic: "T" })).code, 0);
  clock.advance(5_000);
  t.is((await ask(105, { topic: "T" })).code, 0, "120 s exactly: not yet");
  clock.advance(5_000);
  t.is(server.routes.groups.size, 0);
  await t.throwsAsync(ask(105, { topic: "T" }), { code: "MILLRACE_CONNECTION" }, "it was the broker's connection");
  t.is((await ask(105, { topic: "T" })).code, 17);
});

test("needWaitForService: no routes in the first seconds", async (t) => {
  const clock = new VirtualClock(1_000_000);
  const { ask, register } = await start(t, { clock, settings: { needWaitForService: true, waitSecondsForService: 10 } });
  await register("a");
  clock.advance(9_999);
  const early = await ask(105, { topic: "T" });
  t.is(early.code, 1);
  t.is(early.remark, "name server not ready");
  clock.advance(1);
  t.is((await ask(105, { topic: "T" })).code, 0);
  t.is((await ask(105, { topic: "T" })).code, 0, "and from then on");
});

test("members of a group are told of its smallest id", async (t) => {
  const told: RemotingCommand[] = [];
  const member = new RemotingServer({
    host: "127.0.0.1",
    port: 0,
    handlers: new Map<number, RequestHandler>([[905, (command) => void told.push(command)]]),
    clock: new SystemClock(),
    log: silentLog,
  });
  await member.listen();
  t.teardown(() => member.close());
  const { ask, register } = await start(t, { settings: { notifyMinBrokerIdChanged: true } });
  await register("a", 0, "127.0.0.1:1"); // Nobody there: that must not hurt.
  await register("a", 1, member.address);
  await ask(104, { clusterName: "c", brokerName: "a", brokerId: 0, brokerAddr: "127.0.0.1:1" });
  await until(() => told.length > 0);
  t.like(
    { ...told[0]!.extFields },
    {
      minBrokerId: "1",
      brokerName: "a",
      minBrokerAddr: member.address,
      offlineBrokerAddr: "127.0.0.1:1",
    },
  );
  t.is(told[0]!.flag & 2, 2, "one-way");
});

test("bad requests get an error each, and the server lives on", async (t) => {
  const { ask, register } = await start(t);
  const who = { clusterName: "c", brokerName: "a", brokerId: 0, brokerAddr: "a:1", haServerAddr: "h" };
  const cases: [number, HeaderValues, string, RegExp][] = [
    [103, { ...who, brokerName: undefined }, "", /the custom field <brokerName> is null/],
    [103, { ...who, brokerId: "x" }, "", /brokerId> is not an integer/],
    [103, { ...who, brokerId: -1 }, "", /negative/],
    [103, who, "{", /JSON: expected/],
    [103, { ...who, compressed: true }, "no zlib", /inflated/],
    [103, { ...who, bodyCrc32: 7 }, "{}", /crc32 not match/],
    [103, who, "[".repeat(10_000), /nested deeper/],
    [104, {}, "", /is null/],
    [105, {}, "", /<topic> is null/],
    [217, { topic: "T" }, '{"queueDatas":7}', /no list/],
    [322, { clusterName: "c", brokerAddr: "a" }, '{"counter":"x"}', /counter is not an integer/],
  ];
  for (const [code, header, body, remark] of cases) {
    const answer = await ask(code, header, body);
    t.is(answer.code, 1, `${code} ${body}`);
    t.regex(answer.remark ?? "", remark);
  }
  t.is((await register("a")).code, 0);
});
