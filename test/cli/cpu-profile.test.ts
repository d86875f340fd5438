// Goal: `up --cpu-prof DIR` leaves a profile of every thread of the broker, under the process id it was started with.
// Method: the real command; the profiles are looked into for the threads' own files.
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "ava";
import { Command } from "./command.ts";

test("a profile of each thread", async (t) => {
  t.timeout(180_000);
  const directory = mkdtempSync(join(tmpdir(), "millrace-profile-"));
  const ports = ["--host", "127.0.0.1", "--port", "0", "--namesrv-port", "0"];
  const command = new Command(["up", ...ports, "--store", "memory", "--cpu-prof", directory]);
  t.teardown(() => {
    command.child.kill("SIGKILL");
    rmSync(directory, { recursive: true });
  });
  const [, pid] = await command.line(/^ready .* pid=(\d+)$/m);
  t.is(Number(pid), command.child.pid!);
  t.is((await command.end("SIGTERM")).code, 0, command.stderr);
  const threads = new Set<string>();
  for (const name of readdirSync(directory)) {
    const text = readFileSync(join(directory, name), "utf8");
    for (const [, thread] of text.matchAll(/\/workers\/([\w-]+)\.ts"/g)) threads.add(thread!);
  }
  for (const thread of ["io", "queue-indexer", "key-indexer", "flusher"]) t.true(threads.has(thread), [...threads].join(", "));
});
