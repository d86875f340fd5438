/** Java's String.hashCode of a text. */
export function javaHash(text: string): number {
  let hash = 0;
  for (let i = 0; i < text.length; i++) hash = (Math.imul(hash, 31) + text.charCodeAt(i)) | 0;
  return hash;
}

/** Java's String.hashCode of the UTF-8 text in bytes[start, end), going on from `seed`. */
export function javaHashOfBytes(bytes: Buffer, start: number, end: number, seed = 0): number {
  let hash = seed;
  for (let at = start; at < end; at++) {
    const byte = bytes[at]!;
    if (byte >= 0x80) return javaHashOfText(bytes.toString("utf8", at, end), hash);
    hash = (Math.imul(hash, 31) + byte) | 0;
  }
  return hash;
}

function javaHashOfText(text: string, seed: number): number {
  let hash = seed;
  for (let i = 0; i < text.length; i++) hash = (Math.imul(hash, 31) + text.charCodeAt(i)) | 0;
  return hash;
}

/** Powers of 31. */
const P2 = 961;
const P3 = 29_791;
const P4 = 923_521;

/**
 * Copies ASCII text, and hashes it on the way, four characters at a time.
 * @returns Java's String.hashCode of the text, going on from `seed`
 */
export function copyHashed(source: DataView, from: number, target: DataView, to: number, size: number, seed: number): number {
  let hash = seed;
  let i = 0;
  for (; i + 4 <= size; i += 4) {
    const word = source.getInt32(from + i);
    target.setInt32(to + i, word);
    const three = Math.imul(word >> 24, P3) + Math.imul((word >> 16) & 0xff, P2) + Math.imul((word >> 8) & 0xff, 31);
    hash = (Math.imul(hash, P4) + three + (word & 0xff)) | 0;
  }
  for (; i < size; i++) {
    const byte = source.getUint8(from + i);
    target.setUint8(to + i, byte);
    hash = (Math.imul(hash, 31) + byte) | 0;
  }
  return hash;
}
