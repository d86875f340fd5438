import { spawnSync } from "node:child_process";
import { chmodSync, cpSync, existsSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { homedir } from "node:os";
import { join } from "node:path";
import { openTarget } from "../load/target.ts";
import { type Peer, PeerMissing, type PeerName, PeerProcess } from "./peer.ts";

export interface PeerOptions {
  /** Everything is put there, and gone with it. */
  scratch: string;
  /** Of the JVM brokers, as -Xmx has it. */
  heap: string;
  /** Smaller files. */
  isSmoke: boolean;
  /** RocketMQ and Millrace wait for the disk before each ack. Default: false. */
  isSyncFlush?: boolean;
  /** Of Millrace, key=value; default: those that make it comparable to the others. */
  settings?: readonly string[];
  /** Further arguments of `millrace up`. */
  args?: readonly string[];
  /** Of Millrace; default: one of its own that is gone at the end. */
  store?: string;
}

/** Keeps the downloads from run to run. */
const CACHE = process.env["MILLRACE_PEERS"] ?? join(homedir(), ".cache", "millrace-peers");
const OPENS = ["jdk.internal.ref", "sun.nio.ch"].map((name) => `--add-exports=java.base/${name}=ALL-UNNAMED`);
const ADD_OPENS = ["java.nio", "sun.nio.ch", "java.lang", "java.util"].map((name) => `--add-opens=java.base/${name}=ALL-UNNAMED`);
/** Pulls of whole batches: as much at once as a Kafka fetch brings. */
export const PULL_SIZE = 1_048_576;

/** Any free port. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** @throws PeerMissing when this machine lacks what it takes */
export function startPeer(name: PeerName, options: PeerOptions): Promise<Peer> {
  switch (name) {
    case "millrace":
      return startMillrace(options);
    case "rocketmq":
      return startRocketmq(options);
    case "kafka":
      return startKafka(options);
    case "redis":
      return startRedis(options);
  }
}

const MILLRACE_SETTINGS = ["maxTransferCountOnMessageInMemory=100000", `maxTransferBytesOnMessageInMemory=${PULL_SIZE}`];

async function startMillrace({
  isSmoke,
  isSyncFlush = false,
  settings = MILLRACE_SETTINGS,
  args = [],
  store,
}: PeerOptions): Promise<Peer> {
  const all = isSyncFlush ? [...settings, "flushDiskType=SYNC_FLUSH"] : settings;
  const brokerArgs = [...all.flatMap((pair) => ["--set", pair]), ...args];
  const started = performance.now();
  const target = await openTarget({
    against: undefined,
    pids: [],
    store,
    port: 0,
    namesrvPort: 0,
    isSmoke,
    brokerArgs,
  });
  const startMs = Math.round(performance.now() - started);
  const port = Number(target.brokerAddress.split(":").at(-1));
  return { name: "millrace", title: "Millrace", port, pids: target.pids, startMs, stop: () => target.stop() };
}

/** The jars of one profile of pom.xml. @throws PeerMissing */
function jarsOf(profile: string): string {
  if (has("java", "-version") === undefined) throw new PeerMissing("java is not installed");
  return join(fetched(profile), "*");
}

/** Directory of what one profile of pom.xml names, fetched by Maven where it is not there yet. @throws PeerMissing */
function fetched(profile: string): string {
  const jars = join(CACHE, profile);
  if (existsSync(jars) && readdirSync(jars).length > 0) return jars;
  if (has("mvn", "-v") === undefined) throw new PeerMissing("mvn is not installed, which would fetch it");
  const pom = join(import.meta.dirname, "pom.xml");
  const goal = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies";
  const args = ["-q", "-B", "-f", pom, "-P", profile, goal, "-DincludeScope=runtime", `-DoutputDirectory=${jars}.part`];
  // What Maven has already needs no network.
  for (const how of [["-o"], []]) {
    if (spawnSync("mvn", [...how, ...args], { encoding: "utf8" }).status !== 0) continue;
    mkdirSync(CACHE, { recursive: true });
    cpSync(`${jars}.part`, jars, { recursive: true });
    return jars;
  }
  throw new PeerMissing("mvn could not fetch it");
}

function has(command: string, flag: string): string | undefined {
  const { status, stdout, stderr } = spawnSync(command, [flag], { encoding: "utf8" });
  return status === 0 ? `${stdout}${stderr}`.trim() : undefined;
}

async function startRocketmq({ scratch, heap, isSyncFlush = false }: PeerOptions): Promise<Peer> {
  const classPath = jarsOf("rocketmq");
  const home = join(scratch, isSyncFlush ? "rocketmq-sync" : "rocketmq");
  mkdirSync(home, { recursive: true });
  const [namesrvPort, port] = [await freePort(), await freePort()];
  writeFileSync(join(home, "namesrv.conf"), `listenPort=${namesrvPort}\n`);
  const jvm = [`-Duser.home=${home}`, ...OPENS, ...ADD_OPENS, "-cp", classPath];
  const env = { ROCKETMQ_HOME: home };
  const namesrvMain = "org.apache.rocketmq.namesrv.NamesrvStartup";
  const namesrv = new PeerProcess(
    home,
    "namesrv",
    "java",
    ["-Xmx256m", ...jvm, namesrvMain, "-c", join(home, "namesrv.conf")],
    env,
  );
  await namesrv.listening(namesrvPort);
  const settings = {
    brokerClusterName: "DefaultCluster", brokerName: "broker-a", brokerId: 0, brokerIP1: "127.0.0.1", listenPort: port,
    namesrvAddr: `127.0.0.1:${namesrvPort}`, storePathRootDir: join(home, "store"), storePathCommitLog: join(home, "store/commitlog"),
    brokerRole: "ASYNC_MASTER", flushDiskType: isSyncFlush ? "SYNC_FLUSH" : "ASYNC_FLUSH", maxTransferCountOnMessageInMemory: 100_000,
    maxTransferBytesOnMessageInMemory: PULL_SIZE, mappedFileSizeCommitLog: 268_435_456,
  }; // biome-ignore format: one thing.
  const file = join(home, "broker.conf");
  writeFileSync(file, Object.entries(settings).map(([name, value]) => `${name}=${value}\n`).join("")); // biome-ignore format: one thing.
  const args = [`-Xms${heap}`, `-Xmx${heap}`, ...jvm, "org.apache.rocketmq.broker.BrokerStartup", "-c", file];
  const broker = await new PeerProcess(home, "broker", "java", args, env).listening(port);
  return {
    name: "rocketmq",
    title: `Apache RocketMQ 5.5.0, heap ${heap}`,
    port,
    pids: [broker.child.pid!],
    startMs: broker.startMs,
    stop: async () => {
      await broker.stop();
      await namesrv.stop();
    },
  };
}

async function startKafka({ scratch, heap }: PeerOptions): Promise<Peer> {
  const classPath = jarsOf("kafka");
  const home = join(scratch, "kafka");
  mkdirSync(home, { recursive: true });
  const [port, controller] = [await freePort(), await freePort()];
  const settings = {
    "process.roles": "broker,controller", "node.id": 1, "controller.quorum.voters": `1@127.0.0.1:${controller}`,
    listeners: `PLAINTEXT://127.0.0.1:${port},CONTROLLER://127.0.0.1:${controller}`, "controller.listener.names": "CONTROLLER",
    "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT", "log.dirs": join(home, "data"),
    "offsets.topic.replication.factor": 1, "transaction.state.log.replication.factor": 1, "transaction.state.log.min.isr": 1,
    // What a round has written is deleted before the next, and shall not fill the disk meanwhile.
    "log.segment.delete.delay.ms": 1000,
  }; // biome-ignore format: one thing.
  const file = join(home, "server.properties");
  writeFileSync(file, Object.entries(settings).map(([name, value]) => `${name}=${value}\n`).join("")); // biome-ignore format: one thing.
  const cluster = "bWlsbHJhY2UtYmVuY2gtMQ";
  const format = spawnSync("java", ["-cp", classPath, "kafka.tools.StorageTool", "format", "-t", cluster, "-c", file], {
    encoding: "utf8",
  });
  if (format.status !== 0) throw new Error(`kafka: its storage could not be made: ${format.stderr.slice(-500)}`);
  const flags = ["-server", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20"]; // As its own start script has it.
  const args = [`-Xms${heap}`, `-Xmx${heap}`, ...flags, "-cp", classPath, "kafka.Kafka", file];
  const broker = await new PeerProcess(home, "broker", "java", args).listening(port);
  const { child, startMs } = broker;
  return {
    name: "kafka",
    title: `Apache Kafka 4.1.0, heap ${heap}`,
    port,
    pids: [child.pid!],
    startMs,
    stop: () => broker.stop(),
  };
}

/** redis-server: the installed one, or one that a jar from Maven carries. @throws PeerMissing */
function redisProgram(): string {
  if (has("redis-server", "--version") !== undefined) return "redis-server";
  const suffix = `${process.platform}-${process.arch === "x64" ? "amd64" : process.arch}`;
  const directory = fetched("redis");
  const isOurs = (name: string): boolean => name.startsWith("redis-server-") && name.endsWith(suffix);
  const jar = readdirSync(directory).find((name) => name.startsWith("embedded-redis"));
  if (!readdirSync(directory).some(isOurs) && jar !== undefined) {
    if (has("jar", "--version") === undefined) throw new PeerMissing("redis-server is not installed, nor is jar, to unpack one");
    spawnSync("jar", ["--extract", "--file", jar], { cwd: directory });
  }
  const name = readdirSync(directory).find(isOurs);
  if (name === undefined) throw new PeerMissing(`redis-server is not installed, and there is none to fetch for ${suffix}`);
  chmodSync(join(directory, name), 0o755);
  return join(directory, name);
}

async function startRedis({ scratch }: PeerOptions): Promise<Peer> {
  const program = redisProgram();
  const version = has(program, "--version");
  if (version === undefined) throw new PeerMissing(`${program} does not run here`);
  const home = join(scratch, "redis");
  const port = await freePort();
  const args = ["--bind", "127.0.0.1", "--port", String(port), "--appendonly", "yes", "--appendfsync", "everysec", "--save", ""];
  const server = await new PeerProcess(home, "redis", program, args).listening(port);
  const { child, startMs } = server;
  return {
    name: "redis",
    title: `${version.slice(0, 20)}, appendonly everysec`,
    port,
    pids: [child.pid!],
    startMs,
    stop: () => server.stop(),
  };
}
