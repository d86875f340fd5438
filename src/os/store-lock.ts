import fs from "node:fs";
import { MillraceError } from "../base/errors.ts";
import { readSmallFile, storeError } from "./files.ts";

/**
 * The part of the store lock that both drives share: the `lock` file names its holder, and a second
 * open inside this process (any thread) is refused. The text starts with `lock`, as Apache's does.
 */
const HELD = Symbol.for("millrace.heldStoreLocks");

function held(): Set<string> {
  const shared = globalThis as unknown as Record<symbol, Set<string> | undefined>;
  shared[HELD] ??= new Set();
  return shared[HELD];
}

export function lockedError(lockFile: string, holder: string): MillraceError {
  return new MillraceError("MILLRACE_STORE_LOCKED", `the store is in use: ${lockFile} is held by ${holder}`, {
    lockFile,
    holder,
  });
}

/** Opens the lock file and checks the holder that it names. @returns the open descriptor */
export function openLockFile(lockFile: string): number {
  if (held().has(lockFile)) throw lockedError(lockFile, `this process (pid ${process.pid})`);
  let fd: number;
  try {
    fd = fs.openSync(lockFile, fs.constants.O_RDWR | fs.constants.O_CREAT, 0o644);
  } catch (error) {
    throw storeError(error, "open", lockFile);
  }
  const holder = holderIn(fs.readFileSync(fd));
  if (holder !== undefined && holder.pid !== process.pid && startTicks(holder.pid) === holder.start) {
    fs.closeSync(fd);
    throw lockedError(lockFile, `pid ${holder.pid}`);
  }
  return fd;
}

/**
 * Refuses a store that a live process has named itself the holder of. Leaves the lock file as it is.
 * @throws MillraceError MILLRACE_STORE_LOCKED
 */
export function refuseNamedHolder(lockFile: string): void {
  // Before the file is opened: closing it would take this process's own lock away.
  if (held().has(lockFile)) throw lockedError(lockFile, `this process (pid ${process.pid})`);
  const holder = holderIn(readSmallFile(lockFile));
  if (holder !== undefined && startTicks(holder.pid) === holder.start) throw lockedError(lockFile, `pid ${holder.pid}`);
}

/** The process that the lock file names; undefined also where there is no such file. */
export function namedHolder(lockFile: string): number | undefined {
  return holderIn(readSmallFile(lockFile))?.pid;
}

/** Is there surely no process of that id? Start times do not count: readers in other time namespaces see others. */
export function isProcessGone(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return false;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "ESRCH";
  }
}

/** Writes ourselves into the lock file as its holder. */
export function nameHolder(lockFile: string, fd: number): void {
  fs.ftruncateSync(fd, 0);
  fs.writeSync(fd, `lock pid=${process.pid} start=${startTicks(process.pid) ?? 0}\n`, 0);
  held().add(lockFile);
}

export function releaseHolder(lockFile: string, fd: number): void {
  held().delete(lockFile);
  fs.ftruncateSync(fd, 0);
  fs.writeSync(fd, "lock", 0);
  fs.closeSync(fd);
}

/** What `nameHolder` has written. */
function holderIn(text: Buffer | undefined): { pid: number; start: number } | undefined {
  const [, pid, start] = /^lock pid=(\d+) start=(\d+)/.exec(text?.toString("latin1") ?? "") ?? [];
  return pid === undefined ? undefined : { pid: Number(pid), start: Number(start) };
}

/** Start time of a live process in clock ticks since boot; undefined if there is none. Tells a reused pid apart. */
function startTicks(pid: number): number | undefined {
  try {
    const stat = fs.readFileSync(`/proc/${pid}/stat`, "latin1");
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    // Dead, and only not waited for yet by who started it; of a leader whose threads still end, the number says so.
    if (/[ZX]/.test(fields[0]!) && Number(fields[17]) <= 1) return undefined;
    return Number(fields[19]);
  } catch {
    try {
      process.kill(pid, 0); // No /proc on this system: being alive must do.
      return 0;
    } catch {
      return undefined;
    }
  }
}
