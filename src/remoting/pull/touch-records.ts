import type { QueueReader } from "../../store/queue/queue-reader.ts";

const LINE_SIZE = 64;
/** Of a longer stretch the processor fetches ahead by itself. */
const TOUCHED_SIZE_MAX = 4096;
/** Fewer stretches have little to fetch at once. */
const PARTS_MIN = 4;
/** Where the bytes end up that were looked at: the compiler leaves out loads whose outcome nobody has. */
const seen: Int32Array = new Int32Array(1);

/**
 * Brings records that lie scattered in the log into the processor's caches, before the system copies them: a line of each of
 * eight, then the next of each, so that as many are fetched at once. The system copies record by record, and waits at each. Only for
 * what is known to be in memory; where the drive does not map files it does nothing.
 */
export function touchRecords({ files, positions, sizes, partCount }: QueueReader): void {
  if (partCount < PARTS_MIN) return;
  for (let first = 0, end = 0; first < partCount; first = end) {
    const file = files[first]!;
    const { mapped } = file;
    let size = TOUCHED_SIZE_MAX;
    for (end = first; end < partCount && end < first + 8 && files[end] === file; end++) size = Math.min(size, sizes[end]!);
    if (mapped !== undefined) seen[0]! ^= touchEight(mapped, positions, first, end - 1, size);
  }
}

/** [first, last] of `positions`, at most eight. Places stand in registers: the loop must not cost more than what it waits for. */
function touchEight(mapped: Buffer, positions: Float64Array, first: number, last: number, size: number): number {
  const a = positions[first]! | 0;
  const b = positions[Math.min(first + 1, last)]! | 0;
  const c = positions[Math.min(first + 2, last)]! | 0;
  const d = positions[Math.min(first + 3, last)]! | 0;
  const e = positions[Math.min(first + 4, last)]! | 0;
  const f = positions[Math.min(first + 5, last)]! | 0;
  const g = positions[Math.min(first + 6, last)]! | 0;
  const h = positions[Math.min(first + 7, last)]! | 0;
  let sum = 0;
  for (let line = 0; line < size; line += LINE_SIZE) {
    sum ^= mapped[a + line]! ^ mapped[b + line]! ^ mapped[c + line]! ^ mapped[d + line]!;
    sum ^= mapped[e + line]! ^ mapped[f + line]! ^ mapped[g + line]! ^ mapped[h + line]!;
  }
  return sum;
}
