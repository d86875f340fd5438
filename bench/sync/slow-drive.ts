// One of our drives on a disk that is slower: each wait for the disk takes longer. Given to a broker as `driveModule`, with
// a query: base=ffi|native-free, ms=<how much longer>.
import type { Drive, FileSystemSyncer, StoreFile } from "../../src/os/api.ts";
import { loadDrive } from "../../src/os/choose.ts";

const query = new URL(import.meta.url).searchParams;
const base = await loadDrive(query.get("base") === "native-free" ? "native-free" : "ffi");
const ms = Number(query.get("ms"));
const nobody = new Int32Array(new SharedArrayBuffer(4));

export function slowDriveModule(name: string, slowerMs: number): string {
  const url = new URL(import.meta.url);
  url.search = new URLSearchParams({ base: name, ms: String(slowerMs) }).toString();
  return url.href;
}

/** Blocks the thread, as a system call does. */
export function waitAsDisk(slowerMs: number): void {
  Atomics.wait(nobody, 0, 0, slowerMs);
}

function slowed<A extends unknown[], R>(call: (...values: A) => R): (...values: A) => R {
  return (...values) => {
    waitAsDisk(ms);
    return call(...values);
  };
}

function slowFile(file: StoreFile): StoreFile {
  file.sync = slowed(file.sync.bind(file));
  return file;
}

const { names } = base;

export const drive: Drive = {
  ...base,
  names: {
    ...names,
    syncDirectory: slowed((directory: string) => names.syncDirectory(directory)),
    syncFile: slowed((file: string) => names.syncFile(file)),
    writeSmall: slowed((file: string, bytes: Buffer) => names.writeSmall(file, bytes)),
  },
  openFile: (path, options) => slowFile(base.openFile(path, options)),
  adoptFile: (path, size, fd) => slowFile(base.adoptFile(path, size, fd)),
  ...(base.fileSystemSyncer === undefined ? {} : { fileSystemSyncer: slowSyncer }),
};

function slowSyncer(directory: string): FileSystemSyncer {
  const syncer = base.fileSystemSyncer!(directory);
  return { sync: slowed(() => syncer.sync()), close: () => syncer.close() };
}
