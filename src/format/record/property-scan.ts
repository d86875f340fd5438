import { NAME_END, VALUE_END } from "./properties.ts";

/**
 * Finds one property in a properties text without making strings. One instance a thread.
 * The last of equal names counts, as in decodeProperties.
 */
export class PropertyScan {
  /** Range of the value that `find` found. */
  start = 0;
  end = 0;

  find(bytes: Buffer, from: number, to: number, name: Buffer): boolean {
    let isFound = false;
    const first = name[0]!;
    for (let at = from; at < to; ) {
      let segmentEnd = at;
      while (segmentEnd < to && bytes[segmentEnd] !== VALUE_END) segmentEnd++;
      const valueStart = at + name.length + 1;
      if (bytes[at] === first && valueStart < segmentEnd && bytes[valueStart - 1] === NAME_END && startsWith(bytes, at, name)) {
        this.start = valueStart;
        this.end = segmentEnd;
        isFound = true;
      }
      at = segmentEnd + 1;
    }
    return isFound;
  }
}

function startsWith(bytes: Buffer, at: number, name: Buffer): boolean {
  for (let i = 1; i < name.length; i++) if (bytes[at + i] !== name[i]) return false;
  return true;
}
