// Goal: the clients that people have work unchanged: what they produce is what they consume, groups split and hand over
// their queues exactly, and what a broker must refuse is refused with RocketMQ's own codes.
// Method: named cases on the official Java client (5.5.0 and 4.9.8), the Go client and ali-ons from npm; one process for
// a client, each case one test here. The same cases run against any broker, and were made against Apache's 5.5.0:
//   MILLRACE_CLIENTS_TARGET=apache:NAMESRV_HOST:PORT   runs them there instead of starting Millrace; its file says
//     enablePropertyFilter=true, traceTopicEnable=true, recallMessageEnable=true and transactionCheckInterval=2000
//   MILLRACE_VOLUME_MESSAGES=200000                    messages of each of the 8 producers in the volume case (2000)
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "ava";
import {
  GO_CASES,
  GO_SHORT_CASES,
  JAVA_CASES,
  JAVA_LATER_CASES,
  JAVA_NEWER_CASES,
  JAVA_NEWER_OWN_CASES,
  JAVA_OWN_CASES,
  JAVA_POP_CASES,
  JAVA_SHORT_CASES,
  JAVA_TIMER_CASES,
  JAVA_WHOLE_CASES,
  JAVA_WHOLE_OWN_CASES,
  NPM_CASES,
} from "./case-names.ts";
import { type CaseResult, CaseRun } from "./case-run.ts";
import { type ClientProgram, goClient, javaClient, missingCommand, npmClient } from "./client-programs.ts";
import { type RunningBroker, startBroker } from "./start-broker.ts";

const PARALLEL = "9";
const CASE_TIMEOUT_S = 90;
/** A test waits for its case, which may wait for a free slot behind others. */
const TEST_TIMEOUT_MS = 300_000;
const BUILD_TIMEOUT_MS = 660_000;
/** Of what a broker said before it died. */
const DEATH_SIZE_MAX = 1500;
const VOLUME_MESSAGES = process.env["MILLRACE_VOLUME_MESSAGES"] ?? "2000";
const VOLUME_TIMEOUT_S = 60 + Math.ceil(Number(VOLUME_MESSAGES) / 20);

/** As in most clusters where messages are traced. */
const TRACING = "traceTopicEnable=true\n";
/** Off by default, as with RocketMQ. */
const RECALL = "recallMessageEnable=true\n";
/** Half messages are asked about within seconds; by default within a minute. */
const SOON_ASKED = "transactionCheckInterval=2000\n";

const target = /^apache:(.+)$/.exec(process.env["MILLRACE_CLIENTS_TARGET"] ?? "")?.[1];
const workspace = mkdtempSync(join(tmpdir(), "millrace-clients-"));
const running: { stop(): unknown }[] = [];

test.after.always("stops what still runs", async () => {
  for (const one of running) await one.stop();
  rmSync(workspace, { recursive: true, force: true });
});

/** A broker that is started at the first use, and anew if it has died meanwhile. */
interface Broker {
  namesrv(): Promise<string>;
  started: RunningBroker | undefined;
  deaths: string[];
}

function ownBroker(name: string, nativeFree: boolean): Broker {
  let starting: Promise<RunningBroker> | undefined;
  const broker: Broker = {
    started: undefined,
    deaths: [],
    namesrv: async () => {
      if (broker.started?.isRunning === false) {
        broker.deaths.push(broker.started.output.slice(-DEATH_SIZE_MAX));
        starting = undefined;
      }
      starting ??= start(name, nativeFree);
      broker.started = await starting;
      return broker.started.namesrv;
    },
  };
  return broker;
}

async function start(store: string, nativeFree: boolean): Promise<RunningBroker> {
  const configFile = join(workspace, "broker.conf");
  // Small files, so that the cases also cross from one to the next.
  writeFileSync(configFile, `mapedFileSizeCommitLog=67108864\nenablePropertyFilter=true\n${SOON_ASKED}${TRACING}${RECALL}`);
  const broker = await startBroker({ store: join(workspace, store), nativeFree, configFile });
  running.push(broker);
  return broker;
}

function lazy<T>(make: () => Promise<T>): () => Promise<T> {
  let made: Promise<T> | undefined;
  return () => (made ??= make());
}

function startRun(client: ClientProgram, args: readonly string[]): CaseRun {
  const run = new CaseRun(client.program(args, workspace));
  running.push(run);
  return run;
}

/** One test for each case; `client` runs them all in one process. */
function declare(
  client: ClientProgram,
  broker: Broker,
  on: string,
  names: readonly string[],
  extra: readonly string[] = [],
): void {
  const missing = missingCommand(client.needs);
  if (missing !== undefined) {
    test.skip(`${client.title}${on}: skipped: no ${missing} on PATH`, (t) => t.pass());
    return;
  }
  const run = lazy(async () => {
    const namesrv = await broker.namesrv();
    await client.build();
    const timeout = String(CASE_TIMEOUT_S);
    const args = ["--namesrv", namesrv, "--case", names.join(","), "--parallel", PARALLEL, "--timeout", timeout, ...extra];
    return startRun(client, args);
  });
  for (const name of names) {
    test.serial(`${client.title}${on}: ${name}`, async (t) => {
      t.timeout(TEST_TIMEOUT_MS);
      const result = await (await run()).result(name);
      if (result.detail !== "" && result.ok) t.log(result.detail);
      t.true(result.ok, told(result, broker));
    });
  }
}

function told(result: CaseResult, broker: Broker): string {
  const dead =
    broker.started !== undefined && !broker.started.isRunning ? `\nthe broker has ended:\n${broker.started.output}` : "";
  return `after ${result.ms} ms: ${result.detail}${dead}`;
}

/** The runner is compiled, and has just the cases that are named here. */
function declareBuild(client: ClientProgram, sets: Record<string, readonly string[]>): void {
  if (missingCommand(client.needs) !== undefined) return;
  test.serial(`${client.title}: is built and lists its cases`, async (t) => {
    t.timeout(BUILD_TIMEOUT_MS);
    await client.build();
    const lines = await listed(client);
    for (const [set, names] of Object.entries(sets)) {
      const found = lines.filter((line) => line.startsWith(`${set} `)).map((line) => line.slice(set.length + 1));
      t.deepEqual(found.toSorted(), names.toSorted(), set);
    }
  });
}

async function listed(client: ClientProgram): Promise<string[]> {
  const { execFileSync } = await import("node:child_process");
  const { command, args, cwd } = client.program(["--list"], workspace);
  return execFileSync(command, args, { cwd, encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).split("\n");
}

const java5 = javaClient("5.5.0");
const java4 = javaClient("4.9.8");
const go = goClient();
const npm = npmClient();
const javaSets = { normal: JAVA_CASES, later: JAVA_LATER_CASES, own: JAVA_OWN_CASES };
declareBuild(java5, {
  ...javaSets,
  pop: JAVA_POP_CASES,
  whole: JAVA_WHOLE_CASES,
  wholeOwn: JAVA_WHOLE_OWN_CASES,
  timers: JAVA_TIMER_CASES,
  newer: JAVA_NEWER_CASES,
  newerOwn: JAVA_NEWER_OWN_CASES,
});
declareBuild(java4, { ...javaSets, pop: [], whole: [], wholeOwn: [], timers: [], newer: [], newerOwn: [] });
declareBuild(go, { normal: GO_CASES });
declareBuild(npm, { normal: NPM_CASES });

const main: Broker =
  target === undefined ? ownBroker("store", false) : { namesrv: () => Promise.resolve(target), started: undefined, deaths: [] };
const javaCases = [...JAVA_CASES, ...JAVA_LATER_CASES, ...(target === undefined ? JAVA_OWN_CASES : [])];
declare(java5, main, "", [
  ...javaCases,
  ...JAVA_TIMER_CASES,
  ...JAVA_NEWER_CASES,
  ...JAVA_POP_CASES,
  ...JAVA_WHOLE_CASES,
  ...(target === undefined ? [...JAVA_WHOLE_OWN_CASES, ...JAVA_NEWER_OWN_CASES] : []),
]);
declare(java4, main, "", javaCases);
declare(go, main, "", GO_CASES);
declare(npm, main, "", NPM_CASES);
declareVolume(main, "");
if (target === undefined) {
  declareStop(main, "");
  const nativeFree = ownBroker("store-native-free", true);
  declare(java5, nativeFree, ", native-free", [...JAVA_SHORT_CASES, "wholeBatch"]);
  declare(go, nativeFree, ", native-free", GO_SHORT_CASES);
  declareVolume(nativeFree, ", native-free");
  declareStop(nativeFree, ", native-free");
  declareRestart("restart", false, "");
  declareRestart("restart-native-free", true, ", native-free");
}

function declareVolume(broker: Broker, on: string): void {
  if (missingCommand(java5.needs) !== undefined) return;
  test.serial(`8 producers, 4 consumers, ${VOLUME_MESSAGES} messages of 1 KiB from each${on}: each once, in order`, async (t) => {
    t.timeout(VOLUME_TIMEOUT_S * 1000 + TEST_TIMEOUT_MS);
    const args = ["--namesrv", await broker.namesrv(), "--case", "volume"];
    const run = startRun(java5, [...args, "--messages", VOLUME_MESSAGES, "--timeout", String(VOLUME_TIMEOUT_S)]);
    const result = await run.result("volume");
    t.log(result.detail);
    t.true(result.ok, told(result, broker));
  });
}

function declareStop(broker: Broker, on: string): void {
  test.serial(`the broker outlived all cases and stops cleanly${on}`, async (t) => {
    if (broker.started === undefined) return t.pass("no case needed it");
    t.is(broker.deaths.length, 0, `it died and was started anew:\n${broker.deaths.join("\n---\n")}`);
    t.true(broker.started.isRunning, broker.started.output);
    t.is(await broker.started.stop(), 0, broker.started.output);
  });
}

function declareRestart(store: string, nativeFree: boolean, on: string): void {
  if (missingCommand(java5.needs) !== undefined) return;
  test.serial(`after a restart topics, messages, offsets, settings and keys are there${on}`, async (t) => {
    t.timeout(TEST_TIMEOUT_MS);
    for (const half of ["beforeRestart", "afterRestart"]) {
      const broker = await start(store, nativeFree);
      const run = startRun(java5, ["--namesrv", broker.namesrv, "--case", half, "--run", "restarted"]);
      const result = await run.result(half);
      t.true(result.ok, `${half}: ${result.detail}`);
      t.is(await broker.stop(), 0, broker.output);
    }
  });
}
