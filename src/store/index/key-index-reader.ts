import { type IndexKeyType, type IndexShape, keyHashOf } from "../../format/files/index-file.ts";
import type { Drive } from "../../os/api.ts";
import { fileExists, fileSize } from "../../os/files.ts";
import { IndexFile } from "./index-file.ts";
import { listIndexFiles } from "./key-index.ts";

export interface KeyIndexAnswer {
  /** Newest first, each once. The index keeps hashes only: read the records and compare their keys. */
  physicalOffsets: number[];
  /** Store timestamp and physicalOffset of the newest record in the index; 0 when it is empty. */
  lastUpdateTimestampMs: number;
  lastUpdatePhysicalOffset: number;
}

/**
 * Answers queries from the key index, in any thread, while the key indexer writes it.
 * Source: Apache `IndexService.queryOffset`.
 */
export class KeyIndexReader {
  readonly #drive: Drive;
  readonly #directory: string;
  readonly #shape: IndexShape;
  readonly #files = new Map<string, IndexFile>();

  constructor(drive: Drive, directory: string, shape: IndexShape) {
    this.#drive = drive;
    this.#directory = directory;
    this.#shape = shape;
  }

  /**
   * Records with that key, stored in [beginMs, endMs]. Times are kept in whole seconds, rounded down: a record
   * may be missed whose second began before `beginMs`.
   * @param type "U" unique key, "K" one of KEYS (the same name space), "T" the TAGS text
   */
  query(topic: string, key: string, countMax: number, beginMs: number, endMs: number, type: IndexKeyType = "K"): KeyIndexAnswer {
    const physicalOffsets: number[] = [];
    const keyHash = keyHashOf(topic, key, type);
    const files = this.#refresh();
    const newest = files.at(-1);
    for (let i = files.length - 1; i >= 0; i--) {
      const file = files[i]!;
      if (file.isTimeMatched(beginMs, endMs)) file.select(physicalOffsets, keyHash, countMax, beginMs, endMs);
      if (file.beginTimestamp < beginMs || physicalOffsets.length >= countMax) break;
    }
    return {
      physicalOffsets,
      lastUpdateTimestampMs: newest?.endTimestamp ?? 0,
      lastUpdatePhysicalOffset: newest?.endPhysicalOffset ?? 0,
    };
  }

  /** The files that are there now, oldest first. */
  #refresh(): IndexFile[] {
    const paths = listIndexFiles(this.#directory);
    const present = new Set(paths);
    for (const [path, file] of this.#files) {
      if (present.has(path)) {
        file.refresh();
      } else {
        file.close();
        this.#files.delete(path);
      }
    }
    const files: IndexFile[] = [];
    for (const path of paths) {
      const file = this.#files.get(path) ?? this.#open(path);
      // Without an end it is so new that its header has not been written.
      if (file !== undefined && file.endTimestamp > 0) files.push(file);
    }
    return files;
  }

  /** undefined: it is being made, or was removed, at this moment. */
  #open(path: string): IndexFile | undefined {
    try {
      const file = new IndexFile(this.#drive, path, this.#shape, false);
      this.#files.set(path, file);
      return file;
    } catch (error) {
      if (!fileExists(path) || fileSize(path) === 0) return undefined;
      throw error;
    }
  }

  close(): void {
    for (const file of this.#files.values()) file.close();
    this.#files.clear();
  }
}
