import type { Drive, FileLock, OpenFileOptions, StoreFile } from "../src/os/api.ts";
import { realFileNames } from "../src/os/files.ts";
import { PlainFile } from "../src/os/plain-file.ts";
import { nameHolder, openLockFile, refuseNamedHolder, releaseHolder } from "../src/os/store-lock.ts";

/** The pure-Node drive: positional reads and writes, no foreign calls. Slower, otherwise complete. */
export const nativeFreeDrive: Drive = {
  name: "native-free",
  names: realFileNames,
  openFile: (path, options) =>
    options.keepDescriptor === false ? new SharedDescriptorFile(path, options) : PlainFile.open(path, options),
  adoptFile: (path, size, fd) => new PlainFile(path, size, fd),
  lockStore,
  lockForReading: (path) => {
    refuseNamedHolder(path);
    return { release: () => {} };
  },
  gatherWriter: () => undefined,
  socketPoller: () => undefined,
};

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

  dropPages(): void {
    // As in PlainFile.
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
