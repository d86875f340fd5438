// `npm test`: the checks, the tests, and once more on each drive those that touch the store.
// The last line is always `N passed, N failed`; a check counts as a test. Exit code 1 on any failure.
//   --only check|unit|drives   (repeatable) only these parts
//   FILE...                    only these test files (patterns), on the drives where they are *.drive.test.ts
import { spawn } from "node:child_process";
import { globSync } from "node:fs";
import { basename, join } from "node:path";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";

const ROOT = join(import.meta.dirname, "..");
/** Tests whose file is named so read MILLRACE_DRIVE and run once for each of its values. */
const DRIVE_TESTS = "**/*.drive.test.ts";
const DRIVES = ["ffi", "native-free"];
/** A run that takes longer has hung; the closing line must still come. */
const RUN_TIME_MS_MAX = 14 * 60_000;
/** So many files that fail beside others run once more by themselves; more have a cause in common. */
const AGAIN_FILES_MAX = 3;
const FAILED_TEST = "  ✘ [fail]: ";
const deadline = AbortSignal.timeout(RUN_TIME_MS_MAX);

let passed = 0;
let failed = 0;
const skipped = new Set<string>();
const unsteady: string[] = [];

const { values, positionals } = parseArgs({
  options: { only: { type: "string", multiple: true, default: ["check", "unit", "drives"] } },
  allowPositionals: true,
});
const parts = positionals.length > 0 ? ["unit", "drives"] : values.only;
const unknownPart = parts.find((part) => !["check", "unit", "drives"].includes(part));
if (unknownPart !== undefined) {
  console.error(`--only ${unknownPart}: allowed: check, unit, drives`);
  process.exit(2);
}

if (parts.includes("check")) {
  await check("types", "tsc", ["--noEmit"]);
  await check("lint", "oxlint", ["--deny-warnings"]);
  await check("format", "biome", ["check", "--reporter=summary"]);
  for (const bench of globSync("bench/**/*.bench.ts", { cwd: ROOT }).toSorted())
    await check(`${bench} --smoke`, "node", [bench, "--smoke"]);
}
const files = testFiles();
const plain = parts.includes("unit") ? files.filter((file) => !isDriveTest(file)) : [];
const driveTests = parts.includes("drives") ? files.filter(isDriveTest) : [];
// The official clients mostly wait, for minutes: beside everything else.
const [clients, others] = [plain.filter(isClientTest), plain.filter((file) => !isClientTest(file))];
const besides = clients.length > 0 ? ava("official clients", clients, {}) : Promise.resolve();
if (others.length > 0) await ava("tests", others, {});
if (driveTests.length > 0)
  for (const drive of DRIVES) await ava(`tests on drive ${drive}`, driveTests, { MILLRACE_DRIVE: drive });
await besides;

for (const title of skipped) console.log(`skipped: ${title}`);
for (const title of unsteady) console.log(`unsteady (failed beside other tests, passed by itself): ${title}`);
if (passed + failed === 0) {
  console.error("nothing matched: no check and no test was run");
  failed++;
}
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed > 0 ? 1 : 0;

function testFiles(): string[] {
  const patterns = positionals.length > 0 ? positionals : ["test/**/*.test.ts"];
  return globSync(patterns, { cwd: ROOT })
    .filter((file) => file.endsWith(".test.ts") && !file.includes("node_modules"))
    .toSorted();
}

function isClientTest(file: string): boolean {
  return file.startsWith("test/clients/");
}

function isDriveTest(file: string): boolean {
  return file.endsWith(DRIVE_TESTS.slice("**/*".length));
}

/** One check is one test: it passes when the command ends with 0; what it says is shown only when it fails. */
async function check(name: string, command: string, args: string[]): Promise<void> {
  const started = performance.now();
  const lines: string[] = [];
  const code = await run(command, args, {}, (line) => lines.push(line));
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  if (code === 0) {
    passed++;
    console.log(`  ✔ ${name} (${seconds} s)`);
  } else {
    failed++;
    console.log(lines.join("\n"));
    console.log(`  ✘ ${name} (${seconds} s), exit code ${code}${name === "format" ? "; npm run fix puts it right" : ""}`);
  }
}

/**
 * Runs test files; when few of them fail, runs those once more by themselves. What passes then is named as
 * unsteady, not counted as failed: a wait that was too short beside other tests on a busy machine is no fault
 * of the product. A real fault fails twice.
 */
async function ava(title: string, testPaths: string[], env: Record<string, string>): Promise<void> {
  const first = await avaOnce(title, testPaths, env);
  passed += first.passed;
  const again = testPaths.filter((file) => first.crosses.some((line) => testPaths.length === 1 || isAbout(line, file)));
  const allKnown = testPaths.length === 1 || first.crosses.every((line) => testPaths.some((file) => isAbout(line, file)));
  if (again.length === 0 || again.length > AGAIN_FILES_MAX || !allKnown) {
    failed += first.crosses.length;
    return;
  }
  const second = await avaOnce(`${title}, again by themselves`, again, env, ["--concurrency=1", "--serial"]);
  failed += second.crosses.length;
  if (second.crosses.length > 0) return;
  passed += first.crosses.filter((line) => line.startsWith(FAILED_TEST)).length;
  for (const line of first.crosses) unsteady.push(line.slice("  ✘ ".length));
}

/** Counts by ava's own lines: two blanks and a tick or a cross stand before each test, and a cross also before
 * what went wrong outside of any test (a file that ended early, a time-out). */
async function avaOnce(
  title: string,
  testPaths: string[],
  env: Record<string, string>,
  options: string[] = [],
): Promise<{ passed: number; crosses: string[] }> {
  console.log(`\n${title}: ${testPaths.length} files`);
  const crosses: string[] = [];
  let ticks = 0;
  const code = await run("ava", [...options, ...testPaths], env, (line) => {
    console.log(line);
    if (line.startsWith("  ✔ ")) ticks++;
    else if (line.startsWith("  ✘ ")) crosses.push(line);
    else if (line.startsWith("  - [skip] ") || line.startsWith("  - [todo] ")) skipped.add(line.slice("  - [skip] ".length));
  });
  if (code !== 0 && crosses.length === 0) {
    crosses.push(`  ✘ ${title}: ava ended with exit code ${code}`);
    console.log(crosses[0]);
  }
  return { passed: ticks, crosses };
}

/** Whether a line of ava's about a failure may be about this file: by its path, or by its name before a test's title. */
function isAbout(line: string, file: string): boolean {
  return line.includes(file) || line.includes(` ${basename(file, ".test.ts")} › `);
}

/** Runs a command of node_modules/.bin, its output given line by line. @returns its exit code; 1 if a signal ended it or it did not start */
function run(command: string, args: string[], env: Record<string, string>, onLine: (line: string) => void): Promise<number> {
  const bin = join(ROOT, "node_modules", ".bin");
  const child = spawn(command, args, {
    cwd: ROOT,
    env: { ...process.env, NO_COLOR: "1", FORCE_COLOR: "0", PATH: `${bin}:${process.env["PATH"]}`, ...env },
    stdio: ["ignore", "pipe", "pipe"],
    signal: deadline,
  });
  const streams = [child.stdout, child.stderr].map((stream) => {
    const lines = createInterface({ input: stream });
    lines.on("line", onLine);
    return new Promise((resolve) => lines.once("close", resolve));
  });
  return new Promise((resolve) => {
    child.once("error", (error) => {
      onLine(deadline.aborted ? `${command}: stopped, the run took longer than ${RUN_TIME_MS_MAX / 60_000} min` : error.message);
      resolve(1);
    });
    child.once("exit", (code) => {
      void Promise.all(streams).then(() => resolve(code ?? 1));
    });
  });
}
