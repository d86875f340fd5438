import { CRC32_TABLES, nativeCrc32 } from "./crc32.ts";

/** A bit of bytes[at]. */
export interface BitPlace {
  at: number;
  /** 1, 2, 4 … 128. */
  mask: number;
}

/**
 * The one bit of bytes[start, end) that has to be flipped to make their CRC-32 `wanted`; undefined: no single one does.
 * A CRC is linear: the difference of the two is what the flipped bit alone makes of all the bytes behind it. For up to
 * 2^32 bits no two places make the same. But what more than one flip has done may look like one, once in 2^32 / bits.
 */
export function flippedBit(bytes: Buffer, start: number, end: number, wanted: number): BitPlace | undefined {
  const difference = (nativeCrc32(bytes, start, end) ^ wanted) | 0;
  if (difference === 0) return undefined;
  // What each bit of a byte makes, with as many bytes behind it as there are behind bytes[at].
  const effects = Int32Array.from({ length: 8 }, (_, bit) => CRC32_TABLES[1 << bit]!);
  for (let at = end - 1; at >= start; at--) {
    for (let bit = 0; bit < 8; bit++) {
      const effect = effects[bit]!;
      if (effect === difference) return { at, mask: 1 << bit };
      effects[bit] = CRC32_TABLES[effect & 255]! ^ (effect >>> 8);
    }
  }
  return undefined;
}
