import {
  BEGIN_PHYSICAL_OFFSET_OFFSET,
  BEGIN_TIMESTAMP_OFFSET,
  COUNT_OFFSET,
  END_PHYSICAL_OFFSET_OFFSET,
  END_TIMESTAMP_OFFSET,
  ENTRY_PHYSICAL_OFFSET_OFFSET,
  ENTRY_PREVIOUS_OFFSET,
  INDEX_ENTRY_SIZE,
  INDEX_HEADER_SIZE,
  indexFileSize,
  SLOT_SIZE,
  USED_SLOTS_OFFSET,
} from "../../format/files/index-file.ts";
import { RECORD_SIZE_MIN, RecordParts, readInt64, recordSizeAt } from "../../format/record/message.ts";
import type { Drive, StoreFile } from "../../os/api.ts";
import { RecordKeys } from "../index/record-keys.ts";
import { StoppedLog } from "./stopped-log.ts";
import type { FindingKind, Findings } from "./verify-findings.ts";
import type { StoreLayout } from "./verify-layout.ts";
import type { OnVerified } from "./verify-log.ts";
import { type MarkRanges, Marks } from "./verify-marks.ts";

/** Entries, and slots, read at once. */
const BLOCK_COUNT = 16_384;

export interface VerifiedIndexFile {
  file: string;
  entryCount: number;
  endPhysicalOffset: number;
}

/**
 * Checks one file of the key index: its header, that the record of each entry has a key of that hash (entries with a
 * mark are known to be right), and that each entry is reached from its slot. Writes nothing.
 */
export function verifyIndexFile(
  drive: Drive,
  layout: StoreLayout,
  marks: MarkRanges,
  fileIndex: number,
  findings: Findings,
  onVerified: OnVerified,
): VerifiedIndexFile {
  const path = layout.indexFiles[fileIndex]!;
  const file = drive.openFile(path, { size: indexFileSize(layout.indexShape), writable: false, mapped: false });
  const log = new StoppedLog(drive, layout.commitLog, layout.logFileSize, layout.logFiles);
  try {
    return new IndexFileCheck(file, log, layout, new Marks(marks.words, marks.index[fileIndex]!), findings, onVerified).run();
  } finally {
    file.close();
    log.close();
  }
}

class IndexFileCheck {
  readonly #file: StoreFile;
  readonly #log: StoppedLog;
  readonly #layout: StoreLayout;
  readonly #marks: Marks;
  readonly #findings: Findings;
  readonly #onVerified: OnVerified;
  readonly #logStart: number;
  readonly #parts = new RecordParts();
  readonly #keys = new RecordKeys();
  /** The record whose keys #keys holds; many entries in a row are of one. */
  #known = -1;
  #isKnownWhole = false;

  constructor(file: StoreFile, log: StoppedLog, layout: StoreLayout, marks: Marks, findings: Findings, onVerified: OnVerified) {
    this.#file = file;
    this.#log = log;
    this.#layout = layout;
    this.#marks = marks;
    this.#findings = findings;
    this.#onVerified = onVerified;
    this.#logStart = layout.logFiles[0]?.base ?? 0;
  }

  run(): VerifiedIndexFile {
    const { slotCount, entryCount: entryMax } = this.#layout.indexShape;
    const header = Buffer.alloc(INDEX_HEADER_SIZE);
    this.#file.read(0, header, 0, INDEX_HEADER_SIZE);
    const count = header.readInt32BE(COUNT_OFFSET);
    const begin = readInt64(header, BEGIN_PHYSICAL_OFFSET_OFFSET);
    const end = readInt64(header, END_PHYSICAL_OFFSET_OFFSET);
    if (count < 0 || count > entryMax) this.#add("index-header", `its count is ${count}, of at most ${entryMax}`);
    const entryEnd = Math.min(Math.max(count, 1), entryMax);
    const times = [readInt64(header, BEGIN_TIMESTAMP_OFFSET), readInt64(header, END_TIMESTAMP_OFFSET)] as const;
    if (times[0] > times[1])
      this.#add("index-header", `its first record was stored at ${times[0]}, after its last, at ${times[1]}`);
    if (begin > end || begin < 0) this.#add("index-header", `it goes from physicalOffset ${begin} to ${end}`);
    const usedSlots = header.readInt32BE(USED_SLOTS_OFFSET);
    if (usedSlots < 0 || usedSlots > Math.min(slotCount, entryMax))
      this.#add("index-header", `it says that ${usedSlots} slots are used`);
    const newest = new Int32Array(slotCount);
    this.#checkEntries(entryEnd, begin, end, newest);
    // Where a process died, slots may be ahead of the header; the next start takes them as they are.
    if (this.#layout.lastExit === "clean") this.#checkSlots(newest);
    return { file: this.#file.path, entryCount: entryEnd - 1, endPhysicalOffset: entryEnd > 1 ? end : 0 };
  }

  /** @param newest is filled with the number of the newest entry of each slot */
  #checkEntries(entryEnd: number, begin: number, end: number, newest: Int32Array): void {
    const { slotCount } = this.#layout.indexShape;
    const entriesAt = INDEX_HEADER_SIZE + SLOT_SIZE * slotCount;
    const block = Buffer.alloc(BLOCK_COUNT * INDEX_ENTRY_SIZE);
    let lastPhysicalOffset = -1;
    for (let first = 1; first < entryEnd; first += BLOCK_COUNT) {
      const count = Math.min(BLOCK_COUNT, entryEnd - first);
      this.#file.read(entriesAt + first * INDEX_ENTRY_SIZE, block, 0, count * INDEX_ENTRY_SIZE);
      for (let i = 0; i < count; i++) {
        const number = first + i;
        const at = i * INDEX_ENTRY_SIZE;
        const keyHash = block.readInt32BE(at);
        const physicalOffset = readInt64(block, at + ENTRY_PHYSICAL_OFFSET_OFFSET);
        const previous = block.readInt32BE(at + ENTRY_PREVIOUS_OFFSET);
        const fault = this.#marks.has(number) ? undefined : this.#entryFault(keyHash, physicalOffset);
        if (fault !== undefined) this.#add("index-entry", `entry ${number} ${fault}`, physicalOffset);
        else if (physicalOffset < Math.max(begin, lastPhysicalOffset) || physicalOffset > end) {
          const range = `between ${Math.max(begin, lastPhysicalOffset)} and ${end}`;
          const text = `entry ${number} is of physicalOffset ${physicalOffset}, out of order ${range}`;
          this.#add("index-entry", text, physicalOffset);
        } else lastPhysicalOffset = physicalOffset;
        if (keyHash < 0) continue;
        const slot = keyHash % slotCount;
        if (previous !== newest[slot]) {
          this.#add(
            "index-slot",
            `entry ${number} leads to entry ${previous} instead of ${newest[slot]}: older keys are not found`,
          );
        }
        newest[slot] = number;
      }
      this.#onVerified((first + count - 1) * INDEX_ENTRY_SIZE, first + count - 1);
    }
  }

  #entryFault(keyHash: number, physicalOffset: number): string | undefined {
    if (keyHash < 0) return `has the key hash ${keyHash}`;
    if (physicalOffset >= 0 && physicalOffset < this.#logStart) return undefined; // Deleted with its log file.
    if (physicalOffset !== this.#known) this.#load(physicalOffset);
    if (!this.#isKnownWhole) return `points at physicalOffset ${physicalOffset}, where no whole record stands`;
    if (this.#keys.hashes.includes(keyHash)) return undefined;
    return `has a key hash that the record at physicalOffset ${physicalOffset} has no key of: its topic or properties, or the entry, were changed`;
  }

  #load(physicalOffset: number): void {
    const log = this.#log;
    this.#known = physicalOffset;
    this.#isKnownWhole = false;
    if (!log.load(physicalOffset, RECORD_SIZE_MIN)) return;
    const size = log.bytes.readUInt32BE(log.at);
    if (!log.load(physicalOffset, size) || recordSizeAt(log.bytes, log.at, log.end) !== size) return;
    this.#parts.locate(log.bytes, log.at);
    this.#keys.find(log.bytes, this.#parts);
    this.#isKnownWhole = true;
  }

  #checkSlots(newest: Int32Array): void {
    const block = Buffer.alloc(BLOCK_COUNT * SLOT_SIZE);
    for (let first = 0; first < newest.length; first += BLOCK_COUNT) {
      const count = Math.min(BLOCK_COUNT, newest.length - first);
      this.#file.read(INDEX_HEADER_SIZE + first * SLOT_SIZE, block, 0, count * SLOT_SIZE);
      for (let i = 0; i < count; i++) {
        const found = block.readInt32BE(i * SLOT_SIZE);
        const wanted = newest[first + i]!;
        if (found === wanted) continue;
        this.#add("index-slot", `slot ${first + i} leads to entry ${found} instead of ${wanted}: its keys are not found`);
      }
    }
  }

  #add(kind: FindingKind, text: string, physicalOffset?: number): void {
    const file = this.#file.path;
    this.#findings.add({ kind, text: `${file}: ${text}`, file, ...(physicalOffset === undefined ? {} : { physicalOffset }) });
  }
}
