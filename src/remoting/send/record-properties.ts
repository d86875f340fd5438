import { javaHashOfBytes } from "../../base/java-hash.ts";
import { keyHashOfBytes, tagsHashOfBytes } from "../../format/files/index-file.ts";
import { NAME_END, VALUE_END } from "../../format/record/properties.ts";
import { KEYS_UNNOTED, NOTE_KEY_COUNT, NOTE_TAGS_CODE, NOTED_KEYS_MAX, writeKeyNote } from "../../format/record/record-notes.ts";

const BLANK = 0x20;

/**
 * One walk over the properties of a message on its way in. Finds what the I/O worker must know: the unique
 * key, whether the sender waits for the disk, and whether the message is special (delayed, timed, half, …) and
 * so the control thread's business; and what the indexers will want to know. One instance a thread.
 */
export class RecordProperties {
  isSpecial = false;
  isNoWait = false;
  /** It says that it is a batch in one record. */
  isInner = false;
  /** Its INNER_NUM, or 0. */
  innerCount = 0;
  /** It has KEYS that are not blank. */
  hasKeys = false;
  keyStart = 0;
  /** 0: no unique key. */
  keyEnd = 0;
  /** Values of KEYS and TAGS; an end of 0: none. */
  wordsStart = 0;
  wordsEnd = 0;
  tagsStart = 0;
  tagsEnd = 0;
  /** Java hash of the tags, or 0; since `writeNotes`. */
  tagsCode = 0;

  scan(bytes: Buffer, start: number, end: number): void {
    this.isSpecial = false;
    this.isNoWait = false;
    this.isInner = false;
    this.innerCount = 0;
    this.hasKeys = false;
    this.keyEnd = 0;
    this.wordsEnd = 0;
    this.tagsEnd = 0;
    for (let at = start; at < end; ) {
      let nameEnd = at;
      while (nameEnd < end && bytes[nameEnd]! > VALUE_END) nameEnd++;
      let valueEnd = nameEnd;
      while (valueEnd < end && bytes[valueEnd] !== VALUE_END) valueEnd++;
      // Without a value it counts as absent.
      if (nameEnd < valueEnd - 1 && bytes[nameEnd] === NAME_END) this.#note(bytes, at, nameEnd, valueEnd);
      at = valueEnd + 1;
    }
  }

  #note(bytes: Buffer, start: number, nameEnd: number, valueEnd: number): void {
    switch (bytes[start]) {
      case 0x55: // U
        if (!is(bytes, start, nameEnd, UNIQ_KEY)) return;
        this.keyStart = nameEnd + 1;
        this.keyEnd = valueEnd;
        return;
      case 0x4b: // K
        if (!is(bytes, start, nameEnd, KEYS)) return;
        this.wordsStart = nameEnd + 1;
        this.wordsEnd = valueEnd;
        this.hasKeys = !isBlank(bytes, nameEnd + 1, valueEnd);
        return;
      case 0x57: // W
        if (is(bytes, start, nameEnd, WAIT)) this.isNoWait = bytes[nameEnd + 1] === 0x66; // "false"
        return;
      case 0x44: // D
        if (is(bytes, start, nameEnd, DELAY)) this.isSpecial ||= valueEnd - nameEnd !== 2 || bytes[nameEnd + 1] !== 0x30; // "0"
        return;
      case 0x54: // T
        if (is(bytes, start, nameEnd, TAGS)) {
          this.tagsStart = nameEnd + 1;
          this.tagsEnd = valueEnd;
          return;
        }
        this.isSpecial ||= startsWith(bytes, start, nameEnd, TIMER) || is(bytes, start, nameEnd, TRAN_MSG);
        return;
      case 0x50: // P
        this.isSpecial ||= is(bytes, start, nameEnd, POP_CK);
        return;
      case 0x49: // I
        this.isInner ||= startsWith(bytes, start, nameEnd, INNER);
        if (is(bytes, start, nameEnd, INNER_NUM)) this.innerCount = countOf(bytes, nameEnd + 1, valueEnd);
        return;
      case 0x5f: // _
        this.isSpecial ||= is(bytes, start, nameEnd, PRIORITY) || is(bytes, start, nameEnd, LITE_TOPIC);
        return;
      default:
    }
  }

  /**
   * Writes the notes for the indexers into the record at `at` (format/record/record-notes.ts), from the properties last scanned.
   * Source: Apache `IndexService.buildIndex`.
   * @param view     of the memory that was scanned
   * @param keySeed  of the topic
   */
  writeNotes(bytes: Buffer, view: DataView, at: number, sysFlag: number, keySeed: number): void {
    const keyHash = this.keyEnd === 0 ? 0 : keyHashOfBytes(keySeed, bytes, this.keyStart, this.keyEnd);
    this.tagsCode = this.tagsEnd === 0 ? 0 : javaHashOfBytes(bytes, this.tagsStart, this.tagsEnd);
    const tagsHash = this.tagsEnd === 0 ? 0 : tagsHashOfBytes(keySeed, bytes, this.tagsStart, this.tagsEnd);
    const { wordsStart, wordsEnd } = this;
    writeNotes(
      bytes,
      view,
      at,
      sysFlag,
      keySeed,
      this.keyEnd > 0,
      keyHash,
      wordsStart,
      wordsEnd,
      this.tagsEnd > 0,
      this.tagsCode,
      tagsHash,
    );
  }
}

/** Writes the notes into the record at `at`. KEYS are bytes[wordsStart, wordsEnd). */
export function writeNotes(
  bytes: Buffer,
  view: DataView,
  at: number,
  sysFlag: number,
  keySeed: number,
  hasKey: boolean,
  keyHash: number,
  wordsStart: number,
  wordsEnd: number,
  hasTags: boolean,
  tagsCode: number,
  tagsHash: number,
): void {
  let count = 0;
  if (hasKey) writeKeyNote(view, at, sysFlag, count++, keyHash);
  for (let from = wordsStart; from < wordsEnd; ) {
    let to = from;
    while (to < wordsEnd && bytes[to] !== BLANK) to++;
    if (to > from && count < NOTED_KEYS_MAX) writeKeyNote(view, at, sysFlag, count, keyHashOfBytes(keySeed, bytes, from, to));
    if (to > from) count++;
    from = to + 1;
  }
  if (hasTags) {
    if (count < NOTED_KEYS_MAX) writeKeyNote(view, at, sysFlag, count, tagsHash);
    count++;
  }
  view.setInt32(at + NOTE_TAGS_CODE, tagsCode);
  view.setInt32(at + NOTE_KEY_COUNT, count > NOTED_KEYS_MAX ? KEYS_UNNOTED : count);
}

const UNIQ_KEY = Buffer.from("UNIQ_KEY");
const KEYS = Buffer.from("KEYS");
const TAGS = Buffer.from("TAGS");
const WAIT = Buffer.from("WAIT");
const DELAY = Buffer.from("DELAY");
const TIMER = Buffer.from("TIMER_");
const TRAN_MSG = Buffer.from("TRAN_MSG");
const POP_CK = Buffer.from("POP_CK");
const INNER = Buffer.from("INNER_");
const INNER_NUM = Buffer.from("INNER_NUM");
const PRIORITY = Buffer.from("_SYS_MSG_PRIORITY_");
const LITE_TOPIC = Buffer.from("__LITE_TOPIC");

/** A number of at most five digits, else 0. */
function countOf(bytes: Buffer, start: number, end: number): number {
  let count = 0;
  if (end - start > 5) return 0;
  for (let i = start; i < end; i++) {
    const digit = bytes[i]! - 0x30;
    if (digit < 0 || digit > 9) return 0;
    count = 10 * count + digit;
  }
  return count;
}

function isBlank(bytes: Buffer, start: number, end: number): boolean {
  for (let i = start; i < end; i++) if (bytes[i]! > 0x20) return false;
  return true;
}

function is(bytes: Buffer, start: number, end: number, name: Buffer): boolean {
  return end - start === name.length && startsWith(bytes, start, end, name);
}

function startsWith(bytes: Buffer, start: number, end: number, name: Buffer): boolean {
  if (end - start < name.length) return false;
  for (let i = 0; i < name.length; i++) if (bytes[start + i] !== name[i]) return false;
  return true;
}
