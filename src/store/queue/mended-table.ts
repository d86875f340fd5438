import { nativeCrc32 } from "../../base/crc32.ts";
import { COMPACTED_HEADER_SIZE, type CompactedEntry } from "../../format/files/compacted-queue.ts";
import { QUEUE_OFFSET_OFFSET, readInt64, recordSizeAt } from "../../format/record/message.ts";
import type { CompactedQueue } from "./compacted-queue.ts";

const SIZE_SIZE = 4;

/**
 * The table of a compacted file whose own is damaged: its records stand one behind the other, and say themselves how long they
 * are and of which place in the queue. Believed is what checks, or agrees with what the table says beside its checksum. Of all
 * others an entry is left that never checks, so that readers pass the message over and say so.
 */
export function mendedTable(queue: CompactedQueue): CompactedEntry[] {
  const entries: CompactedEntry[] = [];
  let position = COMPACTED_HEADER_SIZE;
  let queueOffset = -1;
  for (let i = 0; i < queue.header.count; i++) {
    const said = queue.entry(i);
    const found = said.position === position && queue.record(said) !== undefined ? said : entryAt(queue, position, said);
    entries.push(found ?? { queueOffset: queueOffset + 1, position, size: 0, crc: 0 });
    position += found?.size ?? (said.position === position ? said.size : sizeAt(queue, position));
    queueOffset = entries[i]!.queueOffset;
  }
  return entries;
}

function sizeAt(queue: CompactedQueue, position: number): number {
  return queue.bytesOf({ position, size: SIZE_SIZE })?.readUInt32BE(0) ?? 0;
}

function entryAt(queue: CompactedQueue, position: number, said: CompactedEntry): CompactedEntry | undefined {
  const size = sizeAt(queue, position);
  const bytes = queue.bytesOf({ position, size });
  if (bytes === undefined || recordSizeAt(bytes, 0, size) !== size) return undefined;
  const entry = { queueOffset: readInt64(bytes, QUEUE_OFFSET_OFFSET), position, size, crc: nativeCrc32(bytes, 0, size) };
  const isSaid = said.queueOffset === entry.queueOffset && said.position === position && said.size === size;
  return isSaid || said.crc === entry.crc ? entry : undefined;
}
