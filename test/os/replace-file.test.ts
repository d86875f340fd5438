import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import test, { type ExecutionContext } from "ava";
import { readReplacedFile, replaceFile } from "../../src/os/replace-file.ts";

function directory(t: ExecutionContext): string {
  const made = mkdtempSync(path.join(tmpdir(), "millrace-replace-"));
  t.teardown(() => rmSync(made, { recursive: true, force: true }));
  return made;
}

/** Whole content begins with "ok"; all else is cut short. */
function parse(bytes: Buffer): string {
  const text = bytes.toString();
  if (!text.startsWith("ok")) throw new Error(`cut short: ${text}`);
  return text;
}

test("writes, keeps the one before, leaves nothing else", async (t) => {
  const file = path.join(directory(t), "deeper", "a.json");
  const reasons: string[] = [];
  const read = (): string | undefined => readReplacedFile(file, parse, (reason) => reasons.push(reason));
  t.is(read(), undefined);
  for (const text of ["ok 1", "ok 2", "ok 3"]) await replaceFile(file, Buffer.from(text));
  t.is(read(), "ok 3");
  t.is(readFileSync(`${file}.bak`, "utf8"), "ok 2");
  t.false(existsSync(`${file}.tmp`));
  t.deepEqual(reasons, []);
});

test("takes the backup where the file is cut short or missing, and says so", async (t) => {
  const file = path.join(directory(t), "a.json");
  const reasons: string[] = [];
  const read = (): string | undefined => readReplacedFile(file, parse, (reason) => reasons.push(reason));
  for (const text of ["ok 1", "ok 2"]) await replaceFile(file, Buffer.from(text));
  writeFileSync(file, "");
  t.is(read(), "ok 1");
  rmSync(file);
  t.is(read(), "ok 1");
  t.deepEqual(reasons, ["cut short: ", "the file is missing"]);
});

test("throws what the file's reader threw when the backup is no better", (t) => {
  const file = path.join(directory(t), "a.json");
  writeFileSync(file, "half");
  t.throws(() => readReplacedFile(file, parse, () => {}), { message: "cut short: half" });
  writeFileSync(`${file}.bak`, "worse");
  t.throws(() => readReplacedFile(file, parse, () => {}), { message: "cut short: half" });
});

test("a place that cannot be written to is an error of ours", async (t) => {
  const file = path.join(directory(t), "a.json");
  mkdirSync(`${file}.tmp`);
  await t.throwsAsync(replaceFile(file, Buffer.from("ok")), { code: "MILLRACE_STORE_IO" });
});
