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
