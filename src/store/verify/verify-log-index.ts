import {
  BEGIN_PHYSICAL_OFFSET_OFFSET,
  COUNT_OFFSET,
  END_PHYSICAL_OFFSET_OFFSET,
  ENTRY_PHYSICAL_OFFSET_OFFSET,
  INDEX_ENTRY_SIZE,
  INDEX_HEADER_SIZE,
  indexFileSize,
  SLOT_SIZE,
} from "../../format/files/index-file.ts";
import type { KeyScan } from "../../format/record/key-scan.ts";
import { type RecordParts, readInt64 } from "../../format/record/message.ts";
import type { Drive, StoreFile } from "../../os/api.ts";
import { RecordKeys } from "../index/record-keys.ts";
import type { StoreLayout } from "./verify-layout.ts";
import { type MarkRanges, Marks } from "./verify-marks.ts";

/** Entries read at once. */
const BLOCK_COUNT = 4096;

/**
 * Goes through the key index beside a walk over the log: entries stand in the order of their records. Marks those
 * whose key the record has. What is out of order is left without a mark.
 */
export class LogIndexWalk {
  readonly #keys = new RecordKeys();
  readonly #files: IndexCursor[] = [];
  /** physicalOffset of the next entry of any file. */
  #next = Number.POSITIVE_INFINITY;

  /** Of records in [start, end) of the log. */
  constructor(drive: Drive, layout: StoreLayout, marks: MarkRanges, start: number, end: number) {
    for (const [i, path] of layout.indexFiles.entries()) {
      const cursor = new IndexCursor(drive, layout, path, new Marks(marks.words, marks.index[i]!));
      if (cursor.seek(start, end)) this.#files.push(cursor);
      else cursor.close();
    }
    this.#findNext();
  }

  /** Called for each whole record, in the order of the log. */
  check(offset: number, bytes: Buffer, parts: RecordParts, scan: KeyScan): void {
    if (offset < this.#next) return;
    let areKeysFound = false;
    for (const file of this.#files) {
      file.skipBelow(offset);
      if (file.physicalOffset !== offset) continue;
      if (!areKeysFound) this.#keys.take(bytes, parts, scan);
      areKeysFound = true;
      file.markAt(offset, this.#keys.hashes);
    }
    this.#findNext();
  }

  #findNext(): void {
    this.#next = Number.POSITIVE_INFINITY;
    for (const { physicalOffset } of this.#files) this.#next = Math.min(this.#next, physicalOffset);
  }

  close(): void {
    for (const file of this.#files) file.close();
  }
}

class IndexCursor {
  readonly #file: StoreFile;
  readonly #marks: Marks;
  readonly #entriesAt: number;
  readonly #entryMax: number;
  readonly #block = Buffer.alloc(BLOCK_COUNT * INDEX_ENTRY_SIZE);
  #blockStart = -1;
  #number = 1;
  #entryEnd = 1;
  #keyHash = 0;
  /** Of the entry where it stands; infinite behind the last. */
  physicalOffset = Number.POSITIVE_INFINITY;

  constructor(drive: Drive, { indexShape }: StoreLayout, path: string, marks: Marks) {
    this.#file = drive.openFile(path, { size: indexFileSize(indexShape), writable: false, mapped: false });
    this.#marks = marks;
    this.#entriesAt = INDEX_HEADER_SIZE + SLOT_SIZE * indexShape.slotCount;
    this.#entryMax = indexShape.entryCount;
  }

  /** Goes to the first entry of a record at or behind `start`. @returns false if none is below `end` */
  seek(start: number, end: number): boolean {
    const header = Buffer.alloc(INDEX_HEADER_SIZE);
    this.#file.read(0, header, 0, INDEX_HEADER_SIZE);
    this.#entryEnd = Math.min(header.readInt32BE(COUNT_OFFSET), this.#entryMax);
    const begin = readInt64(header, BEGIN_PHYSICAL_OFFSET_OFFSET);
    if (begin >= end || readInt64(header, END_PHYSICAL_OFFSET_OFFSET) < start || this.#entryEnd <= 1) return false;
    let low = 1;
    for (let high = this.#entryEnd; low < high; ) {
      this.#number = Math.floor((low + high) / 2);
      this.#load();
      if (this.physicalOffset < start) low = this.#number + 1;
      else high = this.#number;
    }
    this.#number = low;
    this.#load();
    return this.physicalOffset < end;
  }

  skipBelow(offset: number): void {
    while (this.physicalOffset < offset) this.#advance();
  }

  /** Marks the entries of the record there whose key hashes are among these. */
  markAt(offset: number, hashes: readonly number[]): void {
    while (this.physicalOffset === offset) {
      if (hashes.includes(this.#keyHash)) this.#marks.set(this.#number);
      this.#advance();
    }
  }

  #advance(): void {
    this.#number++;
    this.#load();
  }

  #load(): void {
    if (this.#number >= this.#entryEnd) {
      this.physicalOffset = Number.POSITIVE_INFINITY;
      return;
    }
    let index = this.#number - this.#blockStart;
    if (this.#blockStart < 0 || index < 0 || index >= BLOCK_COUNT) {
      this.#blockStart = this.#number - (this.#number % BLOCK_COUNT);
      const size = Math.min(BLOCK_COUNT, this.#entryMax - this.#blockStart) * INDEX_ENTRY_SIZE;
      this.#file.read(this.#entriesAt + this.#blockStart * INDEX_ENTRY_SIZE, this.#block, 0, size);
      index = this.#number - this.#blockStart;
    }
    const at = index * INDEX_ENTRY_SIZE;
    this.#keyHash = this.#block.readInt32BE(at);
    this.physicalOffset = readInt64(this.#block, at + ENTRY_PHYSICAL_OFFSET_OFFSET);
  }

  close(): void {
    this.#marks.flush();
    this.#file.close();
  }
}
