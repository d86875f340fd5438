import { MillraceError } from "../../base/errors.ts";
import type { BloomBits } from "../../filter/entry-filter.ts";
import { ENTRY_SIZE, entryTagsCode, isExtAddress } from "../../format/files/consume-queue.ts";
import {
  EXT_FILE_END,
  EXT_FILE_TAIL,
  entryExtPosition,
  UNIT_SIZE_MAX,
  UNIT_SIZE_MIN,
  unitSizeAt,
  unitStoreTime,
  unitTagsCode,
  writeUnit,
} from "../../format/files/queue-ext.ts";
import type { Drive, StoreFile } from "../../os/api.ts";
import { basePath } from "../log/log-files.ts";
import type { ConsumeQueue } from "./consume-queue.ts";

/**
 * Reads the units of one queue. One instance a thread. A unit that is not there says nothing: its message has to be read.
 * Source: Apache `ConsumeQueueExt.get`.
 */
export class QueueExtReader {
  readonly #drive: Drive;
  readonly #directory: string;
  readonly #fileSize: number;
  readonly #unit = Buffer.alloc(UNIT_SIZE_MAX);
  #file: StoreFile | undefined;
  #base = -1;
  /** Of the unit that `load` found. */
  tagsCode = 0;
  #size = 0;

  constructor(drive: Drive, directory: string, fileSize: number) {
    this.#drive = drive;
    this.#directory = directory;
    this.#fileSize = fileSize;
  }

  /** @param entries of the queue; the one at `at` has an address for its tags code */
  load(entries: Buffer, at: number): boolean {
    const position = entryExtPosition(entries, at);
    const inFile = position % this.#fileSize;
    const file = this.#fileOf(position - inFile);
    if (file === undefined || inFile + UNIT_SIZE_MIN > this.#fileSize) return false;
    file.read(inFile, this.#unit, 0, UNIT_SIZE_MIN);
    const size = this.#unit.readInt16BE(0);
    if (size < UNIT_SIZE_MIN || inFile + size > this.#fileSize) return false;
    if (size > UNIT_SIZE_MIN) file.read(inFile, this.#unit, 0, size);
    this.#size = unitSizeAt(this.#unit, 0, size);
    if (this.#size === 0) return false;
    this.tagsCode = unitTagsCode(this.#unit, 0);
    return true;
  }

  /** May the message of the unit last loaded pass? Source: Apache `ExpressionMessageFilter.isMatchedByConsumeQueue`. */
  mayPass({ bitPos, bitNum, bornTime }: BloomBits): boolean {
    if ((this.#size - UNIT_SIZE_MIN) * 8 !== bitNum || unitStoreTime(this.#unit, 0) <= bornTime) return true;
    return bitPos.every((bit) => (this.#unit[UNIT_SIZE_MIN + (bit >> 3)]! & (1 << (bit & 7))) !== 0);
  }

  #fileOf(base: number): StoreFile | undefined {
    if (base === this.#base) return this.#file;
    this.close();
    const name = basePath(this.#directory, base);
    if (!this.#drive.names.exists(name)) return undefined;
    try {
      this.#file = this.#drive.openFile(name, { size: this.#fileSize, writable: false, keepDescriptor: false });
    } catch (error) {
      if (!(error instanceof MillraceError)) throw error;
      return undefined; // Of another size, or gone: it says nothing.
    }
    this.#base = base;
    return this.#file;
  }

  close(): void {
    this.#file?.close();
    this.#file = undefined;
    this.#base = -1;
  }
}

/**
 * Writes the units of one queue. Queue-indexer thread only. Each instance begins a file of its own, so that no unit ever takes
 * the place of one that an entry may point at, whatever became of the files; nothing else tells where the units end.
 * Source: Apache `ConsumeQueueExt.put`.
 */
export class QueueExtWriter {
  readonly #drive: Drive;
  readonly #directory: string;
  readonly #fileSize: number;
  /** Units that are not written yet, in the present file from #written on. */
  #pending = Buffer.alloc(4096);
  #pendingSize = 0;
  #base: number;
  #written = 0;
  #file: StoreFile | undefined;

  /** @param queue whose entries [first, end) may point at units of earlier instances */
  constructor(drive: Drive, directory: string, fileSize: number, queue: ConsumeQueue, first: number, end: number) {
    this.#drive = drive;
    this.#directory = directory;
    this.#fileSize = fileSize;
    this.#base = Math.ceil(Math.max(filesEnd(drive, directory), entriesEnd(queue, first, end)) / fileSize) * fileSize;
  }

  /** @returns position of the new unit, which can be read after `flush` */
  add(tagsCode: number, storeTimeMs: number, bitMap: Uint8Array | undefined): number {
    const size = UNIT_SIZE_MIN + (bitMap?.length ?? 0);
    if (this.#written + this.#pendingSize + size > this.#fileSize - EXT_FILE_TAIL) {
      this.#pendingSize = this.#room(2).writeInt16BE(EXT_FILE_END, this.#pendingSize);
      this.flush();
      this.#file?.close();
      this.#file = undefined;
      this.#base += this.#fileSize;
      this.#written = 0;
    }
    const position = this.#base + this.#written + this.#pendingSize;
    this.#pendingSize = writeUnit(this.#room(size), this.#pendingSize, tagsCode, storeTimeMs, bitMap);
    return position;
  }

  #room(size: number): Buffer {
    if (this.#pendingSize + size > this.#pending.length) {
      const grown = Buffer.alloc(2 * (this.#pendingSize + size));
      this.#pending.copy(grown, 0, 0, this.#pendingSize);
      this.#pending = grown;
    }
    return this.#pending;
  }

  /** @throws MillraceError MILLRACE_STORE_FULL, MILLRACE_STORE_IO: the units since the last call are lost */
  flush(): void {
    const size = this.#pendingSize;
    this.#pendingSize = 0;
    if (size === 0) return;
    if (this.#file === undefined) {
      this.#drive.names.makeDirectory(this.#directory, false);
      const name = basePath(this.#directory, this.#base);
      this.#file = this.#drive.openFile(name, { size: this.#fileSize, writable: true, mapped: false });
    }
    this.#file.write(this.#written, this.#pending, 0, size);
    this.#written += size;
  }

  undo(): void {
    this.#pendingSize = 0;
  }

  close(): void {
    this.#file?.close();
    this.#file = undefined;
  }
}

/** Where files of any size end. */
function filesEnd({ names }: Drive, directory: string): number {
  return names.list(directory).reduce((end, name) => {
    return /^\d{20}$/.test(name) ? Math.max(end, Number(name) + names.size(`${directory}/${name}`)) : end;
  }, 0);
}

/** Entries looked at for one that has an address: the files may be gone, the entries that point there not. */
const LOOK_BACK_MAX = 100_000;

function entriesEnd(queue: ConsumeQueue, first: number, end: number): number {
  const entry = Buffer.alloc(ENTRY_SIZE);
  for (let offset = end - 1; offset >= Math.max(first, end - LOOK_BACK_MAX); offset--) {
    if (queue.read(offset, 1, entry) === 0) return 0;
    if (isExtAddress(entryTagsCode(entry, 0))) return entryExtPosition(entry, 0) + UNIT_SIZE_MAX;
  }
  return 0;
}
