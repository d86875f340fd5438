// Goal: `npm run bench` gives whole results and accounts for each message; what is wrong with a start is said in a line; and
// nothing is left behind, however it ends.
// Method: smoke runs of the real command, with a directory of their own for temporary files.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test, { type ExecutionContext } from "ava";
import type { CaseResult } from "../../bench/load/case-run.ts";
import { CASES } from "../../bench/load/cases.ts";
import { faults } from "../../bench/load/report.ts";

const MAIN = join(import.meta.dirname, "../../bench/load/main.ts");
const directory = mkdtempSync(join(tmpdir(), "millrace-bench-test-"));
test.after.always(() => rmSync(directory, { recursive: true }));

/** @returns what the bench has put into its directory for temporary files, as `left` */
function bench(t: ExecutionContext, name: string, ...args: string[]): { child: ChildProcess; left: () => string[] } {
  const scratch = join(directory, name);
  mkdirSync(scratch);
  const child = spawn(process.execPath, [MAIN, ...args], { stdio: "pipe", env: { ...process.env, TMPDIR: scratch } });
  t.teardown(() => void child.kill("SIGKILL"));
  // Node itself may keep compiled code there.
  return { child, left: () => readdirSync(scratch).filter((file) => file !== "node-compile-cache") };
}

async function finished(child: ChildProcess): Promise<{ code: number | null; stdout: string; stderr: string }> {
  let [stdout, stderr] = ["", ""];
  child.stdout!.on("data", (chunk) => (stdout += chunk));
  child.stderr!.on("data", (chunk) => (stderr += chunk));
  const [code] = (await once(child, "close")) as [number | null];
  return { code, stdout, stderr };
}

test("a smoke run measures every case and accounts for every message", async (t) => {
  const json = join(directory, "results.json");
  const { child, left } = bench(t, "smoke", "--smoke", "--json", json);
  const { code, stdout, stderr } = await finished(child);
  t.is(code, 0, stderr + stdout);
  const report = JSON.parse(readFileSync(json, "utf8")) as { commit: string; node: string; cpu: string; cases: CaseResult[] };
  t.deepEqual(
    report.cases.map(({ name }) => name),
    CASES.map(({ name }) => name),
  );
  t.is(report.node, process.version);
  for (const { title, load } of CASES) {
    const { counts, messages, missing, answerMs, deliveryMs } = report.cases.find((result) => result.title === title)!;
    t.true(messages > 0, title);
    t.is(counts.sent, counts.answered + counts.rejected, title);
    t.true(stdout.includes(`${title}: ${counts.sent.toLocaleString("en-US")} sent = `), title);
    t.is(answerMs === undefined, load === "fill", title);
    t.is(deliveryMs !== undefined, load === "paced", title);
    t.is(missing, load === "closed" ? undefined : 0, title);
    if (load !== "closed") t.is(counts.received, counts.answered, title);
  }
  t.deepEqual(left(), []);
});

test("a port in use, nobody to measure, a wrong flag: one clear line each", async (t) => {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  t.teardown(() => void server.close());
  const { port } = server.address() as AddressInfo;
  const attempts: [name: string, args: string[], code: number, expected: RegExp][] = [
    ["port", ["--smoke", "--port", String(port)], 1, new RegExp(`in use: 127\\.0\\.0\\.1:${port}\\n$`)],
    ["against", ["--smoke", "--against", "127.0.0.1:1"], 1, /^bench: 127\.0\.0\.1:1: cannot connect/],
    ["pid", ["--smoke", "--against", "127.0.0.1:1", "--pid", "4194999"], 1, /^bench: --pid 4194999: there is no such process\n$/],
    ["cases", ["--cases", "sned"], 2, /^bench: --cases: there is no "sned"; there are send, /],
    ["size", ["--size", "3"], 2, /^bench: --size 3: allowed: a whole number from 16 to /],
    ["mixed", ["--against", "127.0.0.1:1", "--set", "a=b"], 2, /^bench: --set is for the broker that the bench starts/],
  ];
  for (const [name, args, expectedCode, expected] of attempts) {
    const { child, left } = bench(t, name, ...args);
    const { code, stderr } = await finished(child);
    t.is(code, expectedCode, name);
    t.regex(stderr, expected, name);
    t.deepEqual(left(), [], name);
  }
});

test("stopped half way, it leaves no broker and no store", async (t) => {
  const { child, left } = bench(t, "stopped", "--smoke", "--cases", "send", "--seconds", "60");
  const ended = finished(child);
  while (!(await once(child.stdout!, "data")).toString().includes("msg/s")); // The broker is ready by then.
  t.is(left().length, 1);
  child.kill("SIGTERM");
  const { code } = await ended;
  t.is(code, 143);
  t.deepEqual(left(), []);
});

test("what did not go as it should is found", (t) => {
  const counts = { sent: 10, answered: 10, rejected: 0, received: 10, duplicate: 0, disordered: 0, damaged: 0, assigned: 4 };
  const good = { title: "case", messages: 5, missing: 0, counts } as CaseResult;
  t.deepEqual(faults(good), []);
  const bad: [Partial<CaseResult>, RegExp][] = [
    [{ counts: { ...counts, sent: 13 } }, /3 sends were neither answered nor rejected/],
    [{ counts: { ...counts, answered: 8, rejected: 2 } }, /2 sends were rejected/],
    [{ missing: 1 }, /1 messages were acknowledged, but did not arrive/],
    [{ counts: { ...counts, damaged: 1 } }, /another size/],
    [{ messages: 0 }, /nothing went through/],
  ];
  for (const [change, expected] of bad) {
    const [fault, ...others] = faults({ ...good, ...change });
    t.regex(fault!, expected);
    t.deepEqual(others, []);
  }
});
