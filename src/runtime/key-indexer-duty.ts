import { clockFrom } from "../base/clock.ts";
import { MillraceError } from "../base/errors.ts";
import { RECORD_BLANK, RecordParts, recordSizeAt } from "../format/record/message.ts";
import * as shared from "../format/shared/shared-words.ts";
import type { Drive } from "../os/api.ts";
import * as feed from "../ring/index-feed.ts";
import type { EngineInit } from "../store/engine-init.ts";
import { KeyIndex } from "../store/index/key-index.ts";
import { KeyIndexBuilder } from "../store/index/key-index-builder.ts";
import { LogReader } from "../store/log/log-reader.ts";
import { nextRecord } from "../store/log/log-scan.ts";
import { SharedLog } from "../store/shared-log.ts";
import { StorePaths } from "../store/store-paths.ts";
import { type Duty, STOP_INDEXERS } from "./duty.ts";

const PASS_MAX = 2048;

export interface KeyIndexerInit {
  engine: EngineInit;
  /** After the machine died: index files newer than this (ms) are built anew. */
  trustedTimestamp: number | undefined;
}

/**
 * The key indexer: log -> index files. Nobody waits for it, so while there is work it is not rung awake but naps, which
 * spares each send a wake-up.
 */
export class KeyIndexerDuty implements Duty {
  readonly #log: SharedLog;
  readonly #reader: LogReader;
  readonly #index: KeyIndex;
  readonly #builder: KeyIndexBuilder;
  readonly #feed: feed.IndexFeedConsumer | undefined;
  readonly #limitCell: number;
  readonly #parts = new RecordParts();
  #minOffset = 0;
  #isChecked = false;

  constructor({ engine, trustedTimestamp }: KeyIndexerInit, drive: Drive) {
    const paths = new StorePaths(engine.storePath, engine.commitLogPath);
    this.#log = new SharedLog(engine.shared);
    this.#reader = new LogReader(drive, paths.commitLog, engine.logFileSize);
    this.#feed = engine.keyFeed === undefined ? undefined : new feed.IndexFeedConsumer(engine.keyFeed);
    this.#limitCell = engine.isSyncFlush ? shared.FLUSHED_OFFSET : shared.APPENDED_OFFSET;
    this.#index = new KeyIndex({
      drive,
      directory: paths.index,
      shape: { slotCount: engine.indexSlotCount, entryCount: engine.indexEntryCount },
      clock: clockFrom(engine.clock),
      logEnd: this.#log.offset(shared.APPENDED_OFFSET),
      ...(trustedTimestamp === undefined ? {} : { trustedTimestamp }),
    });
    this.#builder = new KeyIndexBuilder(this.#index);
  }

  /** A look at some ten million keys takes a second: it is not done while clients wait for the start. */
  #check(): boolean {
    const { words } = this.#log;
    if (Atomics.load(words, shared.SERVING) === 0) return false;
    if (!this.#index.check(() => Atomics.load(words, shared.STOPPING) < STOP_INDEXERS)) return false;
    this.#log.setOffset(shared.INDEXED_OFFSET, Math.max(this.#index.endPhysicalOffset, this.#log.offset(shared.MIN_OFFSET)));
    this.#isChecked = true;
    return true;
  }

  work(): boolean {
    if (!this.#isChecked && !this.#check()) return false;
    const from = this.#log.offset(shared.INDEXED_OFFSET);
    const limit = this.#log.offset(this.#limitCell);
    this.#forgetDeleted();
    if (from >= limit) return false;
    try {
      this.#indexPass(from, limit);
      return true;
    } catch (error) {
      // The disk has no room for keys: they are made from the log, from the same place on, once there is.
      if (!(error instanceof MillraceError) || error.code !== "MILLRACE_STORE_FULL") throw error;
      return false;
    }
  }

  rest(): void {
    this.#index.rest();
    this.#reader.dropPages();
  }

  #indexPass(from: number, limit: number): void {
    this.#reader.invalidate();
    this.#feed?.refresh();
    let offset = from;
    for (let count = 0; offset < limit && count < PASS_MAX; count++) {
      const fed = this.#indexFed(offset, limit);
      offset = fed > 0 ? offset + fed : this.#indexOne(offset, limit);
    }
    this.#feed?.release();
    this.#index.publish();
    this.#tellDurable();
    this.#log.setOffset(shared.INDEXED_OFFSET, offset);
  }

  #tellDurable(): void {
    if (this.#index.durableTimestamp > 0) this.#log.setOffset(shared.INDEX_DURABLE_TIMESTAMP, this.#index.durableTimestamp);
  }

  /** Deletes index files behind the log, and closes deleted files of the log. */
  #forgetDeleted(): void {
    const minOffset = this.#log.offset(shared.MIN_OFFSET);
    if (minOffset === this.#minOffset) return;
    this.#minOffset = minOffset;
    this.#reader.forgetBelow(minOffset);
    this.#index.deleteBelow(minOffset);
  }

  /** By what the log writer says of the records from `offset` on. @returns the size of those done; 0: nothing is said, read it */
  #indexFed(offset: number, limit: number): number {
    const from = this.#feed;
    const at = from === undefined ? -1 : from.seek(offset);
    if (at < 0) return 0;
    const { words, cells } = from!;
    const count = from!.countFrom(at, offset, limit);
    if (count === 0) return 0;
    const size = words[at + feed.FEED_SIZE]!;
    const storeTimestamp = cells[(at >> 1) + feed.KEY_FEED_STORE_TIMESTAMP]!;
    const keyCount = words[at + feed.KEY_FEED_COUNT]!;
    const hashesAt = at + feed.KEY_FEED_HASHES + from!.skippedAt(at, offset) * keyCount;
    this.#builder.addRun(offset, size, count, storeTimestamp, words, hashesAt, keyCount);
    return count * size;
  }

  /** @returns where the next record is */
  #indexOne(offset: number, limit: number): number {
    const reader = this.#reader;
    if (!reader.window(offset, limit)) return Math.min(limit, reader.baseOf(offset) + reader.fileSize); // Deleted by retention.
    if (reader.end - reader.at >= 4) {
      const claimed = reader.bytes.readUInt32BE(reader.at);
      if (claimed > reader.end - reader.at && claimed <= limit - offset) reader.window(offset, limit, claimed);
    }
    const size = recordSizeAt(reader.bytes, reader.at, reader.end);
    if (size === RECORD_BLANK) return reader.baseOf(offset) + reader.fileSize;
    if (size > 0) {
      this.#builder.addRecord(reader.bytes, reader.at);
      return offset + size;
    }
    const next = nextRecord(reader, offset + 1, limit, this.#parts); // A damaged stretch that recovery has reported.
    return next < 0 ? limit : next;
  }

  close(): void {
    this.#index.close();
    this.#tellDurable();
    this.#reader.close();
  }
}
