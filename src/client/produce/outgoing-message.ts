import { MillraceError } from "../../base/errors.ts";
import { NAME_END, PROPERTIES_SIZE_MAX, PROPERTY, VALUE_END } from "../../format/record/properties.ts";
import type { UniqueIds } from "./unique-id.ts";

/** A message to send. The body must stay unchanged until the send is settled. */
export interface OutgoingMessage {
  topic: string;
  /** Text is sent as UTF-8. Empty bodies are refused, as brokers do. */
  body: Buffer | Uint8Array | string;
  /** One tag, by which consumers filter. */
  tags?: string;
  /** Words by which the message can be looked up. */
  keys?: string | readonly string[];
  properties?: Readonly<Record<string, string>>;
  /** 1 to 18: 1s 5s 10s 30s 1m 2m 3m 4m 5m 6m 7m 8m 9m 10m 20m 30m 1h 2h. */
  delayLevel?: number;
  /** A number of the application's own, handed on as it is. */
  flag?: number;
  /** Messages of equal orderKey go to the same queue (Java's `SelectMessageQueueByHash`). */
  orderKey?: string;
  /** Queue to send to, on the broker `brokerName`, or else on the first broker (by name) that has it. */
  queueId?: number;
  brokerName?: string;
}

/** Names that the client itself writes, or that mean something else inside the broker. */
const RESERVED_NAMES: ReadonlySet<string> = new Set([
  PROPERTY.KEYS,
  PROPERTY.TAGS,
  PROPERTY.DELAY,
  PROPERTY.UNIQ_KEY,
  PROPERTY.TRANSACTION_PREPARED,
  PROPERTY.REAL_TOPIC,
  PROPERTY.REAL_QUEUE_ID,
  PROPERTY.POP_CK,
]);

/** A separator in a JSON header is an escape: six bytes instead of one. */
const JSON_CHARACTER_MAX = 6;
/** UTF-8 of one UTF-16 code unit. */
const RAW_CHARACTER_MAX = 3;
const ID_PREFIX = Buffer.from("UNIQ_KEY\u0001");
const ID_PREFIX_JSON = Buffer.from("UNIQ_KEY\\u0001");
/** Bytes from the start of a raw properties text to the unique id in it. */
export const ID_OFFSET: number = ID_PREFIX.length;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const BLANK = 0x20;
const ASCII_END = 0x80;
const HEX = "0123456789abcdef";
const SMALL_U = 0x75;
const ZERO = 0x30;

/**
 * Most bytes that the properties of `message` take, in the raw or in the JSON form.
 * @throws MillraceError MILLRACE_MESSAGE_ILLEGAL on a value that is not text
 */
export function propertiesSizeMax(message: OutgoingMessage, json: boolean): number {
  let characters = 64;
  if (message.tags !== undefined) characters += 6 + lengthOf("tags", message.tags);
  if (message.keys !== undefined) {
    characters += 6;
    if (typeof message.keys === "string") characters += message.keys.length;
    else for (const key of message.keys) characters += lengthOf("keys", key) + 1;
  }
  if (message.delayLevel !== undefined) characters += 12;
  const properties = message.properties;
  if (properties !== undefined) {
    for (const name in properties) characters += 2 + name.length + lengthOf(name, properties[name]);
  }
  return characters * (json ? JSON_CHARACTER_MAX : RAW_CHARACTER_MAX);
}

function lengthOf(name: string, value: unknown): number {
  if (typeof value !== "string" || value.length === 0) {
    throw illegal(`property ${JSON.stringify(name)}: the value must be text that is not empty`, { name, type: typeof value });
  }
  return value.length;
}

/**
 * Writes the properties text: UNIQ_KEY (`id`, or a fresh one from the generator) first, then the message's own. With `json`, as the inside
 * of a JSON string. The caller made room by `propertiesSizeMax`.
 *
 * @returns the end of what was written
 * @throws MillraceError MILLRACE_MESSAGE_ILLEGAL: a reserved, empty or unwritable name or value, or too much text
 */
export function writeProperties(
  target: Buffer,
  from: number,
  message: OutgoingMessage,
  id: string | UniqueIds,
  json: boolean,
): number {
  const prefix = json ? ID_PREFIX_JSON : ID_PREFIX;
  target.set(prefix, from);
  const idAt = from + prefix.length;
  let at = typeof id === "string" ? writeRawText(target, idAt, id) : id.write(target, idAt);
  at = endValue(target, at, json);
  if (message.tags !== undefined) at = writePair(target, at, PROPERTY.TAGS, message.tags, json);
  if (message.keys !== undefined) {
    at = writePair(target, at, PROPERTY.KEYS, typeof message.keys === "string" ? message.keys : message.keys.join(" "), json);
  }
  if (message.delayLevel !== undefined && message.delayLevel !== 0) {
    at = writePair(target, at, PROPERTY.DELAY, String(checkDelayLevel(message.delayLevel)), json);
  }
  const properties = message.properties;
  if (properties !== undefined) {
    for (const name in properties) {
      if (RESERVED_NAMES.has(name)) throw illegal(`the property name ${name} is reserved; use the message's own field`, { name });
      at = writePair(target, at, name, properties[name]!, json);
    }
  }
  // In the JSON form this is an upper bound too strict by the escapes; the broker has the last word there.
  if (!json && at - from > PROPERTIES_SIZE_MAX) {
    throw illegal(`the properties take ${at - from} bytes, at most ${PROPERTIES_SIZE_MAX} are allowed`, { size: at - from });
  }
  return at;
}

/** The message's body as bytes. @throws MillraceError MILLRACE_MESSAGE_ILLEGAL when empty or too large */
export function bodyOf(message: OutgoingMessage, maxBytes: number): Buffer {
  const { body } = message;
  let bytes: Buffer;
  if (typeof body === "string") bytes = Buffer.from(body);
  else if (Buffer.isBuffer(body)) bytes = body;
  else if (body instanceof Uint8Array) bytes = Buffer.from(body.buffer, body.byteOffset, body.byteLength);
  else throw illegal("the body must be a Buffer, a Uint8Array or text", { type: typeof body });
  if (bytes.length === 0) throw illegal("the body is empty", { topic: message.topic });
  if (bytes.length > maxBytes) {
    throw illegal(`the body has ${bytes.length} bytes, at most ${maxBytes} are allowed`, {
      size: bytes.length,
      maxMessageSize: maxBytes,
    });
  }
  return bytes;
}

function writePair(target: Buffer, from: number, name: string, value: string, json: boolean): number {
  if (name.length === 0 || value.length === 0)
    throw illegal(`property ${JSON.stringify(name)}: name or value is empty`, { name });
  let at = json ? writeJsonText(target, from, name) : writeRawText(target, from, name);
  if (json) at = writeEscape(target, at, NAME_END);
  else target[at++] = NAME_END;
  at = json ? writeJsonText(target, at, value) : writeRawText(target, at, value);
  return endValue(target, at, json);
}

function endValue(target: Buffer, at: number, json: boolean): number {
  if (json) return writeEscape(target, at, VALUE_END);
  target[at] = VALUE_END;
  return at + 1;
}

/** Text as UTF-8. Short text is written by this loop: a call into the runtime costs more than 30 characters. */
function writeRawText(target: Buffer, from: number, text: string): number {
  let at = from;
  for (let index = 0; index < text.length; index++) {
    const code = text.charCodeAt(index);
    if (code >= ASCII_END) {
      const rest = text.slice(index);
      checkSeparators(rest);
      return at + target.write(rest, at, "utf8");
    }
    if (code === NAME_END || code === VALUE_END) throw separatorInside(text);
    target[at++] = code;
  }
  return at;
}

/** Text as the inside of a JSON string, UTF-8. */
export function writeJsonText(target: Buffer, from: number, text: string): number {
  let at = from;
  for (let index = 0; index < text.length; index++) {
    const code = text.charCodeAt(index);
    if (code >= ASCII_END) {
      const rest = text.slice(index);
      checkSeparators(rest);
      return at + target.write(JSON.stringify(rest.toWellFormed()).slice(1, -1), at, "utf8");
    }
    if (code === NAME_END || code === VALUE_END) throw separatorInside(text);
    if (code < BLANK) {
      at = writeEscape(target, at, code);
      continue;
    }
    if (code === QUOTE || code === BACKSLASH) target[at++] = BACKSLASH;
    target[at++] = code;
  }
  return at;
}

/** `\u00XX` */
function writeEscape(target: Buffer, at: number, code: number): number {
  target[at] = BACKSLASH;
  target[at + 1] = SMALL_U;
  target[at + 2] = ZERO;
  target[at + 3] = ZERO;
  target[at + 4] = HEX.charCodeAt(code >>> 4);
  target[at + 5] = HEX.charCodeAt(code & 15);
  return at + 6;
}

function checkDelayLevel(level: number): number {
  if (!Number.isInteger(level) || level < 1 || level > 18)
    throw illegal(`delayLevel ${level} is not 0 or 1 to 18`, { delayLevel: level });
  return level;
}

function checkSeparators(text: string): void {
  if (text.includes("\u0001") || text.includes("\u0002")) throw separatorInside(text);
}

function separatorInside(text: string): MillraceError {
  return illegal("property names and values must not contain the characters U+0001 and U+0002", {
    text: JSON.stringify(text.slice(0, 40)),
  });
}

export function illegal(message: string, details: Record<string, number | string>): MillraceError {
  return new MillraceError("MILLRACE_MESSAGE_ILLEGAL", message, details);
}
