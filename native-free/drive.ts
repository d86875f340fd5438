import fs from "node:fs";
import type { Drive, FileLock, OpenFileOptions, StoreFile } from "../src/os/api.ts";
import { closeFd, openSized, storeError, syncFd } from "../src/os/files.ts";
import { nameHolder, openLockFile, releaseHolder } from "../src/os/store-lock.ts";

/** The pure-Node drive: positional reads and writes, no foreign calls. Slower, otherwise complete. */
export const nativeFreeDrive: Drive = {
  name: "native-free",
  openFile: (path, options) => (options.keepDescriptor === false ? new SharedDescriptorFile(path, options) : PlainFile.open(path, options)),
  adoptFile: (path, size, fd) => new PlainFile(path, size, fd),
  lockStore,
  gatherWriter: () => undefined,
};

class PlainFile implements StoreFile {
  readonly path: string;
  readonly size: number;
  readonly fd: number;
  readonly mapped: undefined = undefined;
  readonly address = 0;

  constructor(path: string, size: number, fd: number) {
    this.path = path;
    this.size = size;
    this.fd = fd;
  }

  static open(path: string, { size, writable }: OpenFileOptions): PlainFile {
    return new PlainFile(path, size, openSized(path, size, writable));
  }

  read(position: number, target: Buffer, targetStart: number, size: number): void {
    let done = 0;
    while (done < size) {
      const count = fs.readSync(this.fd, target, targetStart + done, size - done, position + done);
      if (count === 0) {
        target.fill(0, targetStart + done, targetStart + size);
        return;
      }
      done += count;
    }
  }

  write(position: number, source: Buffer, start: number, end: number): void {
    try {
      // A short write is not an error: go on with the rest; a full disk then shows as ENOSPC.
      for (let done = start; done < end; ) done += fs.writeSync(this.fd, source, done, end - done, position + done - start);
    } catch (error) {
      throw storeError(error, "write", this.path);
    }
  }

  sync(): void {
    syncFd(this.fd, this.path);
  }

  reserve(): void {
    // Node has no fallocate; a full disk shows at the write, which reports it.
  }

  warm(): void {
    // Nothing is mapped.
  }

  close(): void {
    closeFd(this.fd);
  }
}

/** Open descriptors of the thread's SharedDescriptorFiles, least recently used first. */
const openFiles = new Map<SharedDescriptorFile, PlainFile>();
const OPEN_FILES_MAX = 256;

/** One of many small files: holds a descriptor only while it is among the last used. */
class SharedDescriptorFile implements StoreFile {
  readonly path: string;
  readonly size: number;
  readonly fd = -1;
  readonly mapped: undefined = undefined;
  readonly address = 0;
  readonly #options: OpenFileOptions;

  constructor(path: string, options: OpenFileOptions) {
    this.path = path;
    this.size = options.size;
    this.#options = options;
    this.#open();
  }

  #open(): PlainFile {
    const file = openFiles.get(this) ?? PlainFile.open(this.path, this.#options);
    openFiles.delete(this);
    openFiles.set(this, file);
    if (openFiles.size > OPEN_FILES_MAX) {
      const [[oldest]] = openFiles as unknown as [[SharedDescriptorFile, PlainFile]];
      oldest.close();
    }
    return file;
  }

  read(position: number, target: Buffer, targetStart: number, size: number): void {
    this.#open().read(position, target, targetStart, size);
  }

  write(position: number, source: Buffer, start: number, end: number): void {
    this.#open().write(position, source, start, end);
  }

  sync(): void {
    this.#open().sync();
  }

  reserve(): void {
    // As in PlainFile.
  }

  warm(): void {
    // Nothing is mapped.
  }

  close(): void {
    openFiles.get(this)?.close();
    openFiles.delete(this);
  }
}

function lockStore(lockFile: string): FileLock {
  const fd = openLockFile(lockFile);
  nameHolder(lockFile, fd);
  return { release: () => releaseHolder(lockFile, fd) };
}
