import path from "node:path";
import { nativeCrc32 } from "../../base/crc32.ts";
import { MillraceError } from "../../base/errors.ts";
import {
  COMPACTED_ENTRY_SIZE,
  COMPACTED_HEADER_SIZE,
  compactedFileSize,
  encodeCompactedHeader,
  writeCompactedEntry,
} from "../../format/files/compacted-queue.ts";
import { ENTRY_SIZE, entryPhysicalOffset, entrySize } from "../../format/files/consume-queue.ts";
import { QUEUE_OFFSET_OFFSET, RecordParts, readInt64 } from "../../format/record/message.ts";
import { PropertyScan } from "../../format/record/property-scan.ts";
import type { Drive, StoreFile } from "../../os/api.ts";
import { makeDirectory, removeFile, renameFile } from "../../os/files.ts";
import { fileName } from "../log/log-files.ts";
import { LogReader } from "../log/log-reader.ts";
import { CompactedQueue, setAside } from "./compacted-queue.ts";
import { ConsumeQueue } from "./consume-queue.ts";
import { QueueSlots, type QueueSlotsMemory } from "./queue-slots.ts";

const KEYS = Buffer.from("KEYS");
const STAGE_SIZE = 1_048_576;

/** One queue to compact. Plain data, for another thread. */
export interface CompactTask {
  /** Where the compacted files of the queue are. */
  directory: string;
  /** The present one, if there is one. */
  previous: string | undefined;
  queueDirectory: string;
  queueFileSize: number;
  /** The queue's slot, and where its newest entries are. */
  slot: number;
  queueSlots: QueueSlotsMemory;
  logDirectory: string;
  logFileSize: number;
  /** queueOffsets of the queue that are to be taken in: [from, upTo). */
  from: number;
  upTo: number;
  /** End of the log, as far as it can be read. */
  logEnd: number;
}

export interface CompactResult {
  /** The new file, which takes the place of the previous one. */
  file: string;
  kept: number;
  /** Messages of the previous file that are damaged. They are not in the new one. */
  damaged: number;
}

interface Kept {
  queueOffset: number;
  size: number;
}

/**
 * Writes a new compacted file: of the previous one and the queue's new messages the last of each key, unless it has no
 * body, which deletes the key. Messages without keys are not kept. The file appears whole or not at all; the previous
 * one stays for whoever has it open. Any thread. Source of the rules: Apache `CompactionLog.shouldRetainMsg`.
 * @throws MillraceError MILLRACE_STORE_FULL, MILLRACE_STORE_IO
 */
export function compactQueue(drive: Drive, task: CompactTask): CompactResult {
  const source = new Source(drive, task);
  try {
    const last = new Map<string, Kept>();
    source.each((record) => {
      const key = source.keyOf(record);
      if (key === "") return;
      last.set(key, { queueOffset: readInt64(record, QUEUE_OFFSET_OFFSET), size: source.hasBody ? record.length : 0 });
    });
    const damaged = source.damaged;
    let dataSize = 0;
    let count = 0;
    for (const { size } of last.values()) {
      dataSize += size;
      if (size > 0) count++;
    }
    makeDirectory(task.directory);
    const name = path.join(task.directory, fileName(task.upTo));
    const temporary = `${name}.tmp`;
    removeFile(temporary);
    const file = drive.openFile(temporary, { size: compactedFileSize({ count, dataSize }), writable: true, mapped: false });
    try {
      file.reserve();
      const data = new Stage(file, COMPACTED_HEADER_SIZE);
      const index = new Stage(file, COMPACTED_HEADER_SIZE + dataSize);
      const entry = Buffer.alloc(COMPACTED_ENTRY_SIZE);
      let tableCrc = 0;
      source.each((record) => {
        const queueOffset = readInt64(record, QUEUE_OFFSET_OFFSET);
        const kept = last.get(source.keyOf(record));
        if (kept === undefined || kept.queueOffset !== queueOffset || kept.size === 0) return;
        const crc = nativeCrc32(record, 0, record.length);
        writeCompactedEntry(entry, 0, { queueOffset, position: data.position, size: record.length, crc });
        tableCrc = nativeCrc32(entry, 0, entry.length, tableCrc);
        data.write(record);
        index.write(entry);
      });
      data.flush();
      index.flush();
      if (data.position !== COMPACTED_HEADER_SIZE + dataSize) throw changedMeanwhile(task);
      const header = encodeCompactedHeader({ upTo: task.upTo, count, dataSize, tableCrc });
      file.write(0, header, 0, header.length);
      file.sync();
    } finally {
      file.close();
    }
    // One of that name could not be read, else there were nothing to compact.
    if (drive.names.exists(name)) setAside(name);
    renameFile(temporary, name);
    return { file: name, kept: count, damaged };
  } finally {
    source.close();
  }
}

/** Of the messages that the first pass found, the second one did not. */
function changedMeanwhile({ directory, upTo }: CompactTask): MillraceError {
  return new MillraceError("MILLRACE_STORE_IO", `${directory}: messages went while they were compacted`, { directory, upTo });
}

/** All messages that compaction looks at, in the order of the queue; twice, since the first pass finds what is last. */
class Source {
  readonly #previous: CompactedQueue | undefined;
  readonly #queue: ConsumeQueue;
  readonly #log: LogReader;
  readonly #task: CompactTask;
  readonly #parts = new RecordParts();
  readonly #scan = new PropertyScan();
  /** Records of the previous file that the last pass has left out. */
  damaged = 0;

  constructor(drive: Drive, task: CompactTask) {
    this.#task = task;
    this.#previous = task.previous === undefined ? undefined : CompactedQueue.open(drive, task.previous);
    this.#previous?.checkTable();
    const tail = { slots: new QueueSlots(task.queueSlots), slot: task.slot };
    this.#queue = new ConsumeQueue(drive, task.queueDirectory, task.queueFileSize, false, { tail });
    this.#log = new LogReader(drive, task.logDirectory, task.logFileSize);
  }

  each(visit: (record: Buffer) => void): void {
    const previous = this.#previous;
    this.damaged = 0;
    for (let i = 0; previous !== undefined && i < previous.header.count; i++) {
      const record = previous.record(previous.entry(i));
      if (record === undefined) this.damaged++;
      else visit(record);
    }
    const entries = Buffer.alloc(1000 * ENTRY_SIZE);
    for (let offset = this.#task.from; offset < this.#task.upTo; ) {
      const count = this.#queue.read(offset, Math.min(1000, this.#task.upTo - offset), entries);
      if (count === 0) {
        // A file of the queue that was deleted as too old.
        offset = (Math.floor(offset / this.#queue.entriesPerFile) + 1) * this.#queue.entriesPerFile;
        continue;
      }
      for (let i = 0; i < count; i++) {
        if (entrySize(entries, i * ENTRY_SIZE) === 0) continue;
        const record = this.#log.record(entryPhysicalOffset(entries, i * ENTRY_SIZE), this.#task.logEnd);
        if (record !== undefined) visit(record);
      }
      offset += count;
    }
  }

  /** The record's KEYS; empty: none. */
  keyOf(record: Buffer): string {
    this.#parts.locate(record, 0);
    const { propertiesStart, propertiesEnd } = this.#parts;
    if (!this.#scan.find(record, propertiesStart, propertiesEnd, KEYS)) return "";
    return record.toString("utf8", this.#scan.start, this.#scan.end).trim();
  }

  /** Of the record last given to `keyOf`. */
  get hasBody(): boolean {
    return this.#parts.bodyEnd > this.#parts.bodyStart;
  }

  close(): void {
    this.#previous?.close();
    this.#queue.close();
    this.#log.close();
  }
}

/** Gathers small writes to one stretch of a file. */
class Stage {
  readonly #file: StoreFile;
  readonly #bytes = Buffer.allocUnsafeSlow(STAGE_SIZE);
  #size = 0;
  #written: number;

  constructor(file: StoreFile, position: number) {
    this.#file = file;
    this.#written = position;
  }

  get position(): number {
    return this.#written + this.#size;
  }

  write(bytes: Buffer): void {
    if (this.#size + bytes.length > STAGE_SIZE) this.flush();
    if (bytes.length > STAGE_SIZE) {
      this.#file.write(this.#written, bytes, 0, bytes.length);
      this.#written += bytes.length;
      return;
    }
    this.#size += bytes.copy(this.#bytes, this.#size);
  }

  flush(): void {
    if (this.#size > 0) this.#file.write(this.#written, this.#bytes, 0, this.#size);
    this.#written += this.#size;
    this.#size = 0;
  }
}
