// A disk in memory that loses what the real ones may lose when the power goes.
import path from "node:path";
import { MillraceError } from "../../src/base/errors.ts";
import type { Drive, FileNames, OpenFileOptions, StoreFile } from "../../src/os/api.ts";
import type { Random } from "./random.ts";

const BLOCK_SIZE = 4096;
const SECTOR_SIZE = 512;
const BOOT_ID_FILE = "/proc/sys/kernel/random/boot_id";

/** The power went while a call was under way: nothing of this process goes on. */
export class PowerCut extends Error {}

interface Inode {
  /** What reads see: the page cache. */
  bytes: Buffer;
  /** What the disk has for sure. */
  durable: Buffer;
  /** Set when somebody else has changed it. */
  modifiedMs?: number;
}

/**
 * A drive whose writes stay in a page cache until the file is synced, and whose names until the directory is. At a power
 * cut each 4 KiB block that was not synced is dropped, kept or torn at a sector, each by itself, so that they reach the
 * disk in any order; files that were not synced may have their old size; names that were made, replaced or removed
 * without a sync of the directory may be as before. The power may go in the middle of any call.
 */
export class ModelDisk implements Drive {
  readonly name: Drive["name"];
  readonly names: FileNames;
  readonly #isMapped: boolean;
  #inodes = new Map<string, Inode>();
  /** Names as the disk has them; the same inodes. */
  #durableNames = new Map<string, Inode>();
  #boot = 1;
  #callsLeft = Number.POSITIVE_INFINITY;
  #random: Random;

  /** @param isMapped files are memory, as with the FFI drive; otherwise read and written by calls */
  constructor(isMapped: boolean, random: Random) {
    this.name = isMapped ? "ffi" : "native-free";
    this.#isMapped = isMapped;
    this.#random = random;
    this.names = {
      exists: (file) => this.#inodes.has(file),
      size: (file) => this.#inode(file).bytes.length,
      modifiedMs: (file) => this.#inode(file).modifiedMs ?? 0,
      isSparse: () => false,
      list: (directory) => this.#list(directory),
      makeDirectory: () => this.#call(),
      syncDirectory: (directory) => this.#syncDirectory(directory),
      syncFile: (file) => this.#syncFile(file),
      remove: (file) => {
        this.#call();
        this.#inodes.delete(file);
      },
      removeTree: (directory) => {
        for (const file of [...this.#inodes.keys()]) if (file.startsWith(`${directory}/`)) this.#inodes.delete(file);
      },
      resize: (file, size) => this.#resize(file, size),
      readSmall: (file) => this.#readSmall(file),
      writeSmall: (file, bytes) => this.#writeSmall(file, bytes),
      replaceSmall: (file, bytes) => {
        this.#call();
        this.#inodes.set(file, { bytes: Buffer.from(bytes), durable: Buffer.alloc(0) });
      },
    };
  }

  /** The power goes at the `calls`-th call from now that changes anything. */
  cutAfter(calls: number): void {
    this.#callsLeft = calls;
  }

  get isCut(): boolean {
    return this.#callsLeft < 0;
  }

  #call(): void {
    if (--this.#callsLeft < 0) throw new PowerCut("the power is gone");
  }

  #inode(file: string): Inode {
    const inode = this.#inodes.get(file);
    if (inode === undefined) throw new MillraceError("MILLRACE_STORE_IO", `no file ${file}`, { file });
    return inode;
  }

  #list(directory: string): string[] {
    const found = new Set<string>();
    for (const file of this.#inodes.keys()) {
      if (file.startsWith(`${directory}/`)) found.add(file.slice(directory.length + 1).split("/")[0]!);
    }
    return [...found].toSorted();
  }

  #syncDirectory(directory: string): void {
    this.#call();
    for (const file of new Set([...this.#inodes.keys(), ...this.#durableNames.keys()])) {
      if (path.dirname(file) !== directory) continue;
      const inode = this.#inodes.get(file);
      if (inode === undefined) this.#durableNames.delete(file);
      else this.#durableNames.set(file, inode);
    }
  }

  #syncFile(file: string): boolean {
    const inode = this.#inodes.get(file);
    if (inode === undefined) return false;
    this.#sync(inode);
    return true;
  }

  #sync(inode: Inode): void {
    this.#call();
    inode.durable = Buffer.from(inode.bytes);
  }

  #resize(file: string, size: number): void {
    this.#call();
    const inode = this.#inode(file);
    const bytes = Buffer.alloc(size);
    inode.bytes.copy(bytes);
    inode.bytes = bytes;
  }

  #readSmall(file: string): Buffer | undefined {
    if (file === BOOT_ID_FILE) return Buffer.from(`model-boot-${this.#boot}\n`);
    const inode = this.#inodes.get(file);
    return inode === undefined ? undefined : Buffer.from(inode.bytes);
  }

  #writeSmall(file: string, bytes: Buffer): void {
    const inode = this.#inodes.get(file) ?? { bytes: Buffer.alloc(0), durable: Buffer.alloc(0) };
    this.#inodes.set(file, inode);
    this.#call();
    inode.bytes = Buffer.from(bytes);
    this.#sync(inode);
  }

  openFile(file: string, { size, writable, mapped }: OpenFileOptions): StoreFile {
    let inode = this.#inodes.get(file);
    if (inode === undefined || inode.bytes.length === 0) {
      if (!writable) throw new MillraceError("MILLRACE_STORE_IO", `no file ${file}`, { file });
      this.#call();
      inode ??= { bytes: Buffer.alloc(0), durable: Buffer.alloc(0) };
      inode.bytes = Buffer.alloc(size);
      this.#inodes.set(file, inode);
    }
    if (inode.bytes.length !== size) {
      throw new MillraceError("MILLRACE_STORE_CORRUPT", `${file} has ${inode.bytes.length} bytes, expected ${size}`, { file });
    }
    return this.#file(file, inode, this.#isMapped && mapped !== false);
  }

  #file(file: string, inode: Inode, isMapped: boolean): StoreFile {
    return {
      path: file,
      size: inode.bytes.length,
      fd: -1,
      mapped: isMapped ? inode.bytes : undefined,
      address: 0,
      read: (position, target, targetStart, size) => {
        const copied = inode.bytes.copy(target, targetStart, position, position + size);
        target.fill(0, targetStart + copied, targetStart + size);
      },
      write: (position, source, start, end) => {
        if (this.#callsLeft < 1) end = start + this.#random.below(end - start + 1); // Cut off in the middle.
        source.copy(inode.bytes, position, start, end);
        this.#call();
      },
      sync: () => this.#sync(inode),
      reserve: () => {},
      isResident: () => true,
      load: (_position, _size, done) => queueMicrotask(done),
      dropPages: () => {},
      close: () => {},
    };
  }

  adoptFile(file: string): StoreFile {
    return this.#file(file, this.#inode(file), false);
  }

  lockStore(): { release(): void } {
    return { release: () => {} };
  }

  lockForReading(): { release(): void } {
    return { release: () => {} };
  }

  gatherWriter(): undefined {
    return undefined;
  }

  nextData(_path: string, position: number): number {
    return position;
  }

  socketPoller(): undefined {
    return undefined;
  }

  /** The system writes some blocks out by itself. */
  writeBack(): void {
    const files = [...this.#inodes.values()];
    const inode = this.#random.pick(files);
    if (inode.durable.length !== inode.bytes.length) inode.durable = resized(inode.durable, inode.bytes.length);
    const block = this.#random.below(Math.ceil(inode.bytes.length / BLOCK_SIZE)) * BLOCK_SIZE;
    inode.bytes.copy(inode.durable, block, block, block + BLOCK_SIZE);
  }

  /** A disk with the same content, which goes its own way. */
  copy(random: Random): ModelDisk {
    const copy = new ModelDisk(this.#isMapped, random);
    copy.#boot = this.#boot;
    for (const [file, { bytes }] of this.#inodes) {
      const inode = { bytes: Buffer.from(bytes), durable: Buffer.from(bytes) };
      copy.#inodes.set(file, inode);
      copy.#durableNames.set(file, inode);
    }
    return copy;
  }

  /** Paths of all files that begin so. */
  filesUnder(directory: string): string[] {
    return [...this.#inodes.keys()].filter((file) => file.startsWith(`${directory}/`)).toSorted();
  }

  /** A file's bytes themselves, to be damaged. */
  bytesOf(file: string): Buffer {
    return this.#inode(file).bytes;
  }

  /** Somebody else has changed the file. */
  touch(file: string): void {
    const inode = this.#inodes.get(file);
    if (inode !== undefined) inode.modifiedMs = (inode.modifiedMs ?? 0) + 1;
  }

  /** The process is killed; the machine goes on. */
  kill(): void {
    this.#callsLeft = Number.POSITIVE_INFINITY;
  }

  /** The power goes and comes back. */
  cutPower(): void {
    this.#callsLeft = Number.POSITIVE_INFINITY;
    this.#boot++;
    const names = new Map<string, Inode>();
    for (const file of new Set([...this.#inodes.keys(), ...this.#durableNames.keys()])) {
      const [now, sure] = [this.#inodes.get(file), this.#durableNames.get(file)];
      const inode = now === sure || this.#random.chance(2) ? now : sure;
      if (inode !== undefined) names.set(file, inode);
    }
    for (const inode of new Set(names.values())) {
      inode.bytes = this.#survivor(inode);
      inode.durable = Buffer.from(inode.bytes);
    }
    this.#inodes = names;
    this.#durableNames = new Map(names);
  }

  #survivor({ bytes, durable }: Inode): Buffer {
    const random = this.#random;
    const size = bytes.length === durable.length || random.chance(2) ? bytes.length : durable.length;
    const left = resized(durable, size);
    for (let block = 0; block < size; block += BLOCK_SIZE) {
      const end = Math.min(block + BLOCK_SIZE, size, bytes.length);
      if (end <= block || bytes.compare(left, block, end, block, end) === 0) continue;
      const fate = random.below(3);
      if (fate === 0) continue;
      if (fate === 1) {
        bytes.copy(left, block, block, end);
        continue;
      }
      for (let sector = block; sector < end; sector += SECTOR_SIZE) {
        if (random.chance(2)) bytes.copy(left, sector, sector, Math.min(end, sector + SECTOR_SIZE));
      }
    }
    return left;
  }
}

function resized(bytes: Buffer, size: number): Buffer {
  const copy = Buffer.alloc(size);
  bytes.copy(copy);
  return copy;
}
