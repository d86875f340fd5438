import { FLAG_RESPONSE } from "../../format/remoting/remoting-command.ts";
import { frameHeaderSize, HEADER_OFFSET, SERIALIZE_ROCKETMQ } from "../../format/remoting/remoting-frame.ts";

/** The frame is a request, or its header is written in a way that only a whole decode can tell. */
export const NOT_A_PLAIN_RESPONSE = -1;

const QUOTE = 0x22;
const COLON = 0x3a;
const ZERO = 0x30;
const NINE = 0x39;
/** `opaque` and `flag`, by their last letters: read backwards from the end of the header. */
const LETTER_E = 0x65;
const LETTER_G = 0x67;

/**
 * The opaque of a response frame, without decoding it.
 *
 * JSON: `"opaque":` and `"flag":` followed by a digit stand only at the top level (extFields holds
 * strings, and a quote inside a string is escaped), so the first hit is the right one. Writers put both
 * near the header's end, hence backwards.
 * @returns the opaque, or NOT_A_PLAIN_RESPONSE: decode the frame
 */
export function responseOpaque(bytes: Buffer, start: number): number {
  const headerStart = start + HEADER_OFFSET;
  const headerEnd = headerStart + frameHeaderSize(bytes, start);
  if (bytes[start + 4] === SERIALIZE_ROCKETMQ) {
    if (headerEnd - headerStart < 13) return NOT_A_PLAIN_RESPONSE;
    const opaque = bytes.readInt32BE(headerStart + 5);
    return (bytes.readInt32BE(headerStart + 9) & FLAG_RESPONSE) !== 0 && opaque >= 0 ? opaque : NOT_A_PLAIN_RESPONSE;
  }
  let opaque = NOT_A_PLAIN_RESPONSE;
  let flag = -1;
  for (let at = headerEnd - 3; at >= headerStart + 6; at--) {
    if (bytes[at] !== QUOTE || bytes[at + 1] !== COLON) continue;
    const digit = bytes[at + 2]!;
    if (digit < ZERO || digit > NINE) continue;
    const last = bytes[at - 1];
    if (last === LETTER_E && opaque < 0 && endsWith(bytes, at, "opaque")) {
      opaque = digitsAt(bytes, at + 2, headerEnd);
    } else if (last === LETTER_G && flag < 0 && endsWith(bytes, at, "flag")) {
      flag = digitsAt(bytes, at + 2, headerEnd);
    } else continue;
    if (opaque >= 0 && flag >= 0) return (flag & FLAG_RESPONSE) !== 0 ? opaque : NOT_A_PLAIN_RESPONSE;
  }
  return NOT_A_PLAIN_RESPONSE;
}

/** Is bytes[.., end) the word `word` with a quote before it? */
function endsWith(bytes: Buffer, end: number, word: string): boolean {
  const start = end - word.length;
  if (start < 1 || bytes[start - 1] !== QUOTE) return false;
  for (let index = 0; index < word.length; index++) {
    if (bytes[start + index] !== word.charCodeAt(index)) return false;
  }
  return true;
}

function digitsAt(bytes: Buffer, at: number, end: number): number {
  let value = 0;
  for (let index = at; index < end; index++) {
    const digit = bytes[index]! - ZERO;
    if (digit < 0 || digit > 9) break;
    value = value * 10 + digit;
  }
  return value;
}
