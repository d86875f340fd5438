// Goal: a store whose holder is dead can be opened, also while nobody has waited for the dead process; that of a living one not.
// Method: lock files that name processes of ours.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import test, { type ExecutionContext } from "ava";
import { nativeFreeDrive } from "../../native-free/drive.ts";

const onLinux = process.platform === "linux" ? test : test.skip;

/** A lock file that names the process as its holder. */
function lockOf(t: ExecutionContext, pid: number): string {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), "millrace-lock-test-"));
  t.teardown(() => fs.rmSync(directory, { recursive: true }));
  const file = path.join(directory, "lock");
  fs.writeFileSync(file, `lock pid=${pid} start=${fieldsOf(pid)[19]}\n`);
  return file;
}

/** Of /proc/<pid>/stat, from the state on. */
function fieldsOf(pid: number): string[] {
  const stat = fs.readFileSync(`/proc/${pid}/stat`, "latin1");
  return stat.slice(stat.lastIndexOf(")") + 2).split(" ");
}

function started(t: ExecutionContext, script: string): ChildProcess {
  const child = spawn("sh", ["-c", script], { stdio: ["ignore", "pipe", "ignore"] });
  t.teardown(() => child.kill("SIGKILL"));
  return child;
}

onLinux("held by a living process: refused, with its number", (t) => {
  const { pid } = started(t, "exec sleep 60");
  t.throws(() => nativeFreeDrive.lockStore(lockOf(t, pid!)), {
    code: "MILLRACE_STORE_LOCKED",
    message: new RegExp(`pid ${pid}$`),
  });
});

onLinux("named by a process that was killed and not waited for: taken", async (t) => {
  const parent = started(t, "sleep 60 & echo $!; exec sleep 60"); // Which does not wait for its child.
  const [line] = (await once(parent.stdout!, "data")) as [Buffer];
  const pid = Number(line);
  const lock = lockOf(t, pid);
  process.kill(pid, "SIGKILL");
  while (fieldsOf(pid)[0] !== "Z") await sleep(5);
  const held = nativeFreeDrive.lockStore(lock);
  t.regex(fs.readFileSync(lock, "utf8"), new RegExp(`^lock pid=${process.pid} `));
  held.release();
});
