import { ByteMap } from "../../base/byte-map.ts";
import type { EntryFilter } from "../../filter/entry-filter.ts";
import * as fields from "../../format/remoting/header-fields.ts";
import type { HeaderScan } from "../../format/remoting/header-scan.ts";

const FILTERS_MAX = 4096;
/** Longer ones are looked for by their text. */
const EXPRESSION_SIZE_MAX = 256;

/** Filters by tags, found by the bytes of a pull's header: consumers repeat theirs with each pull. One instance an I/O worker. */
export class TagFilters {
  #known = new ByteMap<EntryFilter>();

  /** undefined also where the expression is of another type. */
  find(bytes: Buffer, scan: HeaderScan): EntryFilter | undefined {
    if (!isPlainTag(bytes, scan)) return undefined;
    return this.#known.get(bytes, scan.rawStart(fields.FIELD_SUBSCRIPTION), scan.rawEnd(fields.FIELD_SUBSCRIPTION));
  }

  /** @returns `filter` */
  note(bytes: Buffer, scan: HeaderScan, filter: EntryFilter | undefined): EntryFilter | undefined {
    if (filter === undefined || !isPlainTag(bytes, scan)) return filter;
    if (this.#known.size >= FILTERS_MAX) this.#known = new ByteMap();
    const start = scan.rawStart(fields.FIELD_SUBSCRIPTION);
    this.#known.set(Buffer.from(bytes.subarray(start, scan.rawEnd(fields.FIELD_SUBSCRIPTION))), filter);
    return filter;
  }
}

function isPlainTag(bytes: Buffer, scan: HeaderScan): boolean {
  if (!scan.has(fields.FIELD_SUBSCRIPTION) || scan.isEscaped(fields.FIELD_SUBSCRIPTION)) return false;
  if (scan.rawEnd(fields.FIELD_SUBSCRIPTION) - scan.rawStart(fields.FIELD_SUBSCRIPTION) > EXPRESSION_SIZE_MAX) return false;
  if (!scan.has(fields.FIELD_EXPRESSION_TYPE)) return true;
  const at = scan.rawStart(fields.FIELD_EXPRESSION_TYPE);
  // "TAG"
  return (
    scan.rawEnd(fields.FIELD_EXPRESSION_TYPE) - at === 3 && bytes[at] === 0x54 && bytes[at + 1] === 0x41 && bytes[at + 2] === 0x47
  );
}
