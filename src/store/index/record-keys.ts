import { keyHashOfBytes, tagsHashOfBytes, topicHashOfBytes } from "../../format/files/index-file.ts";
import { KeyScan } from "../../format/record/key-scan.ts";
import type { RecordParts } from "../../format/record/message.ts";

const BLANK = 0x20;

/**
 * What the key index knows a record by: the unique key, each word of KEYS, the TAGS text. Makes no strings of
 * plain ASCII. One instance a thread. Source: Apache `IndexService.buildIndex`.
 */
export class RecordKeys {
  readonly #scan = new KeyScan();
  /** Key hashes of the record last given to `find`, in the order in which they enter the index. */
  readonly hashes: number[] = [];

  /** @param parts of the record, in `bytes` */
  find(bytes: Buffer, parts: RecordParts): void {
    this.#scan.scan(bytes, parts.propertiesStart, parts.propertiesEnd);
    this.take(bytes, parts, this.#scan);
  }

  /** The same of properties that were scanned before. */
  take(bytes: Buffer, parts: RecordParts, scan: KeyScan): void {
    const { hashes } = this;
    const topicHash = topicHashOfBytes(bytes, parts.topicStart, parts.topicEnd);
    hashes.length = 0;
    if (scan.uniqueKeyStart >= 0) hashes.push(keyHashOfBytes(topicHash, bytes, scan.uniqueKeyStart, scan.uniqueKeyEnd));
    if (scan.keysStart >= 0) {
      for (let from = scan.keysStart; from < scan.keysEnd; ) {
        let to = from;
        while (to < scan.keysEnd && bytes[to] !== BLANK) to++;
        if (to > from) hashes.push(keyHashOfBytes(topicHash, bytes, from, to));
        from = to + 1;
      }
    }
    if (scan.tagsStart >= 0) hashes.push(tagsHashOfBytes(topicHash, bytes, scan.tagsStart, scan.tagsEnd));
  }
}
