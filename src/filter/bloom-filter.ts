/**
 * Bloom filter of the groups that want a message, one bit set per group and topic. Bits are counted from the low end of each byte.
 * Source: Apache `BloomFilter`, `BitsArray`.
 */
export interface BloomData {
  /** Where the bits of one group and topic are. */
  readonly bitPos: readonly number[];
  /** Bits of the whole filter. */
  readonly bitNum: number;
}

export class BloomFilter {
  readonly bitCount: number;
  readonly #hashCount: number;

  /**
   * @param errorPercent how many of 100 groups may be offered a message in vain, 1 to 99
   * @param groupCount   so many groups are expected
   */
  constructor(errorPercent: number, groupCount: number) {
    const errorRate = errorPercent / 100;
    this.#hashCount = Math.ceil(Math.log(errorRate) / Math.log(0.5));
    const bits = Math.ceil(groupCount * (Math.log(1 / errorRate) / Math.log(2)) * (Math.log(Math.E) / Math.log(2)));
    this.bitCount = 8 * Math.ceil(bits / 8);
  }

  /** The bits of `text`, which is `group#topic`. */
  dataOf(text: string): BloomData {
    const hash = murmur3(Buffer.from(text));
    const low = Number(BigInt.asIntN(32, hash));
    const high = Number(BigInt.asIntN(32, hash >> 32n));
    const bitPos: number[] = [];
    for (let i = 1; i <= this.#hashCount; i++) {
      const combined = (low + Math.imul(i, high)) | 0;
      bitPos.push((combined < 0 ? ~combined : combined) % this.bitCount);
    }
    return { bitPos, bitNum: this.bitCount };
  }

  isOurs({ bitNum, bitPos }: BloomData): boolean {
    return bitNum === this.bitCount && bitPos.length === this.#hashCount;
  }
}

const MASK = (1n << 64n) - 1n;
const C1 = 0x87c3_7b91_1142_53d5n;
const C2 = 0x4cf5_ad43_2745_937fn;

/** The low half of MurmurHash3 x64 128 with seed 0. */
function murmur3(bytes: Buffer): bigint {
  let h1 = 0n;
  let h2 = 0n;
  const blockEnd = bytes.length - (bytes.length % 16);
  for (let at = 0; at < blockEnd; at += 16) {
    h1 = (rotate(h1 ^ mixed1(bytes.readBigUInt64LE(at)), 27n) + h2) & MASK;
    h1 = (h1 * 5n + 0x52dc_e729n) & MASK;
    h2 = (rotate(h2 ^ mixed2(bytes.readBigUInt64LE(at + 8)), 31n) + h1) & MASK;
    h2 = (h2 * 5n + 0x3849_5ab5n) & MASK;
  }
  const tail = Buffer.alloc(16);
  bytes.copy(tail, 0, blockEnd);
  h2 ^= mixed2(tail.readBigUInt64LE(8));
  h1 ^= mixed1(tail.readBigUInt64LE(0));
  const size = BigInt(bytes.length);
  h1 = ((h1 ^ size) + (h2 ^ size)) & MASK;
  h2 = ((h2 ^ size) + h1) & MASK;
  return (finished(h1) + finished(h2)) & MASK;
}

function mixed1(block: bigint): bigint {
  return (rotate((block * C1) & MASK, 31n) * C2) & MASK;
}

function mixed2(block: bigint): bigint {
  return (rotate((block * C2) & MASK, 33n) * C1) & MASK;
}

function rotate(value: bigint, by: bigint): bigint {
  return ((value << by) | (value >> (64n - by))) & MASK;
}

function finished(value: bigint): bigint {
  let mixed = ((value ^ (value >> 33n)) * 0xff51_afd7_ed55_8ccdn) & MASK;
  mixed = ((mixed ^ (mixed >> 33n)) * 0xc4ce_b9fe_1a85_ec53n) & MASK;
  return mixed ^ (mixed >> 33n);
}
