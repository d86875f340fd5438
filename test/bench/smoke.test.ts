// Goal: the benchmarks that are commands of their own run (peers, guard, batching, layouts, restart, idle, sync, bare, cold, queues,
// overload, timers), and give what they promise.
// Method: smoke runs of the real commands; nothing is left behind.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test, { type ExecutionContext } from "ava";

const BENCH = join(import.meta.dirname, "../../bench");
const directory = mkdtempSync(join(tmpdir(), "millrace-smoke-test-"));
test.after.always(() => rmSync(directory, { recursive: true }));

async function run(t: ExecutionContext, name: string, ...args: string[]): Promise<{ stdout: string; code: number | null }> {
  t.timeout(600_000); // On a busy machine a broker takes half a minute to start.
  const scratch = join(directory, name);
  mkdirSync(scratch);
  const command = [join(BENCH, name, "main.ts"), ...args];
  const child = spawn(process.execPath, command, { stdio: "pipe", env: { ...process.env, TMPDIR: scratch } });
  t.teardown(() => void child.kill("SIGKILL"));
  let stdout = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => (stdout += chunk));
  const [code] = (await once(child, "close")) as [number | null];
  t.deepEqual(readdirSync(scratch).filter((file) => file !== "node-compile-cache"), [], stdout); // biome-ignore format: one claim.
  return { stdout, code };
}

test.serial("peers: Millrace alone", async (t) => {
  const [json, html] = [join(directory, "peers.json"), join(directory, "peers.html")];
  const cases = "start,single-1k,pull-1k,flow-1k,whole-100-128,whole-1k-120,read-1k";
  const { stdout, code } = await run(t, "peers", "--smoke", "--cases", cases, "--json", json, "--html", html);
  t.is(code, 0, stdout);
  const { runs, peers } = JSON.parse(readFileSync(json, "utf8")) as {
    runs: { case: string; result: { refused: number } }[];
    peers: { firstMessageMs: number[] }[];
  };
  t.deepEqual(["start", ...runs.map((one) => one.case)].toSorted(), cases.split(",").toSorted());
  t.true(peers.every(({ firstMessageMs }) => firstMessageMs[0]! > 0));
  t.true(runs.every(({ result }) => result.refused === 0));
  t.true(readFileSync(html, "utf8").includes("whole-100-128"));
});

test.serial("peers: a wrong flag is told in a line", async (t) => {
  const scratch = spawn(process.execPath, [join(BENCH, "peers/main.ts"), "--peers", "kafak"], { stdio: "pipe" });
  let said = "";
  scratch.stdout.on("data", (chunk) => (said += chunk));
  const [code] = (await once(scratch, "close")) as [number | null];
  t.is(code, 2);
  t.regex(said, /^bench:peers: --peers kafak: must be one of rocketmq, kafka, redis\n$/);
});

test.serial("guard: measures, and says what got worse", async (t) => {
  const [json, baseline] = [join(directory, "guard.json"), join(directory, "baseline.json")];
  const { stdout, code } = await run(t, "guard", "--smoke", "--save", "--baseline", baseline, "--json", json, "crc");
  t.is(code, 0, stdout);
  const { figures } = JSON.parse(readFileSync(json, "utf8")) as { figures: { name: string }[] };
  t.true(figures.some(({ name }) => name.includes("broker CPU")));
  t.true(
    figures.some(({ name }) => name.startsWith("CRC-32")),
    JSON.stringify(figures.map(({ name }) => name)),
  );
  t.true(existsSync(baseline));
});

test.serial("layouts", async (t) => {
  const [json, html] = [join(directory, "layouts.json"), join(directory, "layouts.html")];
  const { stdout, code } = await run(t, "layouts", "--smoke", "--json", json, "--html", html);
  t.is(code, 0, stdout);
  const { points } = JSON.parse(readFileSync(json, "utf8")) as { points: { messagesPerSecond: number }[] };
  t.is(points.length, 8);
  t.true(points.every(({ messagesPerSecond }) => messagesPerSecond > 0));
});

test.serial("restart: a killed store is served again, on both drives", async (t) => {
  const json = join(directory, "restart.json");
  const { stdout, code } = await run(t, "restart", "--smoke", "--json", json);
  t.is(code, 0, stdout);
  const { starts } = JSON.parse(readFileSync(json, "utf8")) as { starts: { drive: string; newPull: number }[] };
  t.deepEqual(starts.map(({ drive }) => drive), ["ffi", "native-free"]); // biome-ignore format: one claim.
  t.true(starts.every(({ newPull }) => newPull > 0));
});

test.serial("sync: the broker beside the bare disk", async (t) => {
  const json = join(directory, "sync.json");
  const { stdout, code } = await run(t, "sync", "--smoke", "--json", json);
  t.is(code, 0, stdout);
  const { medians } = JSON.parse(readFileSync(json, "utf8")) as { medians: { senders: number; flushesPerSecond: number }[] };
  t.deepEqual(medians.map(({ senders }) => senders), [1, 4]); // biome-ignore format: one claim.
  t.true(medians.every(({ flushesPerSecond }) => flushesPerSecond > 0));
});

test.serial("timers: what waits, and how late it comes", async (t) => {
  const json = join(directory, "timers.json");
  const { stdout, code } = await run(t, "timers", "--smoke", "--json", json);
  t.is(code, 0, stdout);
  const { results } = JSON.parse(readFileSync(json, "utf8")) as {
    results: { count: number; early: number; waitingMb: number }[];
  };
  t.deepEqual(results.map(({ count, early }) => [count, early]), [[300, 0], [300, 0]]); // biome-ignore format: one claim.
  t.true(results.every(({ waitingMb }) => waitingMb > 0));
});

test.serial("bare: the broker beside programs that only make the system calls", async (t) => {
  const json = join(directory, "bare.json");
  const { stdout, code } = await run(t, "bare", "--smoke", "--cases", "costs,pull,pull-long,sync-1k", "--json", json);
  t.is(code, 0, stdout);
  const { runs } = JSON.parse(readFileSync(json, "utf8")) as {
    runs: { contender: string; result: { messagesPerSecond: number } }[];
  };
  t.deepEqual(runs.map(({ contender }) => contender), ["millrace", "writev", "millrace", "sendfile", "millrace", "store"]); // biome-ignore format: one claim.
  t.true(
    runs.every(({ result }) => result.messagesPerSecond > 0),
    stdout,
  );
});

test.serial("cold: producers beside a reader of what is on the disk alone", async (t) => {
  const json = join(directory, "cold.json");
  const { stdout, code } = await run(t, "cold", "--smoke", "--json", json);
  t.is(code, 0, stdout);
  const { rounds, unanswered } = JSON.parse(readFileSync(json, "utf8")) as {
    rounds: { readGigabytes: number }[];
    unanswered: number;
  };
  t.true(
    rounds.every(({ readGigabytes }) => readGigabytes > 0),
    stdout,
  );
  t.is(unanswered, 0);
});

test.serial("queues: many topics beside one", async (t) => {
  const json = join(directory, "queues.json");
  const { stdout, code } = await run(t, "queues", "--smoke", "--json", json);
  t.is(code, 0, stdout);
  const { results } = JSON.parse(readFileSync(json, "utf8")) as { results: { topics: number; results: object[] }[] };
  t.deepEqual(results.map(({ topics, results: all }) => [topics, all.length]), [[1, 1], [20, 1]]); // biome-ignore format: one claim.
});

test.serial("overload: every send is answered or refused", async (t) => {
  const json = join(directory, "overload.json");
  const { stdout, code } = await run(t, "overload", "--smoke", "--json", json);
  t.is(code, 0, stdout);
  const { outcomes } = JSON.parse(readFileSync(json, "utf8")) as { outcomes: { sent: number; isRight: boolean }[] };
  t.is(outcomes.length, 5);
  t.true(
    outcomes.every(({ sent, isRight }) => sent > 0 && isRight),
    stdout,
  );
});

test.serial("batching", async (t) => {
  const [json, html] = [join(directory, "batching.json"), join(directory, "batching.html")];
  const { stdout, code } = await run(t, "batching", "--smoke", "--json", json, "--html", html);
  t.is(code, 0, stdout);
  const { points } = JSON.parse(readFileSync(json, "utf8")) as { points: { way: string }[] };
  t.deepEqual(points.map(({ way }) => way), ["single", "linger 5 ms, whole, lz4"]); // biome-ignore format: one claim.
});

test.serial("idle: what a broker costs while nothing happens", async (t) => {
  const json = join(directory, "idle.json");
  const { stdout, code } = await run(t, "idle", "--smoke", "--json", json);
  t.is(code, 0, stdout);
  const { results } = JSON.parse(readFileSync(json, "utf8")) as {
    results: Record<"alone" | "withClients", { rss: number; wakeUps: object }>;
  };
  for (const { rss } of [results.alone, results.withClients]) t.true(rss > 1);
});
