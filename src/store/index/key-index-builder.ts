import {
  PHYSICAL_OFFSET_OFFSET,
  RecordParts,
  readInt64,
  SYS_FLAG_ROLLBACK,
  SYS_FLAG_TRANSACTION_MASK,
} from "../../format/record/message.ts";
import type { KeyIndex } from "./key-index.ts";
import { RecordKeys } from "./record-keys.ts";

/**
 * Puts the keys of log records into the index, in log order. Key-indexer thread only.
 * Source: Apache `IndexService.buildIndex`.
 */
export class KeyIndexBuilder {
  readonly #index: KeyIndex;
  readonly #parts = new RecordParts();
  readonly #keys = new RecordKeys();
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
    this.#keys.find(bytes, parts);
    for (const keyHash of this.#keys.hashes) this.#put(keyHash, physicalOffset, storeTimestamp);
  }

  /**
   * The same for `count` records of `size` bytes each, the first at physicalOffset, whose key hashes are known:
   * `keyCount` a record, from hashes[from] on.
   */
  addRun(
    physicalOffset: number,
    size: number,
    count: number,
    storeTimestamp: number,
    hashes: Int32Array,
    from: number,
    keyCount: number,
  ): void {
    const index = this.#index;
    if (keyCount === 0) return;
    let done = 0;
    for (; done < count && physicalOffset + done * size <= index.endPhysicalOffset; done++) {
      const offset = physicalOffset + done * size;
      if (offset < index.endPhysicalOffset) continue;
      this.#known = index.newestEntriesOf(offset);
      for (let i = 0; i < keyCount; i++) this.#put(hashes[from + done * keyCount + i]!, offset, storeTimestamp);
    }
    this.#known = 0;
    if (done < count)
      index.putRun(physicalOffset + done * size, size, storeTimestamp, hashes, from + done * keyCount, keyCount, count - done);
  }

  #put(keyHash: number, physicalOffset: number, storeTimestamp: number): void {
    if (this.#known > 0) this.#known--;
    else this.#index.put(keyHash, physicalOffset, storeTimestamp);
  }
}
