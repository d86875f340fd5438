import { keyHashOfBytes, tagsHashOfBytes, topicHashOfBytes } from "../format/index-file.ts";
import {
  PHYSICAL_OFFSET_OFFSET,
  RecordParts,
  readInt64,
  SYS_FLAG_ROLLBACK,
  SYS_FLAG_TRANSACTION_MASK,
} from "../format/message.ts";
import { PropertyScan } from "../format/property-scan.ts";
import type { KeyIndex } from "./key-index.ts";

const UNIQUE_KEY = Buffer.from("UNIQ_KEY");
const KEYS = Buffer.from("KEYS");
const TAGS = Buffer.from("TAGS");
const BLANK = 0x20;

/**
 * Puts the keys of log records into the index, in log order: the unique key, each word of KEYS, the TAGS text.
 * Makes no strings of plain ASCII. Key-indexer thread only.
 * Source: Apache `IndexService.buildIndex`.
 */
export class KeyIndexBuilder {
  readonly #index: KeyIndex;
  readonly #parts = new RecordParts();
  readonly #scan = new PropertyScan();
  /** Keys of the present record that are in the index already. */
  #known = 0;

  constructor(index: KeyIndex) {
    this.#index = index;
  }

  /**
   * Indexes the record at bytes[start], which must have passed `recordSizeAt`. Records that are in the index
   * already are skipped, so that dispatching may start anywhere at or before its end.
   * @throws MillraceError MILLRACE_STORE_FULL, MILLRACE_STORE_IO
   */
  addRecord(bytes: Buffer, start: number): void {
    const index = this.#index;
    const physicalOffset = readInt64(bytes, start + PHYSICAL_OFFSET_OFFSET);
    const end = index.endPhysicalOffset;
    if (physicalOffset < end) return;
    const parts = this.#parts;
    parts.locate(bytes, start);
    if ((parts.sysFlag & SYS_FLAG_TRANSACTION_MASK) === SYS_FLAG_ROLLBACK) return;
    this.#known = physicalOffset === end ? index.newestEntriesOf(physicalOffset) : 0;
    const storeTimestamp = readInt64(bytes, parts.storeTimestampAt);
    const topicHash = topicHashOfBytes(bytes, parts.topicStart, parts.topicEnd);
    const { propertiesStart, propertiesEnd } = parts;
    const scan = this.#scan;
    if (scan.find(bytes, propertiesStart, propertiesEnd, UNIQUE_KEY)) {
      this.#put(keyHashOfBytes(topicHash, bytes, scan.start, scan.end), physicalOffset, storeTimestamp);
    }
    if (scan.find(bytes, propertiesStart, propertiesEnd, KEYS)) {
      for (let from = scan.start; from < scan.end; ) {
        let to = from;
        while (to < scan.end && bytes[to] !== BLANK) to++;
        if (to > from) this.#put(keyHashOfBytes(topicHash, bytes, from, to), physicalOffset, storeTimestamp);
        from = to + 1;
      }
    }
    if (scan.find(bytes, propertiesStart, propertiesEnd, TAGS)) {
      this.#put(tagsHashOfBytes(topicHash, bytes, scan.start, scan.end), physicalOffset, storeTimestamp);
    }
  }

  #put(keyHash: number, physicalOffset: number, storeTimestamp: number): void {
    if (this.#known > 0) this.#known--;
    else this.#index.put(keyHash, physicalOffset, storeTimestamp);
  }
}
