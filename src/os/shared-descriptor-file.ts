import fs from "node:fs";
import type { OpenFileOptions, StoreFile } from "./api.ts";
import { closeFd, openFilesLimit, openSized, storeError } from "./files.ts";
import { loadRange } from "./load-range.ts";
import { PlainFile } from "./plain-file.ts";

/** Files of this thread that hold a descriptor at present, the longest held first. */
const holders = new Set<SharedDescriptorFile>();
/** Descriptors that a thread holds at most, and the part of the process's limit that it takes at most (see `connectionsMaxOf`). */
const HELD_MAX = 4096;
const HELD_SHARE = 32;
/**
 * Of files that find no descriptor free, each nth takes the place of the one that has held its own the longest; the others
 * open and close. Were it each, a round over more files than there are descriptors would never meet an open one.
 */
const TAKE_OVER_EVERY = 8;
let heldMax = 0;
let refused = 0;

/** @returns false: none is held */
function closeLongestHeld(): boolean {
  for (const longest of holders) {
    longest.close();
    return true;
  }
  return false;
}

/** One of many small files, read and written by calls: there are more of them than a process may hold descriptors. */
export class SharedDescriptorFile implements StoreFile {
  readonly path: string;
  readonly size: number;
  readonly fd = -1;
  readonly mapped: undefined = undefined;
  readonly address = 0;
  readonly #isWritable: boolean;
  #held: PlainFile | undefined;

  /** The file is created, and found to be of the right size. @throws MillraceError as `Drive.openFile` */
  constructor(path: string, options: OpenFileOptions) {
    this.path = path;
    this.size = options.size;
    this.#isWritable = options.writable;
    this.#giveBack(new PlainFile(path, options.size, openSized(path, options.size, options.writable)));
  }

  #take(): PlainFile {
    if (this.#held !== undefined) return this.#held;
    for (;;) {
      try {
        const fd = fs.openSync(this.path, this.#isWritable ? fs.constants.O_RDWR : fs.constants.O_RDONLY);
        return new PlainFile(this.path, this.size, fd);
      } catch (error) {
        const isNoneLeft = ["EMFILE", "ENFILE"].includes((error as NodeJS.ErrnoException).code ?? "");
        if (!isNoneLeft || !closeLongestHeld()) throw storeError(error, "open", this.path);
      }
    }
  }

  #giveBack(file: PlainFile): void {
    if (file === this.#held) return;
    heldMax ||= Math.max(64, Math.min(HELD_MAX, Math.floor(openFilesLimit() / HELD_SHARE)));
    if (holders.size >= heldMax) {
      if (++refused % TAKE_OVER_EVERY !== 0) return file.close();
      closeLongestHeld();
    }
    this.#held = file;
    holders.add(this);
  }

  read(position: number, target: Buffer, targetStart: number, size: number): void {
    const file = this.#take();
    try {
      file.read(position, target, targetStart, size);
    } finally {
      this.#giveBack(file);
    }
  }

  write(position: number, source: Buffer, start: number, end: number): void {
    const file = this.#take();
    try {
      file.write(position, source, start, end);
    } finally {
      this.#giveBack(file);
    }
  }

  sync(): void {
    const file = this.#take();
    try {
      file.sync();
    } finally {
      this.#giveBack(file);
    }
  }

  /** A full disk shows at the write. */
  reserve(): void {}

  dropPages(): void {
    // As in PlainFile.
  }

  isResident(): boolean {
    return false;
  }

  load(position: number, size: number, done: () => void): void {
    loadRange(-1, this.path, position, size, done);
  }

  close(): void {
    if (this.#held === undefined) return;
    closeFd(this.#held.fd);
    this.#held = undefined;
    holders.delete(this);
  }
}
