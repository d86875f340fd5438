import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "ava";
import { ConfigFile } from "../../src/broker/config-file.ts";

function place(t: { teardown(end: () => void): void }): string {
  const directory = mkdtempSync(join(tmpdir(), "config-file-"));
  t.teardown(() => rmSync(directory, { recursive: true }));
  return join(directory, "config", "a.json");
}

test("what was saved is loaded, and the text before it is kept", (t) => {
  const path = place(t);
  const file = new ConfigFile(path);
  t.is(file.load(), undefined);
  file.save("1");
  file.save("2");
  t.is(new ConfigFile(path).load(), "2");
  t.is(readFileSync(`${path}.bak`, "utf8"), "1");
  t.deepEqual(readdirSync(join(path, "..")).sort(), ["a.json", "a.json.bak"], "nothing else is left over");
});

test("an empty, missing or unreadable file falls back to the one before", (t) => {
  const path = place(t);
  const file = new ConfigFile(path);
  file.save("[1]");
  file.save("[2]");
  writeFileSync(path, "");
  t.is(file.load(), "[1]");
  writeFileSync(path, "[2");
  t.deepEqual(file.read(JSON.parse), [1]);
  rmSync(path);
  t.is(file.load(), "[1]");
  writeFileSync(`${path}.bak`, "{");
  t.throws(() => file.read(JSON.parse), { code: "MILLRACE_STORE_CORRUPT", message: /a\.json/ });
});

test("later saves share one write, which takes the newest text", async (t) => {
  const path = place(t);
  const file = new ConfigFile(path);
  let made = 0;
  let text = "";
  const save = (): Promise<void> =>
    file.saveLater(() => {
      made++;
      return text;
    });
  const first = save();
  text = "1";
  const second = save();
  text = "2";
  await Promise.all([first, second]);
  t.is(file.load(), "2");
  t.is(made, 1);
  const third = save();
  await Promise.resolve();
  await Promise.resolve();
  text = "4";
  await Promise.all([third, save()]);
  t.is(file.load(), "4");
});

test("a failed write does not spoil the next one", async (t) => {
  const path = place(t);
  const file = new ConfigFile(path);
  const failed = file.saveLater(() => {
    throw new Error("no text");
  });
  await t.throwsAsync(failed);
  await file.saveLater(() => "1");
  t.is(file.load(), "1");
});

test("a save that blocks wins over a write that was under way", async (t) => {
  const path = place(t);
  const file = new ConfigFile(path);
  const older = file.saveLater(() => "older");
  await Promise.resolve();
  await Promise.resolve();
  file.save("newer");
  await older;
  await file.saveLater(() => "newest");
  t.is(file.load(), "newest");
});
