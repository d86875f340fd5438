import { Buffer } from "node:buffer";
import { NAME_END, VALUE_END } from "./properties.ts";

const UNIQUE_KEY = Buffer.from("UNIQ_KEY");
const KEYS = Buffer.from("KEYS");
const TAGS = Buffer.from("TAGS");

/**
 * Finds what a message is indexed by in one walk over its properties text, without making strings; as in
 * decodeProperties, the last of equal names counts, and one without a value is none. One instance a thread.
 */
export class KeyScan {
  /** Ranges of the values; the start is -1 where there is none. */
  uniqueKeyStart = -1;
  uniqueKeyEnd = 0;
  keysStart = -1;
  keysEnd = 0;
  tagsStart = -1;
  tagsEnd = 0;
  /** Whether it is ASCII text of names, each with its value, and nothing else. */
  isPlain = true;

  scan(bytes: Buffer, from: number, to: number): void {
    this.uniqueKeyStart = -1;
    this.keysStart = -1;
    this.tagsStart = -1;
    let isPlain = true;
    let nameStart = from;
    /** -1: the name goes on. */
    let valueStart = -1;
    for (let at = from; at < to; at++) {
      const byte = bytes[at]!;
      if (byte > VALUE_END) {
        if (byte >= 0x80) isPlain = false;
      } else if (byte === VALUE_END) {
        if (valueStart < 0) isPlain = false;
        else if (valueStart < at) this.#note(bytes, nameStart, valueStart, at);
        nameStart = at + 1;
        valueStart = -1;
      } else if (byte === NAME_END && valueStart < 0) {
        if (at === nameStart) isPlain = false;
        valueStart = at + 1;
      }
    }
    if (nameStart < to) {
      if (valueStart < 0) isPlain = false;
      else if (valueStart < to) this.#note(bytes, nameStart, valueStart, to);
    }
    this.isPlain = isPlain;
  }

  #note(bytes: Buffer, nameStart: number, start: number, end: number): void {
    switch (start - 1 - nameStart) {
      case UNIQUE_KEY.length:
        if (!stands(UNIQUE_KEY, bytes, nameStart)) return;
        this.uniqueKeyStart = start;
        this.uniqueKeyEnd = end;
        return;
      case KEYS.length:
        if (stands(KEYS, bytes, nameStart)) {
          this.keysStart = start;
          this.keysEnd = end;
        } else if (stands(TAGS, bytes, nameStart)) {
          this.tagsStart = start;
          this.tagsEnd = end;
        }
    }
  }
}

function stands(name: Buffer, bytes: Buffer, at: number): boolean {
  for (let i = 0; i < name.length; i++) if (bytes[at + i] !== name[i]) return false;
  return true;
}
