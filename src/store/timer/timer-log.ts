import { UNIT_BLANK_MAGIC, UNIT_BLANK_SIZE, UNIT_SIZE } from "../../format/files/timer-unit.ts";
import type { Drive, StoreFile } from "../../os/api.ts";
import { basePath, listBases } from "../log/log-files.ts";

/** Bytes read at once. */
const BLOCK_SIZE = 16_384;

/**
 * The timer log: units (format/files/timer-unit.ts) one after the other in files of one size. Written and read by calls, so that a
 * full disk is an error. Timer thread only. Source: Apache `TimerLog`.
 */
export class TimerLog {
  readonly #drive: Drive;
  readonly #directory: string;
  readonly #fileSize: number;
  readonly #files = new Map<number, StoreFile>();
  readonly #dirty = new Set<StoreFile>();
  readonly #block: Buffer = Buffer.alloc(BLOCK_SIZE);
  #blockStart = -1;
  #blockEnd = -1;
  #first: number;
  #end: number;

  /** @throws MillraceError MILLRACE_STORE_CORRUPT on files of another size */
  constructor(drive: Drive, directory: string, fileSize: number) {
    this.#drive = drive;
    this.#directory = directory;
    this.#fileSize = fileSize;
    drive.names.makeDirectory(directory);
    const bases = listBases(drive.names, directory, fileSize);
    this.#first = bases[0] ?? 0;
    this.#end = bases.length === 0 ? 0 : bases.at(-1)! + fileSize;
  }

  /** First position that is kept. */
  get first(): number {
    return this.#first;
  }

  /** Where the next unit goes. */
  get end(): number {
    return this.#end;
  }

  /** What stands at `position` or behind it counts no more. */
  cut(position: number): void {
    this.#end = Math.max(this.#first, position);
    this.#blockStart = -1;
  }

  #file(position: number, create: boolean): StoreFile | undefined {
    const base = position - (position % this.#fileSize);
    let file = this.#files.get(base);
    if (file !== undefined) return file;
    const path = basePath(this.#directory, base);
    const exists = this.#drive.names.exists(path);
    if (!exists && !create) return undefined;
    file = this.#drive.openFile(path, { size: this.#fileSize, writable: true, mapped: false });
    if (!exists) this.#drive.names.syncDirectory(this.#directory);
    this.#files.set(base, file);
    return file;
  }

  /** Where a unit that is appended next to `position` stands: there, or at the start of the next file. */
  placeAt(position: number): number {
    const rest = this.#fileSize - (position % this.#fileSize);
    return UNIT_SIZE + UNIT_BLANK_SIZE > rest ? position + rest : position;
  }

  /** Writes units[0, size), whole units that fit into the rest of one file, at the end, which is what `placeAt` says. */
  append(units: Buffer, size: number): void {
    const place = this.placeAt(this.#end);
    if (place > this.#end) {
      const blank = Buffer.alloc(UNIT_BLANK_SIZE);
      blank.writeUInt32BE(place - this.#end, 0);
      blank.writeUInt32BE(UNIT_BLANK_MAGIC, 12);
      this.#write(this.#end, blank, UNIT_BLANK_SIZE);
    }
    this.#write(place, units, size);
    this.#end = place + size;
    this.#blockStart = -1;
  }

  #write(position: number, bytes: Buffer, size: number): void {
    const file = this.#file(position, true)!;
    file.write(position % this.#fileSize, bytes, 0, size);
    this.#dirty.add(file);
  }

  /**
   * The unit at the position, as a view that is good until the next call: `at` in the buffer.
   * @returns undefined where the log holds none
   */
  read(position: number): { bytes: Buffer; at: number } | undefined {
    if (position < this.#first || position + UNIT_SIZE > this.#end) return undefined;
    if (this.#blockStart < 0 || position < this.#blockStart || position + UNIT_SIZE > this.#blockEnd) {
      const file = this.#file(position, false);
      if (file === undefined) return undefined;
      const inFile = position % this.#fileSize;
      // Chains are followed from their ends to their beginnings, and from there on: the unit stands in the middle.
      const start = Math.max(0, inFile - BLOCK_SIZE / 2);
      const size = Math.min(BLOCK_SIZE, this.#fileSize - start);
      file.read(start, this.#block, 0, size);
      this.#blockStart = position - inFile + start;
      this.#blockEnd = this.#blockStart + size;
    }
    return { bytes: this.#block, at: position - this.#blockStart };
  }

  /** Start of the first file, and its last unit; undefined while there is only one file. */
  firstFile(): { base: number; lastUnit: number } | undefined {
    const base = this.#first - (this.#first % this.#fileSize);
    if (base + this.#fileSize > this.#end) return undefined;
    const count = Math.floor((this.#fileSize - UNIT_BLANK_SIZE) / UNIT_SIZE);
    return { base, lastUnit: base + (count - 1) * UNIT_SIZE };
  }

  removeFirstFile(): void {
    const base = this.#first - (this.#first % this.#fileSize);
    const file = this.#files.get(base);
    if (file !== undefined) {
      this.#dirty.delete(file);
      file.close();
      this.#files.delete(base);
    }
    this.#drive.names.remove(basePath(this.#directory, base));
    this.#first = base + this.#fileSize;
    this.#blockStart = -1;
  }

  sync(): void {
    for (const file of this.#dirty) file.sync();
    this.#dirty.clear();
  }

  close(): void {
    for (const file of this.#files.values()) file.close();
    this.#files.clear();
  }
}
