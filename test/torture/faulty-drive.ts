// A drive with faults: one of ours, whose calls fail, wait or end their thread while a file says so. Given to a broker as
// `driveModule`, with a query: base=ffi|native-free, control=<path of that file>. A fault that has fired leaves a line
// with its time in `<control>.fired`.
import fs from "node:fs";
import { threadName } from "node:worker_threads";
import { MillraceError } from "../../src/base/errors.ts";
import type { Drive, OpenFileOptions, StoreFile } from "../../src/os/api.ts";
import { loadDrive } from "../../src/os/choose.ts";

export interface Fault {
  /** Name of the thread, as of runtime/threads.ts; default: any. */
  thread?: string;
  call: "openFile" | "read" | "write" | "sync" | "reserve";
  /** Part of the file's path. */
  path: string;
  /** exit: the thread ends; throw: an error that nobody expects; eio, enospc: those of a disk; delay: it takes `ms` more. */
  action: "exit" | "throw" | "eio" | "enospc" | "delay";
  ms?: number;
  /** It fires once only. */
  isOnce?: boolean;
}

const query = new URL(import.meta.url).searchParams;
const control = query.get("control")!;
const base = await loadDrive(query.get("base") === "native-free" ? "native-free" : "ffi");

/** From a test: from now on these faults fire. */
export function setFaults(file: string, faults: readonly Fault[]): void {
  fs.writeFileSync(`${file}.new`, JSON.stringify(faults));
  fs.renameSync(`${file}.new`, file);
}

export interface Fired {
  atMs: number;
  thread: string;
  call: string;
}

export function firedFaults(file: string): Fired[] {
  if (!fs.existsSync(`${file}.fired`)) return [];
  const lines = fs.readFileSync(`${file}.fired`, "utf8").split("\n");
  return lines.filter((line) => line !== "").map((line) => JSON.parse(line) as Fired);
}

export function driveModule(name: "ffi" | "native-free", file: string): `file:${string}` {
  const url = new URL(import.meta.url);
  url.search = new URLSearchParams({ base: name, control: file }).toString();
  return url.href as `file:${string}`;
}

function meet(call: Fault["call"], path: string): void {
  let faults: Fault[];
  try {
    faults = JSON.parse(fs.readFileSync(control, "utf8")) as Fault[];
  } catch {
    return; // None are set.
  }
  const at = faults.findIndex(
    (fault) => fault.call === call && path.includes(fault.path) && (fault.thread === undefined || fault.thread === threadName),
  );
  const fault = faults[at];
  if (fault === undefined) return;
  if (fault.action !== "delay")
    fs.appendFileSync(`${control}.fired`, `${JSON.stringify({ atMs: Date.now(), thread: threadName, call })}\n`);
  if (fault.isOnce === true) setFaults(control, faults.toSpliced(at, 1));
  switch (fault.action) {
    case "exit":
      process.exit(7);
      break;
    case "throw":
      throw new Error(`injected into ${call} of ${path}`);
    case "eio":
      throw new MillraceError("MILLRACE_STORE_IO", `EIO: injected into ${call} of ${path}`);
    case "enospc":
      throw new MillraceError("MILLRACE_STORE_FULL", `ENOSPC: injected into ${call} of ${path}`);
    case "delay":
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, fault.ms ?? 0);
      break;
  }
}

class FaultyFile implements StoreFile {
  readonly path: string;
  readonly size: number;
  readonly fd: number;
  readonly mapped: Buffer | undefined;
  readonly address: number;
  readonly #file: StoreFile;

  constructor(file: StoreFile) {
    this.#file = file;
    this.path = file.path;
    this.size = file.size;
    this.fd = file.fd;
    this.mapped = file.mapped;
    this.address = file.address;
  }

  read(position: number, target: Buffer, targetStart: number, size: number): void {
    meet("read", this.path);
    this.#file.read(position, target, targetStart, size);
  }

  write(position: number, source: Buffer, start: number, end: number): void {
    meet("write", this.path);
    this.#file.write(position, source, start, end);
  }

  sync(): void {
    meet("sync", this.path);
    this.#file.sync();
  }

  reserve(position?: number, size?: number): void {
    meet("reserve", this.path);
    this.#file.reserve(position, size);
  }

  isResident(position: number, size: number): boolean {
    return this.#file.isResident(position, size);
  }

  load(position: number, size: number, done: () => void): void {
    this.#file.load(position, size, done);
  }

  dropPages(): void {
    this.#file.dropPages();
  }

  close(): void {
    this.#file.close();
  }
}

export const drive: Drive = {
  ...base,
  openFile(path: string, options: OpenFileOptions): StoreFile {
    meet("openFile", path);
    return new FaultyFile(base.openFile(path, options));
  },
  adoptFile: (path, size, fd) => new FaultyFile(base.adoptFile(path, size, fd)),
};
