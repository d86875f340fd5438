/**
 * The operating-system calls that the engine needs and Node does not offer, behind one interface.
 * Two drives: `ffi.ts` here (mmap, writev, sendfile, fallocate, madvise, fcntl locks) and its pure-Node
 * twin in native-free/. The engine runs on either; `choose.ts` picks one at start-up.
 */
export type DriveName = "ffi" | "native-free";

/** A file of one fixed size. One thread uses one instance; each thread opens its own. */
export interface StoreFile {
  readonly path: string;
  /** Bytes. */
  readonly size: number;
  readonly fd: number;
  /** The file as memory, shared with all other mappings of it; undefined in the native-free drive. */
  readonly mapped: Buffer | undefined;
  /** Address of `mapped`, 0 in the native-free drive. */
  readonly address: number;
  /** Copies [position, position + size) into target; bytes never written read as zeros. */
  read(position: number, target: Buffer, targetStart: number, size: number): void;
  /** Copies source[start, end) to `position`. @throws MillraceError MILLRACE_STORE_IO, MILLRACE_STORE_FULL */
  write(position: number, source: Buffer, start: number, end: number): void;
  /** Waits until all that was written is on the disk (fdatasync). @throws MillraceError MILLRACE_STORE_IO; never call again after that */
  sync(): void;
  /** Reserves the blocks of [position, position + size), by default the whole file, where the drive can. @throws MillraceError MILLRACE_STORE_FULL */
  reserve(position?: number, size?: number): void;
  /** Whether [position, position + size) can be read without waiting for the disk; false also where the drive cannot tell. */
  isResident(position: number, size: number): boolean;
  /** Makes it so, in another thread, then calls `done` on this one's event loop; also when that failed. */
  load(position: number, size: number, done: () => void): void;
  /** Lets go of the pages that were touched through `mapped`; they stay in the page cache. */
  dropPages(): void;
  /** No view of `mapped` may be used afterwards. */
  close(): void;
}

export interface OpenFileOptions {
  /** The file is created (or, when empty, grown) to this size; a file of another size is refused. */
  size: number;
  writable: boolean;
  /** false: many such files are open at once; hold no descriptor where the drive can do without. Default true. */
  keepDescriptor?: boolean;
  /** false: read and written by calls also where the drive maps files. Default true. */
  mapped?: boolean;
  /**
   * The system shall not read ahead by itself, as far as the drive can tell it: whoever touches the last pages of what it has read
   * ahead waits until the next 8 MiB, say, are ordered. Default false.
   */
  isScattered?: boolean;
}

export interface FileLock {
  release(): void;
}

/**
 * Writes to a socket straight from mapped files, by-passing the stream. Only where nothing is queued
 * in the stream. One instance a thread.
 */
export interface GatherWriter {
  /** Scratch memory at a fixed address, for headers. */
  readonly scratch: Buffer;
  readonly partsMax: number;
  reset(): void;
  /** Adds scratch[start, start + size). */
  addScratch(start: number, size: number): void;
  addFile(file: StoreFile, position: number, size: number): void;
  /** @returns bytes written, 0 when the socket is full; -1 on a broken socket */
  write(socketFd: number): number;
  /** sendfile. @returns bytes sent, 0 when the socket is full; -1 on a broken socket */
  sendFile(socketFd: number, file: StoreFile, position: number, size: number): number;
}

/** Waits for many sockets at once, and reads them, past the event loop. One instance a thread. */
export interface SocketPoller {
  /** What `read` fills. */
  readonly input: Buffer;
  /** @param tag  what `tag` gives when the descriptor can be read, 32 bits */
  add(fd: number, tag: number): void;
  remove(fd: number): void;
  /**
   * `wait` also ends when the calling thread's event loop has something to do, timers apart.
   * @param watchedFd  a descriptor that this loop, and no other, waits for
   * @returns false where the loop cannot be found
   */
  addEventLoop(watchedFd: number, tag: number): boolean;
  /** Blocks the thread for so long, whatever comes. */
  rest(us: number): void;
  /** Blocks the thread until something can be read. @returns how many descriptors can be */
  wait(timeoutMs: number): number;
  /** Of the index-th that can be read. */
  tag(index: number): number;
  /** @returns bytes that are in `input` now, 0: there is nothing yet, -1: the peer is gone */
  read(fd: number): number;
  close(): void;
}

/** Names of files and directories, and whole small files: what the store does to them beside reading and writing. */
export interface FileNames {
  exists(file: string): boolean;
  /** Bytes. */
  size(file: string): number;
  /** Last change of its bytes, ms since the epoch. */
  modifiedMs(file: string): number;
  /** Whether the file has holes. A look at one through a mapping takes a block in memory file systems, and without one is a SIGBUS. */
  isSparse(file: string): boolean;
  /** Names in the directory, sorted; empty when it does not exist. */
  list(directory: string): string[];
  /** With all above it. @param isDurable  new names are on the disk on return (default); else see to it with syncDirectory */
  makeDirectory(directory: string, isDurable?: boolean): void;
  /** Makes created, renamed and removed names durable (fsync of the directory). */
  syncDirectory(directory: string): void;
  /** Waits until the file's bytes are on the disk. @returns false: there is no such file */
  syncFile(file: string): boolean;
  remove(file: string): void;
  removeTree(directory: string): void;
  /** Cuts or grows a file; what is grown reads as zeros. Nobody may have it mapped. */
  resize(file: string, size: number): void;
  /** undefined: there is none. */
  readSmall(file: string): Buffer | undefined;
  /** In place; on the disk on return. */
  writeSmall(file: string, bytes: Buffer): void;
  /** Replaces the file, as a whole or not at all when the process dies; nothing is promised when the machine does. */
  replaceSmall(file: string, bytes: Buffer): void;
}

/** Brings all that was written to a file system to its disk, since this was made: for very many files, cheaper than one by one. */
export interface FileSystemSyncer {
  /** @throws MillraceError MILLRACE_STORE_IO; never call again after that */
  sync(): void;
  close(): void;
}

export interface Drive {
  readonly name: DriveName;
  readonly names: FileNames;
  /** @throws MillraceError MILLRACE_STORE_CORRUPT (other size), MILLRACE_STORE_FULL, MILLRACE_STORE_IO */
  openFile(path: string, options: OpenFileOptions): StoreFile;
  /** Of the file system that holds the directory; undefined: this drive has none. */
  fileSystemSyncer?(directory: string): FileSystemSyncer;
  /** A file that another thread of this process opened, and will not close; not mapped. */
  adoptFile(path: string, size: number, fd: number): StoreFile;
  /**
   * Where in a file, from `position` on, there may be bytes other than zero: what lies between was never written.
   * @returns `position` where the drive cannot tell, infinite if there is nothing more
   */
  nextData(path: string, position: number): number;
  /** Takes the exclusive lock of a store directory. @throws MillraceError MILLRACE_STORE_LOCKED naming the holder */
  lockStore(path: string): FileLock;
  /**
   * Makes sure that nobody writes the store, and writes nothing itself. The FFI drive also keeps writers out until
   * the release; the other one only looks. @throws MillraceError MILLRACE_STORE_LOCKED naming the holder
   */
  lockForReading(path: string): FileLock;
  /** undefined: this drive writes through the stream. */
  gatherWriter(): GatherWriter | undefined;
  /**
   * undefined: this drive reads through the stream.
   * @param inputSize  most bytes read at once
   * @param input      of WebAssembly's memory, which stays where it is: what it is to read into
   */
  socketPoller(inputSize: number, input?: Buffer): SocketPoller | undefined;
}
