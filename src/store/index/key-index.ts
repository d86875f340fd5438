import path from "node:path";
import type { Clock } from "../../base/clock.ts";
import { MillraceError } from "../../base/errors.ts";
import { INDEX_FILE_NAME, type IndexShape, indexFileName, indexFileSize, indexFileTime } from "../../format/files/index-file.ts";
import type { Drive } from "../../os/api.ts";
import { listDirectory, makeDirectory, removeFile, syncDirectory } from "../../os/files.ts";
import { IndexFile } from "./index-file.ts";

/** Slots and entries that `check` looks at: some seconds' work at most. */
const LOOKED_AT_MAX = 25_000_000;

const GAP_MAX = 16_777_216;

export interface KeyIndexOptions {
  drive: Drive;
  directory: string;
  shape: IndexShape;
  clock: Clock;
  /** End of the log: what the index knows from there on is forgotten. */
  logEnd: number;
  /**
   * Set when the machine died: files whose newest record was stored after this (the checkpoint's
   * indexMsgTimestamp) may lack pages on the disk; they are removed, and built anew from the log.
   */
  trustedTimestamp?: number;
  /** Log between two files, bytes: where it is more, a file is missing. Default 16 MiB, less than one file covers. */
  gapMax?: number;
}

/**
 * The key index as its one writer sees it: a list of files, of which the last grows. Key-indexer thread only.
 * Source: Apache `IndexService`.
 */
export class KeyIndex {
  readonly #drive: Drive;
  readonly #directory: string;
  readonly #shape: IndexShape;
  readonly #clock: Clock;
  /** Oldest first. Only the last is open; of the others the end is known. */
  readonly #sealed: { path: string; endPhysicalOffset: number; endTimestamp: number }[] = [];
  #last: IndexFile | undefined;
  /** A file was removed at loading, and so must be all that come after it. */
  #isCut = false;
  #durableTimestamp = 0;

  constructor(options: KeyIndexOptions) {
    this.#drive = options.drive;
    this.#directory = options.directory;
    this.#shape = options.shape;
    this.#clock = options.clock;
    makeDirectory(options.directory);
    const files = listIndexFiles(options.directory);
    const short = files.findIndex((file) => this.#drive.names.size(file) < indexFileSize(this.#shape));
    // Too small: it was cut, or made for fewer keys.
    if (short >= 0) for (const file of files.splice(short)) removeFile(file);
    for (const file of files) this.#load(file, options);
    this.#openLast();
  }

  #openLast(): void {
    const last = this.#sealed.pop();
    this.#last = last === undefined ? undefined : this.#open(last.path);
  }

  /**
   * Looks at all that is in the newest files, as many as there is time for, and removes those that are damaged with all
   * that come after them. To be done once, before anything is put.
   * @param goesOn asked from time to time @returns false: it was not, and nothing is known
   */
  check(goesOn: () => boolean = () => true): boolean {
    const files = [...this.#sealed.map(({ path: file }) => file), ...(this.#last === undefined ? [] : [this.#last.path])];
    let left = LOOKED_AT_MAX;
    let soundCount = files.length;
    for (let i = files.length - 1; i >= 0; i--) {
      const index = i === this.#sealed.length ? this.#last! : this.#open(files[i]!);
      left -= index.lookSize;
      const isSound = left < 0 || index.isSound(goesOn);
      if (index !== this.#last) index.close();
      if (!goesOn()) return false;
      if (!isSound) soundCount = i;
      if (left < 0) break;
    }
    if (soundCount === files.length) return true;
    this.#last?.close();
    for (const file of files.slice(soundCount)) removeFile(file);
    this.#sealed.splice(soundCount);
    this.#openLast();
    return true;
  }

  /** Takes the file in, or removes it: with what follows, the log will be indexed again from where the last good file ends. */
  #load(file: string, { logEnd, trustedTimestamp, gapMax = GAP_MAX }: KeyIndexOptions): void {
    const index = this.#open(file);
    const { beginPhysicalOffset, endPhysicalOffset, endTimestamp, count } = index;
    index.close();
    const before = this.#sealed.at(-1);
    const isTrusted = trustedTimestamp === undefined || endTimestamp <= trustedTimestamp;
    const isInOrder =
      before === undefined ||
      (endPhysicalOffset >= before.endPhysicalOffset && beginPhysicalOffset - before.endPhysicalOffset <= gapMax);
    // A file without entries says nothing that the one before it does not; the next key makes it anew.
    if (isTrusted && isInOrder && count > 1 && endPhysicalOffset < logEnd && !this.#isCut) {
      this.#sealed.push({ path: file, endPhysicalOffset, endTimestamp });
    } else {
      this.#isCut = true;
      removeFile(file);
    }
  }

  #open(file: string): IndexFile {
    try {
      return new IndexFile(this.#drive, file, this.#shape, true);
    } catch (error) {
      if (!(error instanceof MillraceError) || error.code !== "MILLRACE_STORE_CORRUPT") throw error;
      const advice = "set maxHashSlotNum and maxIndexNum as they were when it was made, or remove it to have it built anew";
      throw new MillraceError("MILLRACE_STORE_CORRUPT", `${error.message}: ${advice}`, error.details, error);
    }
  }

  #openNew(file: string): IndexFile {
    try {
      return this.#open(file);
    } catch (error) {
      removeFile(file); // Without a header it would be nobody's.
      throw error;
    }
  }

  /** Start of the newest record in the index; it may lack some of its keys. 0 when there is none: index the log from its start. */
  get endPhysicalOffset(): number {
    return (this.#last ?? this.#sealed.at(-1))?.endPhysicalOffset ?? 0;
  }

  /** Whether any record is in the index. */
  get isEmpty(): boolean {
    return this.#last === undefined || this.#last.endTimestamp === 0;
  }

  /** Store timestamp up to which the files are on the disk as a whole, for the checkpoint's indexMsgTimestamp. 0 = keep what the checkpoint says. */
  get durableTimestamp(): number {
    return this.#durableTimestamp;
  }

  /** How many keys of the newest record are in the index, in the order in which they are put. */
  newestEntriesOf(physicalOffset: number): number {
    let found = this.#last?.newestEntriesOf(physicalOffset) ?? 0;
    const before = this.#sealed.at(-1);
    const isAllOfLast = this.#last === undefined || found === this.#last.count - 1;
    if (isAllOfLast && before?.endPhysicalOffset === physicalOffset) {
      const file = this.#open(before.path);
      found += file.newestEntriesOf(physicalOffset);
      file.close();
    }
    return found;
  }

  /** Adds a key of the record at `physicalOffset`. @throws MillraceError MILLRACE_STORE_FULL, MILLRACE_STORE_IO */
  put(keyHash: number, physicalOffset: number, storeTimestamp: number): void {
    if (this.#last?.put(keyHash, physicalOffset, storeTimestamp) === true) return;
    this.#roll().put(keyHash, physicalOffset, storeTimestamp);
  }

  /** Adds the keys of `count` records, as `IndexFile.putRun` has them. @throws MillraceError MILLRACE_STORE_FULL, MILLRACE_STORE_IO */
  putRun(
    physicalOffset: number,
    size: number,
    storeTimestamp: number,
    hashes: Int32Array,
    from: number,
    keyCount: number,
    count: number,
  ): void {
    const total = keyCount * count;
    for (let done = 0; done < total; ) {
      const put = this.#last?.putRun(physicalOffset, size, storeTimestamp, hashes, from, keyCount, done, total) ?? 0;
      done += put;
      if (put === 0) this.#roll();
    }
  }

  /** Seals the last file, if there is one, and starts the next. */
  #roll(): IndexFile {
    const full = this.#last;
    if (full !== undefined) {
      const { path: file, endPhysicalOffset, endTimestamp } = full;
      full.sync();
      full.close();
      this.#last = undefined;
      this.#sealed.push({ path: file, endPhysicalOffset, endTimestamp });
      this.#durableTimestamp = endTimestamp;
    }
    const next = this.#openNew(this.#nextPath());
    syncDirectory(this.#directory);
    // Not always the one sealed just now: the disk may have had no room for its successor then.
    const before = this.#sealed.at(-1);
    if (before !== undefined) next.carryOn(before.endPhysicalOffset, before.endTimestamp);
    this.#last = next;
    return next;
  }

  /** Names tell the files' order, so a new one must come after the last even if the clock was set back. */
  #nextPath(): string {
    const last = this.#sealed.at(-1);
    const lastName = last === undefined ? "" : path.basename(last.path);
    let name = indexFileName(this.#clock.now());
    // More than one step only at the end of summer time, when an hour comes twice.
    for (let afterLast = indexFileTime(lastName) + 1; name <= lastName; afterLast += 3_600_000) name = indexFileName(afterLast);
    return path.join(this.#directory, name);
  }

  /** Removes the files that know only records below `minPhysicalOffset`; never the last. @returns how many */
  deleteBelow(minPhysicalOffset: number): number {
    const before = this.#sealed.length;
    while (this.#sealed.length > 0 && this.#sealed[0]!.endPhysicalOffset < minPhysicalOffset)
      removeFile(this.#sealed.shift()!.path);
    return before - this.#sealed.length;
  }

  /** Lets queries in other threads see all keys put so far. */
  publish(): void {
    this.#last?.publish();
  }

  /** No keys have come for a while. */
  rest(): void {
    this.#last?.rest();
  }

  /** Waits until all is on the disk, and closes. */
  close(): void {
    const last = this.#last;
    if (last === undefined) return;
    last.sync();
    this.#durableTimestamp = last.endTimestamp;
    last.close();
    this.#last = undefined;
  }
}

/** Paths of the index files, oldest first. */
export function listIndexFiles(directory: string): string[] {
  return listDirectory(directory)
    .filter((name) => INDEX_FILE_NAME.test(name))
    .map((name) => path.join(directory, name));
}
