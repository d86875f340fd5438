/** What can be wrong with a store, by the name that a report gives it. */
export type FindingKind =
  | "log-file"
  | "log-hole"
  | "log-end"
  | "log-block"
  | "record-cut"
  | "record-magic"
  | "record-size"
  | "record-physical-offset"
  | "record-crc"
  | "record-checksum"
  | "record-topic"
  | "record-properties"
  | "record-without-entry"
  | "queue-file"
  | "queue-hole"
  | "queue-entry-order"
  | "queue-entry-record"
  | "queue-entry-size"
  | "queue-entry-topic"
  | "queue-entry-queue"
  | "queue-entry-offset"
  | "queue-entry-tags"
  | "index-file"
  | "index-header"
  | "index-entry"
  | "index-slot"
  | "compacted-file"
  | "compacted-table"
  | "compacted-record"
  | "checkpoint";

/** One fault, with the places that it concerns. Plain data: it crosses threads and becomes JSON. */
export interface Finding {
  kind: FindingKind;
  /** One sentence for people; the figures stand beside it. */
  text: string;
  file?: string;
  physicalOffset?: number;
  topic?: string;
  queueId?: number;
  queueOffset?: number;
  /** Of a flipped bit: the byte's place in the log, or in the file of compacted messages; the bit's value in it. Flipped back, all is well. */
  byteOffset?: number;
  bit?: number;
  /** Of a damaged block: the first of the records that it has bytes of. */
  records?: number[];
  /** Of like faults that this one stands for; without: 1. */
  count?: number;
}

/** A store of which nothing is left must not fill the memory with findings: beyond this they are only counted. */
export const FINDINGS_MAX = 1000;

/** Gathers findings: the first ones whole, all of them by number. */
export class Findings {
  readonly list: Finding[] = [];
  readonly counts: Partial<Record<FindingKind, number>> = {};

  add(finding: Finding): void {
    this.counts[finding.kind] = (this.counts[finding.kind] ?? 0) + (finding.count ?? 1);
    if (this.list.length < FINDINGS_MAX) this.list.push(finding);
  }

  /** Takes over what another thread found. */
  addAll({ list, counts }: { list: readonly Finding[]; counts: Partial<Record<FindingKind, number>> }): void {
    this.list.push(...list.slice(0, FINDINGS_MAX - this.list.length));
    for (const [kind, count] of Object.entries(counts) as [FindingKind, number][]) {
      this.counts[kind] = (this.counts[kind] ?? 0) + count;
    }
  }

  get total(): number {
    return Object.values(this.counts).reduce((sum, count) => sum + count, 0);
  }
}
