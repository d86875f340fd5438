import { keyHashOfBytes, tagsHashOfBytes, topicHashOfBytes } from "../../format/files/index-file.ts";
import type { RecordParts } from "../../format/record/message.ts";
import { PropertyScan } from "../../format/record/property-scan.ts";

const UNIQUE_KEY = Buffer.from("UNIQ_KEY");
const KEYS = Buffer.from("KEYS");
const TAGS = Buffer.from("TAGS");
const BLANK = 0x20;

/**
 * What the key index knows a record by: the unique key, each word of KEYS, the TAGS text. Makes no strings of
 * plain ASCII. One instance a thread. Source: Apache `IndexService.buildIndex`.
 */
export class RecordKeys {
  readonly #scan = new PropertyScan();
  /** Key hashes of the record last given to `find`, in the order in which they enter the index. */
  readonly hashes: number[] = [];

  /** @param parts of the record, in `bytes` */
  find(bytes: Buffer, parts: RecordParts): void {
    const { propertiesStart, propertiesEnd } = parts;
    const { hashes } = this;
    const scan = this.#scan;
    const topicHash = topicHashOfBytes(bytes, parts.topicStart, parts.topicEnd);
    hashes.length = 0;
    if (scan.find(bytes, propertiesStart, propertiesEnd, UNIQUE_KEY)) {
      hashes.push(keyHashOfBytes(topicHash, bytes, scan.start, scan.end));
    }
    if (scan.find(bytes, propertiesStart, propertiesEnd, KEYS)) {
      for (let from = scan.start; from < scan.end; ) {
        let to = from;
        while (to < scan.end && bytes[to] !== BLANK) to++;
        if (to > from) hashes.push(keyHashOfBytes(topicHash, bytes, from, to));
        from = to + 1;
      }
    }
    if (scan.find(bytes, propertiesStart, propertiesEnd, TAGS)) {
      hashes.push(tagsHashOfBytes(topicHash, bytes, scan.start, scan.end));
    }
  }
}
