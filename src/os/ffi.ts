import fs from "node:fs";
import koffi from "koffi";
import { MillraceError } from "../base/errors.ts";
import type { Drive, FileLock, FileSystemSyncer, GatherWriter, OpenFileOptions, StoreFile } from "./api.ts";
import { DirectFile } from "./direct-file.ts";
import { closeFd, openSized, realFileNames, storeError, syncFd } from "./files.ts";
import { loadRange } from "./load-range.ts";
import { mapAnonymous, unmap } from "./memory.ts";
import { SharedDescriptorFile } from "./shared-descriptor-file.ts";
import { openSocketPoller } from "./socket-poller.ts";
import { lockedError, nameHolder, openLockFile, refuseNamedHolder, releaseHolder } from "./store-lock.ts";

/**
 * The FFI drive, Linux. Addresses are passed as numbers: user addresses stay below 2^47. Only addresses of
 * memory that we mapped ourselves go to the system, never those of collectable Buffers.
 */
const libc = koffi.load(null);
const mmap = libc.func("uintptr_t mmap(uintptr_t addr, size_t length, int prot, int flags, int fd, int64_t offset)");
const posixFallocate = libc.func("int posix_fallocate(int fd, int64_t offset, int64_t length)");
const writev = libc.func("int64_t writev(int fd, uintptr_t iov, int count)");
const sendfile = libc.func("int64_t sendfile(int out, int in, uintptr_t offset, size_t count)");
const madvise = libc.func("int madvise(uintptr_t addr, size_t length, int advice)");
const posixFadvise = libc.func("int posix_fadvise(int fd, int64_t offset, int64_t length, int advice)");
const syncfs = libc.func("int syncfs(int fd)");
const mincore = libc.func("int mincore(uintptr_t addr, size_t length, uintptr_t vec)");
const fcntl = libc.func("int fcntl(int fd, int command, uintptr_t argument)");

const lseek = libc.func("int64_t lseek(int fd, int64_t offset, int whence)");

const SEEK_DATA = 3;
const ENXIO = 6;
const PROT_READ = 1;
const PROT_WRITE = 2;
const MAP_SHARED = 1;
const MAP_ANONYMOUS_PRIVATE = 0x22;
const MAP_FIXED = 0x10;
const MAP_NORESERVE = 0x4000;
const MADV_RANDOM = 1;
const MADV_DONTNEED = 4;
const POSIX_FADV_RANDOM = 1;
const EINTR = 4;
const EAGAIN = 11;
const ENOSPC = 28;
const EDQUOT = 122;
const F_GETLK = 5;
const F_SETLK = 6;
const F_RDLCK = 0;
const F_WRLCK = 1;
const PAGE_SIZE = 4096;
const TWO_32 = 4_294_967_296;

export const ffiDrive: Drive = {
  name: "ffi",
  names: realFileNames,
  openFile: (path, options) => {
    if (options.mapped !== false) return MappedFile.open(path, options);
    return options.keepDescriptor === false ? new SharedDescriptorFile(path, options) : DirectFile.open(path, options, allocate);
  },
  fileSystemSyncer: openFileSystemSyncer,
  adoptFile: (path, size, fd) => new DirectFile(path, size, fd, allocate),
  nextData,
  lockStore,
  lockForReading,
  gatherWriter: () => new SocketWriter(),
  socketPoller: openSocketPoller,
};

/** Proves on scratch memory that mapping, views and vectored writes work here. @throws when they do not */
export function selfTest(): void {
  if (process.platform !== "linux") throw new Error(`not supported on ${process.platform}`);
  const address = mapAnonymous(PAGE_SIZE);
  const bytes = Buffer.from(koffi.view(address, PAGE_SIZE));
  bytes.write("probe");
  if (Buffer.from(koffi.view(address, PAGE_SIZE)).toString("latin1", 0, 5) !== "probe")
    throw new Error("mapped memory is not shared");
}

function allocate(fd: number, path: string, position: number, size: number): void {
  let errno: number = EINTR;
  while (errno === EINTR) errno = posixFallocate(fd, position, size);
  if (errno === 0) return;
  const isFull = errno === ENOSPC || errno === EDQUOT;
  const text = `${isFull ? "disk full: " : ""}posix_fallocate ${path}: errno ${errno}`;
  throw new MillraceError(isFull ? "MILLRACE_STORE_FULL" : "MILLRACE_STORE_IO", text, { errno });
}

/** The descriptor stays open between, so that the system tells of writes that have failed meanwhile. */
function openFileSystemSyncer(directory: string): FileSystemSyncer {
  const fd = fs.openSync(directory, fs.constants.O_RDONLY);
  return {
    sync: () => {
      if (syncfs(fd) === 0) return;
      const errno = koffi.errno();
      throw new MillraceError("MILLRACE_STORE_IO", `syncfs ${directory}: errno ${errno}`, { directory, errno });
    },
    close: () => closeFd(fd),
  };
}

class MappedFile implements StoreFile {
  readonly path: string;
  readonly size: number;
  readonly fd: number;
  readonly mapped: Buffer;
  readonly address: number;

  constructor(path: string, size: number, fd: number, address: number) {
    this.path = path;
    this.size = size;
    this.fd = fd;
    this.address = address;
    this.mapped = Buffer.from(koffi.view(address, size));
  }

  static open(path: string, { size, writable, keepDescriptor = true, isScattered = false }: OpenFileOptions): MappedFile {
    const fd = openSized(path, size, writable);
    const address: number = mmap(0, size, writable ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, fd, 0);
    const errno = koffi.errno();
    if (address >= Number.MAX_SAFE_INTEGER || !keepDescriptor) closeFd(fd);
    if (address >= Number.MAX_SAFE_INTEGER) {
      throw new MillraceError("MILLRACE_STORE_IO", `mmap ${path}: errno ${errno}`, { path, errno });
    }
    if (isScattered) {
      madvise(address, size, MADV_RANDOM);
      if (keepDescriptor) posixFadvise(fd, 0, 0, POSIX_FADV_RANDOM); // Of sendfile, and of loads.
    }
    return new MappedFile(path, size, keepDescriptor ? fd : -1, address);
  }

  read(position: number, target: Buffer, targetStart: number, size: number): void {
    this.mapped.copy(target, targetStart, position, position + size);
  }

  write(position: number, source: Buffer, start: number, end: number): void {
    source.copy(this.mapped, position, start, end);
  }

  sync(): void {
    if (this.fd >= 0) return syncFd(this.fd, this.path);
    const fd = openSized(this.path, this.size, true);
    syncFd(fd, this.path);
    closeFd(fd);
  }

  reserve(position = 0, size: number = this.size - position): void {
    // A store into an unreserved page of a full disk would be a SIGBUS, so blocks are taken beforehand.
    if (this.fd >= 0) return allocate(this.fd, this.path, position, size);
    const fd = openSized(this.path, this.size, true);
    try {
      allocate(fd, this.path, position, size);
    } finally {
      closeFd(fd);
    }
  }

  isResident(position: number, size: number): boolean {
    const from = position - (position % PAGE_SIZE);
    const end = Math.min(position + size, this.size);
    pagesKnown ??= new KnownPages();
    for (let at = from; at < end; at += KNOWN_PAGES * PAGE_SIZE) {
      const pages = Math.min(KNOWN_PAGES, Math.ceil((end - at) / PAGE_SIZE));
      if (!pagesKnown.areResident(this.address + at, pages)) return false;
    }
    return true;
  }

  load(position: number, size: number, done: () => void): void {
    loadRange(this.fd, this.path, position, Math.min(size, this.size - position), done);
  }

  dropPages(): void {
    madvise(this.address, this.size, MADV_DONTNEED);
  }

  close(): void {
    retire(this.address, this.size);
    if (this.fd >= 0) closeFd(this.fd);
  }
}

/** Pages asked about at once. */
const KNOWN_PAGES = 64;

/** What mincore says of pages: a byte each. */
class KnownPages {
  readonly #address = mapAnonymous(PAGE_SIZE);
  readonly #bytes = Buffer.from(koffi.view(this.#address, KNOWN_PAGES));

  areResident(address: number, count: number): boolean {
    if (mincore(address, count * PAGE_SIZE, this.#address) !== 0) return true; // It cannot be told: as ever, then.
    for (let i = 0; i < count; i++) if ((this.#bytes[i]! & 1) === 0) return false;
    return true;
  }
}

/** One a thread. */
let pagesKnown: KnownPages | undefined;

/** Ranges of closed files, the longest closed first; one list a thread. */
const retired: { address: number; size: number }[] = [];
const RETIRED_MAX = 64;

/**
 * Takes a file out of its range of addresses without giving the range back: empty memory takes the file's place, so
 * that a view that somebody still held would read zeros instead of ending the process, or instead of reading what the
 * system puts there next. The range itself is given back when so many others were closed that no view can be left.
 */
function retire(address: number, size: number): void {
  const taken: number = mmap(address, size, PROT_READ, MAP_ANONYMOUS_PRIVATE | MAP_FIXED | MAP_NORESERVE, -1, 0);
  if (taken !== address) {
    unmap(address, size);
    return;
  }
  retired.push({ address, size });
  if (retired.length <= RETIRED_MAX) return;
  const oldest = retired.shift()!;
  unmap(oldest.address, oldest.size);
}

/** struct iovec is { void* base; size_t length }, 16 bytes; kept in memory of our own, as is the sendfile offset. */
const PARTS_MAX = 512;
const SCRATCH_SIZE = 65_536;

class SocketWriter implements GatherWriter {
  readonly partsMax = PARTS_MAX;
  readonly scratch: Buffer;
  readonly #scratchAddress: number;
  readonly #vectorAddress: number;
  readonly #vector: Uint32Array;
  #count = 0;

  constructor() {
    this.#vectorAddress = mapAnonymous((PARTS_MAX + 1) * 16);
    this.#vector = new Uint32Array(koffi.view(this.#vectorAddress, (PARTS_MAX + 1) * 16));
    this.#scratchAddress = mapAnonymous(SCRATCH_SIZE);
    this.scratch = Buffer.from(koffi.view(this.#scratchAddress, SCRATCH_SIZE));
  }

  reset(): void {
    this.#count = 0;
  }

  addScratch(start: number, size: number): void {
    this.#add(this.#scratchAddress + start, size);
  }

  addFile(file: StoreFile, position: number, size: number): void {
    this.#add(file.address + position, size);
  }

  #add(address: number, size: number): void {
    const at = this.#count++ * 4;
    this.#vector[at] = address % TWO_32;
    this.#vector[at + 1] = address / TWO_32;
    this.#vector[at + 2] = size;
    this.#vector[at + 3] = 0;
  }

  write(socketFd: number): number {
    return outcome(() => writev(socketFd, this.#vectorAddress, this.#count));
  }

  sendFile(socketFd: number, file: StoreFile, position: number, size: number): number {
    const at = PARTS_MAX * 4;
    this.#vector[at] = position % TWO_32;
    this.#vector[at + 1] = position / TWO_32;
    return outcome(() => sendfile(socketFd, file.fd, this.#vectorAddress + PARTS_MAX * 16, size));
  }
}

function outcome(call: () => number): number {
  for (;;) {
    const done = call();
    if (done >= 0) return done;
    const errno = koffi.errno();
    if (errno === EAGAIN) return 0;
    if (errno !== EINTR) return -1;
  }
}

function nextData(path: string, position: number): number {
  const fd = fs.openSync(path, fs.constants.O_RDONLY);
  try {
    const found: number = lseek(fd, position, SEEK_DATA);
    if (found >= 0) return found;
    return koffi.errno() === ENXIO ? Number.POSITIVE_INFINITY : position;
  } finally {
    closeFd(fd);
  }
}

function lockStore(lockFile: string): FileLock {
  const fd = openLockFile(lockFile);
  lockFd(fd, F_WRLCK, lockFile);
  try {
    nameHolder(lockFile, fd);
  } catch (error) {
    fs.closeSync(fd);
    throw storeError(error, "write", lockFile);
  }
  return { release: () => releaseHolder(lockFile, fd) };
}

function lockForReading(lockFile: string): FileLock {
  refuseNamedHolder(lockFile);
  if (!fs.existsSync(lockFile)) return { release: () => {} };
  let fd: number;
  try {
    fd = fs.openSync(lockFile, fs.constants.O_RDONLY);
  } catch (error) {
    throw storeError(error, "open", lockFile);
  }
  lockFd(fd, F_RDLCK, lockFile);
  return { release: () => closeFd(fd) };
}

/** struct flock on 64-bit Linux: short type, short whence, long start, long length, int pid. Closes the file if it is refused. */
function lockFd(fd: number, type: number, lockFile: string): void {
  const address = mapAnonymous(PAGE_SIZE);
  const flock = Buffer.from(koffi.view(address, PAGE_SIZE));
  flock.writeInt16LE(type, 0);
  const isRefused = fcntl(fd, F_SETLK, address) !== 0;
  if (isRefused) fcntl(fd, F_GETLK, address);
  const holder = flock.readInt32LE(24);
  unmap(address, PAGE_SIZE);
  if (!isRefused) return;
  fs.closeSync(fd);
  throw lockedError(lockFile, `pid ${holder}`);
}
