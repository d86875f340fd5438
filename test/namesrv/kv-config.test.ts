import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import test, { type ExecutionContext } from "ava";
import { KeyValueConfig } from "../../src/namesrv/kv-config.ts";
import { silentLog } from "../../src/observe/log.ts";

function file(t: ExecutionContext): string {
  const made = mkdtempSync(path.join(tmpdir(), "millrace-kv-"));
  t.teardown(() => rmSync(made, { recursive: true, force: true }));
  return path.join(made, "kvConfig.json");
}

test("is there again after a restart, in RocketMQ's form", async (t) => {
  const path = file(t);
  const config = KeyValueConfig.load(path, silentLog);
  t.is(config.get("n", "k"), undefined);
  t.is(config.list("n"), undefined);
  await config.put("n", "k", 'v="ü"');
  await config.put("ORDER_TOPIC_CONFIG", "T", "b:4");
  await config.put("n", "gone", "x");
  await config.delete("n", "gone");
  await config.delete("none", "k");
  t.is(readFileSync(path, "utf8"), '{"configTable":{"n":{"k":"v=\\"ü\\""},"ORDER_TOPIC_CONFIG":{"T":"b:4"}}}');
  const again = KeyValueConfig.load(path, silentLog);
  t.is(again.get("n", "k"), 'v="ü"');
  t.deepEqual([...again.list("ORDER_TOPIC_CONFIG")!], [["T", "b:4"]]);
});

test("changes made together are all on the disk when each resolves", async (t) => {
  const path = file(t);
  const config = KeyValueConfig.load(path, silentLog);
  const seen = await Promise.all(
    Array.from({ length: 50 }, async (_, index) => {
      await config.put("n", `k${index}`, "v");
      return KeyValueConfig.load(path, silentLog).get("n", `k${index}`);
    }),
  );
  t.true(seen.every((value) => value === "v"));
});

test("names like any others", async (t) => {
  const path = file(t);
  const config = KeyValueConfig.load(path, silentLog);
  await config.put("__proto__", "constructor", "v");
  t.is(KeyValueConfig.load(path, silentLog).get("__proto__", "constructor"), "v");
});

test("reads Apache's file, and the backup where it is broken; never starts empty over a broken one", async (t) => {
  const path = file(t);
  writeFileSync(path, '{"configTable":{"n":{"k":"1"}}}');
  const config = KeyValueConfig.load(path, silentLog);
  await config.put("n", "k", "2");
  writeFileSync(path, '{"configTa');
  t.is(KeyValueConfig.load(path, silentLog).get("n", "k"), "1");
  rmSync(`${path}.bak`);
  t.throws(() => KeyValueConfig.load(path, silentLog), { code: "MILLRACE_STORE_CORRUPT", message: /kvConfig\.json/ });
});

test("a failed write is told, the next one is tried anew", async (t) => {
  const path = file(t);
  const config = KeyValueConfig.load(path, silentLog);
  mkdirSync(`${path}.tmp`);
  await t.throwsAsync(config.put("n", "k", "1"), { code: "MILLRACE_STORE_IO" });
  t.is(config.get("n", "k"), "1");
  rmSync(`${path}.tmp`, { recursive: true });
  await config.put("n", "l", "2");
  t.is(KeyValueConfig.load(path, silentLog).get("n", "k"), "1");
});
