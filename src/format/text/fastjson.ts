import { assert } from "../../base/assert.ts";
import { MillraceError } from "../../base/errors.ts";
import { FRAME_SIZE_MAX } from "../remoting/remoting-frame.ts";

/**
 * The JSON dialect of RocketMQ bodies. Standard JSON, and two forms that a plain library can neither
 * read nor write:
 *   {0:"1.1.1.1:10911"}                                     a number as key, without quotes
 *   {{"brokerName":"b","queueId":1,"topic":"T"}:5}          an object as key
 * Null members are left out. Source: Apache `RemotingSerializable`; golden strings from its 5.5.0 classes.
 */

/** Largest text, bytes of UTF-8: a body cannot be larger than the frame that carries it. */
export const JSON_SIZE_MAX: number = FRAME_SIZE_MAX;
/** Deepest nesting of arrays, objects and object keys together; bodies of RocketMQ stay below ten. */
export const JSON_DEPTH_MAX = 64;

const LONG_MAX = 2n ** 63n - 1n;
const LONG_MIN = -(2n ** 63n);

/**
 * Reads one JSON text. An object becomes a plain object, whose number keys are text ("0"), quoted or not;
 * one with at least one object key becomes a Map, its other keys text. Integers beyond 2^53 lose digits.
 * Look members up by `memberOf`, never by plain property access: any name can come from the wire.
 *
 * @throws MillraceError MILLRACE_PROTOCOL; details.position counts characters from 0
 */
export function parseJson(input: string | Buffer): unknown {
  if (input.length > JSON_SIZE_MAX) {
    throw new MillraceError("MILLRACE_PROTOCOL", `JSON of ${input.length} bytes is over the limit of ${JSON_SIZE_MAX}`, {
      size: input.length,
    });
  }
  const text = typeof input === "string" ? input : input.toString("utf8");
  let plain: unknown;
  try {
    plain = JSON.parse(text);
  } catch {
    return new DialectReader(text).read();
  }
  checkDepth(text);
  return plain;
}

/** Member `name` of a parsed object (or of a Map with object keys); undefined if absent or if `value` is neither. */
export function memberOf(value: unknown, name: string): unknown {
  if (value instanceof Map) return value.get(name);
  if (typeof value !== "object" || value === null || !Object.hasOwn(value, name)) return undefined;
  return (value as Record<string, unknown>)[name];
}

/** Keys and values of a parsed map, whichever form it had; nothing for what is no map. */
export function entriesOf(value: unknown): [unknown, unknown][] {
  if (value instanceof Map) return [...value];
  if (typeof value !== "object" || value === null || Array.isArray(value)) return [];
  return Object.entries(value);
}

/** A message queue as the key of a body's map. */
export interface QueueKey {
  brokerName: string;
  queueId: number;
  topic: string;
}

/**
 * Reads a map keyed by message queues (bodies 220, 221, 222, 223 and the tables of 202 and 208).
 * @throws MillraceError MILLRACE_PROTOCOL when a key is not a message queue
 */
export function parseQueueTable(value: unknown): { queue: QueueKey; value: unknown }[] {
  return entriesOf(value).map(([key, entry]) => ({ queue: queueKeyFrom(key), value: entry }));
}

/** @throws MillraceError MILLRACE_PROTOCOL when the parsed value is not a message queue */
export function queueKeyFrom(value: unknown): QueueKey {
  const brokerName = memberOf(value, "brokerName");
  const queueId = memberOf(value, "queueId");
  const topic = memberOf(value, "topic");
  if (typeof topic !== "string" || typeof brokerName !== "string" || !Number.isInteger(queueId)) {
    throw new MillraceError(
      "MILLRACE_PROTOCOL",
      "the JSON has something else where a message queue {brokerName, queueId, topic} belongs",
    );
  }
  return { brokerName, queueId: queueId as number, topic };
}

/** A map keyed by message queues, ready for `writeJson`; members of the key in the order that Java writes. */
export function queueTable<V>(entries: Iterable<readonly [QueueKey, V]>): Map<QueueKey, V> {
  const table = new Map<QueueKey, V>();
  for (const [{ brokerName, queueId, topic }, value] of entries) table.set({ brokerName, queueId, topic }, value);
  return table;
}

export interface WriteOptions {
  /** true: number keys are quoted, as readers of standard JSON need. Default false, as RocketMQ writes. */
  quoteNumberKeys?: boolean;
}

/**
 * Writes `value`. A Map is written with its keys as they are: numbers without quotes, objects as object
 * keys. Members that are undefined or null are left out. Integers outside Java's long are cut to it,
 * since its reader refuses the whole body otherwise.
 */
export function writeJson(value: unknown, options: WriteOptions = {}): string {
  return writeValue(value, options.quoteNumberKeys === true, 0);
}

function writeValue(value: unknown, quoteNumberKeys: boolean, depth: number): string {
  assert(depth <= JSON_DEPTH_MAX, "what we write is not nested deeper than we would read");
  if (typeof value === "number") return writeNumber(value);
  if (typeof value === "bigint") return writeLong(value);
  if (typeof value === "string" || typeof value === "boolean") return JSON.stringify(value);
  if (value === null || value === undefined) return "null";
  assert(typeof value === "object", "functions and symbols are no JSON");
  if (Array.isArray(value)) return `[${value.map((item) => writeValue(item, quoteNumberKeys, depth + 1)).join(",")}]`;
  const members: string[] = [];
  for (const [key, member] of value instanceof Map ? value : Object.entries(value)) {
    if (member === null || member === undefined) continue;
    members.push(`${writeKey(key, quoteNumberKeys, depth + 1)}:${writeValue(member, quoteNumberKeys, depth + 1)}`);
  }
  return `{${members.join(",")}}`;
}

function writeKey(key: unknown, quoteNumberKeys: boolean, depth: number): string {
  if (typeof key === "number" || typeof key === "bigint") {
    const text = writeValue(key, quoteNumberKeys, depth);
    return quoteNumberKeys ? `"${text}"` : text;
  }
  assert(typeof key === "string" || (typeof key === "object" && key !== null), "a key is text, a number or an object");
  return writeValue(key, quoteNumberKeys, depth);
}

function writeNumber(value: number): string {
  if (Number.isSafeInteger(value)) return String(value);
  if (!Number.isFinite(value)) return "null";
  // As digits: JavaScript's 1e+21, and 9223372036854776000 for Long.MAX_VALUE, are no longs to Java.
  return Number.isInteger(value) ? writeLong(BigInt(value)) : String(value);
}

function writeLong(value: bigint): string {
  return String(value > LONG_MAX ? LONG_MAX : value < LONG_MIN ? LONG_MIN : value);
}

/** JSON.parse has no limit of depth, but whoever walks its result by recursion has. */
function checkDepth(text: string): void {
  let depth = 0;
  for (let at = 0; at < text.length; at++) {
    const char = text.charCodeAt(at);
    if (char === QUOTE) {
      at = text.indexOf('"', at + 1);
      while (isEscapedAt(text, at)) at = text.indexOf('"', at + 1);
    } else if (char === OPEN_BRACE || char === OPEN_BRACKET) {
      if (++depth > JSON_DEPTH_MAX) throw tooDeep(at);
    } else if (char === CLOSE_BRACE || char === CLOSE_BRACKET) {
      depth--;
    }
  }
}

/** Is the character at `at` behind an odd number of backslashes? */
function isEscapedAt(text: string, at: number): boolean {
  let backslashes = 0;
  while (text.charCodeAt(at - 1 - backslashes) === BACKSLASH) backslashes++;
  return backslashes % 2 === 1;
}

function tooDeep(position: number): MillraceError {
  return new MillraceError("MILLRACE_PROTOCOL", `JSON is nested deeper than ${JSON_DEPTH_MAX} at position ${position}`, {
    position,
  });
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const MINUS = 0x2d;
const COLON = 0x3a;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const NUMBER = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y;
const INTEGER = /-?(?:0|[1-9][0-9]*)/y;
const LITERALS = new Map<string, null | boolean>([
  ["null", null],
  ["true", true],
  ["false", false],
]);

/** Recursive descent over the dialect; used where JSON.parse gave up. */
class DialectReader {
  readonly #text: string;
  #at = 0;
  #depth = 0;

  constructor(text: string) {
    this.#text = text;
  }

  read(): unknown {
    const value = this.#readValue();
    this.#skipBlanks();
    if (this.#at < this.#text.length) throw this.#expected("the end");
    return value;
  }

  #readValue(): unknown {
    this.#skipBlanks();
    const char = this.#peek();
    if (char === OPEN_BRACE) return this.#nested(() => this.#readObject());
    if (char === OPEN_BRACKET) return this.#nested(() => this.#readArray());
    if (char === QUOTE) return this.#readString();
    if (isNumberStart(char)) return Number(this.#match(NUMBER, "a number"));
    for (const [literal, value] of LITERALS) {
      if (!this.#text.startsWith(literal, this.#at)) continue;
      this.#at += literal.length;
      return value;
    }
    throw this.#expected("a value");
  }

  #nested(read: () => unknown): unknown {
    if (++this.#depth > JSON_DEPTH_MAX) throw tooDeep(this.#at);
    this.#at++;
    const value = read();
    this.#depth--;
    return value;
  }

  #readArray(): unknown[] {
    const items: unknown[] = [];
    if (this.#takes(CLOSE_BRACKET)) return items;
    do items.push(this.#readValue());
    while (this.#takes(COMMA));
    if (!this.#takes(CLOSE_BRACKET)) throw this.#expected("',' or ']'");
    return items;
  }

  #readObject(): unknown {
    const members: [unknown, unknown][] = [];
    let hasObjectKey = false;
    if (this.#takes(CLOSE_BRACE)) return {};
    do {
      const key = this.#readKey();
      hasObjectKey ||= typeof key === "object";
      if (!this.#takes(COLON)) throw this.#expected("':'");
      members.push([key, this.#readValue()]);
    } while (this.#takes(COMMA));
    if (!this.#takes(CLOSE_BRACE)) throw this.#expected("',' or '}'");
    // fromEntries defines own properties: the name __proto__ is a name like any other.
    return hasObjectKey ? new Map(members) : Object.fromEntries(members as [string, unknown][]);
  }

  #readKey(): unknown {
    this.#skipBlanks();
    const char = this.#peek();
    if (char === QUOTE) return this.#readString();
    if (char === OPEN_BRACE) return this.#nested(() => this.#readObject());
    if (isNumberStart(char)) return this.#match(INTEGER, "a whole number as key");
    throw this.#expected("a key (text, number or object)");
  }

  #readString(): string {
    let end = this.#text.indexOf('"', this.#at + 1);
    while (end >= 0 && isEscapedAt(this.#text, end)) end = this.#text.indexOf('"', end + 1);
    if (end < 0) throw this.#error(`text does not end, begun at position ${this.#at}`);
    const start = this.#at;
    this.#at = end + 1;
    try {
      return JSON.parse(this.#text.slice(start, end + 1)) as string;
    } catch {
      this.#at = start;
      throw this.#error(`text with a bad escape or control character at position ${start}`);
    }
  }

  #match(pattern: RegExp, what: string): string {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.#text);
    if (found === null) throw this.#expected(what);
    this.#at = pattern.lastIndex;
    return found[0];
  }

  /** Skips blanks, then `char` if it is next. */
  #takes(char: number): boolean {
    this.#skipBlanks();
    if (this.#peek() !== char) return false;
    this.#at++;
    return true;
  }

  #peek(): number {
    return this.#at < this.#text.length ? this.#text.charCodeAt(this.#at) : -1;
  }

  #skipBlanks(): void {
    for (let char = this.#peek(); char === 0x20 || char === 0x0a || char === 0x0d || char === 0x09; char = this.#peek())
      this.#at++;
  }

  #expected(what: string): MillraceError {
    const found = this.#at < this.#text.length ? JSON.stringify(this.#text[this.#at]) : "the end";
    return this.#error(`expected ${what} at position ${this.#at}, found ${found}`);
  }

  #error(text: string): MillraceError {
    return new MillraceError("MILLRACE_PROTOCOL", `JSON: ${text}`, { position: this.#at });
  }
}

function isNumberStart(char: number): boolean {
  return char === MINUS || (char >= 0x30 && char <= 0x39);
}
