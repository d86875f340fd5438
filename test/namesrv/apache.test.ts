// Goal: Apache's own broker and mqadmin work with our name server, and our registration with Apache's.
// Method: the real programs, from the `lib` folder of a RocketMQ 5.5 distribution that ROCKETMQ_LIB names.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, existsSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import test from "ava";
import { SystemClock } from "../../src/base/clock.ts";
import { BrokerRegistration } from "../../src/broker/topics/registration.ts";
import { RemotingClient } from "../../src/client/connection/remoting-client.ts";
import { type HeaderValues, type RemotingCommand, request } from "../../src/format/remoting/remoting-command.ts";
import { memberOf, parseJson } from "../../src/format/text/fastjson.ts";
import { startNameServer } from "../../src/namesrv/server.ts";
import { silentLog } from "../../src/observe/log.ts";

const LIB = process.env["ROCKETMQ_LIB"] ?? "";
const hasRocketmq = LIB !== "" && existsSync(LIB);
const run = hasRocketmq ? test.serial : test.serial.skip;
const suffix = hasRocketmq ? "" : " (skipped: ROCKETMQ_LIB names no lib folder of RocketMQ)";

/** Netty and RocketMQ reach into these. */
const OPENS = [
  "--add-exports=java.base/jdk.internal.ref=ALL-UNNAMED",
  "--add-exports=java.base/sun.nio.ch=ALL-UNNAMED",
  ...["java.nio", "sun.nio.ch", "java.lang", "java.util"].map((name) => `--add-opens=java.base/${name}=ALL-UNNAMED`),
];
const START_MS_MAX = 90_000;

let home = "";
const children: ChildProcess[] = [];
const client = new RemotingClient();

test.before(() => {
  home = mkdtempSync(path.join(tmpdir(), "millrace-apache-"));
});

test.after.always(async () => {
  await client.close();
  for (const child of children) {
    if (child.exitCode !== null || child.signalCode !== null) continue;
    child.kill("SIGKILL");
    await once(child, "exit");
  }
  rmSync(home, { recursive: true, force: true });
});

function java(mainClass: string, args: string[], heapMb: number): ChildProcess {
  const output = openSync(path.join(home, `${mainClass}.out`), "a");
  const places = [`-Duser.home=${home}`, `-Djava.io.tmpdir=${home}`]; // It leaves keys of its own there.
  const jvm = [`-Xmx${heapMb}m`, ...places, ...OPENS, "-cp", path.join(LIB, "*")];
  const child = spawn("java", [...jvm, `org.apache.rocketmq.${mainClass}`, ...args], {
    env: { ...process.env, ROCKETMQ_HOME: home },
    stdio: ["ignore", output, output],
  });
  closeSync(output);
  children.push(child);
  return child;
}

async function mqadmin(...args: string[]): Promise<string> {
  const file = path.join(home, "tools.command.MQAdminStartup.out");
  rmSync(file, { force: true });
  await once(java("tools.command.MQAdminStartup", args, 128), "exit");
  return readFileSync(file, "utf8");
}

/** A free port whose neighbours are free too: a broker also takes the one above and two below. */
async function brokerPort(): Promise<number> {
  for (;;) {
    const port = await takePort(0);
    if (port !== undefined && (await takePort(port - 2)) !== undefined && (await takePort(port + 1)) !== undefined) return port;
  }
}

/** Whether the port can be bound; it is free again afterwards. */
async function takePort(wanted: number): Promise<number | undefined> {
  const probe = createServer();
  const bound = new Promise<boolean>((resolve) => {
    probe.once("error", () => resolve(false));
    probe.listen(wanted, "127.0.0.1", () => resolve(true));
  });
  if (!(await bound)) return undefined;
  const { port } = probe.address() as { port: number };
  probe.close();
  await once(probe, "close");
  return port;
}

async function ask(address: string, code: number, header: HeaderValues = {}): Promise<RemotingCommand> {
  return client.invoke(address, request(code, 0, header), 5_000);
}

async function until(condition: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + START_MS_MAX;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`condition not met within ${START_MS_MAX} ms`);
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
}

run(`Apache's broker registers, and mqadmin administers${suffix}`, async (t) => {
  t.timeout(300_000);
  const storePath = path.join(home, "namesrv");
  mkdirSync(storePath);
  const server = await startNameServer({ host: "127.0.0.1", port: 0, storePath });
  t.teardown(() => server.close());
  const { address } = server;
  const port = await brokerPort();
  const conf = path.join(home, "broker.conf");
  const settings = {
    brokerClusterName: "DefaultCluster",
    brokerName: "broker-a",
    brokerId: 0,
    brokerIP1: "127.0.0.1",
    listenPort: port,
    namesrvAddr: address,
    storePathRootDir: path.join(home, "store"),
    storePathCommitLog: path.join(home, "store", "commitlog"),
    mappedFileSizeCommitLog: 16_777_216,
  };
  writeFileSync(
    conf,
    Object.entries(settings)
      .map(([key, value]) => `${key}=${value}\n`)
      .join(""),
  );
  const broker = java("broker.BrokerStartup", ["-c", conf], 256);
  await until(async () => (await ask(address, 105, { topic: "TBW102" })).code === 0);

  const route = parseJson((await ask(address, 105, { topic: "TBW102" })).body);
  const [data] = memberOf(route, "brokerDatas") as unknown[];
  t.deepEqual(memberOf(data, "brokerAddrs"), { "0": `127.0.0.1:${port}` });
  t.is(memberOf(data, "cluster"), "DefaultCluster");

  const clusters = await mqadmin("clusterList", "-n", address);
  t.regex(clusters, new RegExp(`DefaultCluster +broker-a +0 +127\\.0\\.0\\.1:${port} +V5_5_0`));

  const brokerAddress = `127.0.0.1:${port}`;
  t.regex(await mqadmin("updateTopic", "-n", address, "-c", "DefaultCluster", "-t", "Orders", "-r", "3", "-w", "3"), /success/);
  t.regex(await mqadmin("topicList", "-n", address), /^Orders$/m);
  const shown = await mqadmin("topicRoute", "-n", address, "-t", "Orders");
  t.regex(shown, /"readQueueNums": ?3/);
  t.true(shown.includes(`"${brokerAddress}"`));
  t.regex(await mqadmin("topicClusterList", "-n", address, "-t", "Orders"), /^DefaultCluster$/m);
  t.regex(await mqadmin("topicRoute", "-n", address, "-t", "NoSuch"), /No topic route info in name server for the topic: NoSuch/);

  t.regex(await mqadmin("wipeWritePerm", "-n", address, "-b", "broker-a"), /wipe write perm of broker\[broker-a\].*OK, [1-9]/);
  t.is(server.routes.route("Orders")?.queues[0]?.perm, 4);
  t.regex(await mqadmin("addWritePerm", "-n", address, "-b", "broker-a"), /add write perm of broker\[broker-a\].*OK, [1-9]/);
  t.is(server.routes.route("Orders")?.queues[0]?.perm, 6);

  t.regex(await mqadmin("updateKvConfig", "-n", address, "-s", "ns", "-k", "key", "-v", "value"), /success/);
  t.is((await ask(address, 101, { namespace: "ns", key: "key" })).extFields["value"], "value");
  t.true(readFileSync(path.join(storePath, "kvConfig.json"), "utf8").includes('"ns":{"key":"value"}'));
  t.regex(await mqadmin("deleteKvConfig", "-n", address, "-s", "ns", "-k", "key"), /success/);
  t.is((await ask(address, 101, { namespace: "ns", key: "key" })).code, 22);
  t.regex(await mqadmin("updateOrderConf", "-n", address, "-t", "Orders", "-m", "put", "-v", "broker-a:3"), /success/);
  t.is((await ask(address, 101, { namespace: "ORDER_TOPIC_CONFIG", key: "Orders" })).extFields["value"], "broker-a:3");

  t.regex(await mqadmin("updateNamesrvConfig", "-n", address, "-k", "orderMessageEnable", "-v", "true"), /success/);
  t.regex(await mqadmin("getNamesrvConfig", "-n", address), /orderMessageEnable += +true/);
  t.regex((await ask(address, 105, { topic: "Orders" })).body.toString(), /"orderTopicConf":"broker-a:3"/);
  t.regex(await mqadmin("updateNamesrvConfig", "-n", address, "-k", "kvConfigPath", "-v", "/x"), /black list/);

  t.regex(await mqadmin("deleteTopic", "-n", address, "-c", "DefaultCluster", "-t", "Orders"), /success/);
  t.is((await ask(address, 105, { topic: "Orders" })).code, 17);

  broker.kill("SIGTERM");
  await once(broker, "exit");
  await until(async () => (await ask(address, 105, { topic: "TBW102" })).code === 17);
  t.is(server.routes.groups.size, 0);
});

run(`our registration is taken by Apache's name server${suffix}`, async (t) => {
  t.timeout(120_000);
  const port = await brokerPort();
  const address = `127.0.0.1:${port}`;
  const conf = path.join(home, "namesrv.conf");
  writeFileSync(conf, `listenPort=${port}\n`);
  java("namesrv.NamesrvStartup", ["-c", conf], 128);
  const log = silentLog;
  let topics = ["T1"];
  let counter = 1;
  const options = {
    identity: {
      clusterName: "c",
      brokerName: "millrace",
      brokerId: 0,
      brokerAddress: "127.0.0.1:10911",
      haServerAddress: "127.0.0.1:10912",
    },
    nameServers: [address],
    table: () => ({
      dataVersion: { counter, stateVersion: 0, timestamp: 7 },
      topics: topics.map((topicName) => ({
        topicName,
        readQueueNums: 5,
        writeQueueNums: 4,
        perm: 6,
        topicFilterType: "SINGLE_TAG",
        topicSysFlag: 0,
        order: false,
        attributes: { "message.type": "FIFO" },
      })),
    }),
    invoker: client,
    clock: new SystemClock(),
    log,
  };
  const route = async (topic: string): Promise<unknown> => {
    const answer = await ask(address, 105, { topic });
    return answer.code === 0 ? parseJson(answer.body) : answer.code;
  };
  const expected = {
    brokerDatas: [{ brokerAddrs: { "0": "127.0.0.1:10911" }, brokerName: "millrace", cluster: "c", enableActingMaster: false }],
    filterServerTable: {},
    queueDatas: [{ brokerName: "millrace", perm: 6, readQueueNums: 5, topicSysFlag: 0, writeQueueNums: 4 }],
  };
  const registration = new BrokerRegistration(options);
  await registration.start(); // It is not up yet: tried again until it is.
  await until(async () => registration.registeredWith.length === 1);
  t.deepEqual(await route("T1"), expected, "a single topic");

  topics = ["T1", "T2", "T3", "T4", "T5"];
  counter++;
  await registration.topicsChanged();
  t.deepEqual(await route("T5"), expected);
  await registration.stop();
  await until(async () => (await route("T5")) === 17);

  for (const change of [{ compressed: true }, { topicsPerRequest: 2 }]) {
    const other = new BrokerRegistration({ ...options, ...change });
    await other.start();
    t.deepEqual(other.registeredWith, [address]);
    for (const topic of topics) t.deepEqual(await route(topic), expected);
    await other.stop();
    await until(async () => (await route("T5")) === 17);
  }
});
