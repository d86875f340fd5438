import { MillraceError } from "../../base/errors.ts";
import { frameHeaderSize, HEADER_OFFSET, SERIALIZE_JSON, SERIALIZE_ROCKETMQ } from "./remoting-frame.ts";

/**
 * One request or response of the remoting protocol, decoded whole. For the control plane and for
 * clients; the broker's hot paths scan the bytes instead (format/remoting/header-scan.ts).
 * Source: Apache `RemotingCommand`, `RocketMQSerializable`.
 */
export interface RemotingCommand {
  code: number;
  language: string;
  version: number;
  opaque: number;
  flag: number;
  remark?: string | undefined;
  /** Custom header, every value as text. Has no prototype: keys come from the wire. */
  extFields: Record<string, string>;
  body: Buffer;
}

export const FLAG_RESPONSE = 1;
export const FLAG_ONEWAY = 2;
/** MQVersion ordinal that we present: V5_5_0. */
export const REMOTING_VERSION = 513;
export const EMPTY_BODY: Buffer = Buffer.alloc(0);

const LANGUAGES = [
  "JAVA",
  "CPP",
  "DOTNET",
  "PYTHON",
  "DELPHI",
  "ERLANG",
  "RUBY",
  "OTHER",
  "HTTP",
  "GO",
  "PHP",
  "OMS",
  "RUST",
  "NODE_JS",
] as const;

export function isResponse(command: RemotingCommand): boolean {
  return (command.flag & FLAG_RESPONSE) !== 0;
}

export function isOneway(command: RemotingCommand): boolean {
  return (command.flag & FLAG_ONEWAY) !== 0;
}

/** Header values that are null or undefined are left out, as the Java encoder does. */
export type HeaderValues = Readonly<Record<string, string | number | boolean | null | undefined>>;

export function extFieldsOf(values: HeaderValues): Record<string, string> {
  const fields: Record<string, string> = Object.create(null);
  for (const key of Object.keys(values)) {
    const value = values[key];
    if (value !== null && value !== undefined) fields[key] = String(value);
  }
  return fields;
}

export function request(code: number, opaque: number, header: HeaderValues = {}, body: Buffer = EMPTY_BODY): RemotingCommand {
  return { code, language: "JAVA", version: REMOTING_VERSION, opaque, flag: 0, extFields: extFieldsOf(header), body };
}

/** The answer to `to`: same opaque, response flag set. */
export function response(
  to: RemotingCommand,
  code: number,
  remark?: string,
  header: HeaderValues = {},
  body: Buffer = EMPTY_BODY,
): RemotingCommand {
  return {
    code,
    language: "JAVA",
    version: REMOTING_VERSION,
    opaque: to.opaque,
    flag: FLAG_RESPONSE,
    remark,
    extFields: extFieldsOf(header),
    body,
  };
}

/** Encodes a whole frame. Binary headers only where the code fits a signed short, else JSON. */
export function encodeCommand(command: RemotingCommand, type: number = SERIALIZE_JSON): Buffer {
  const binary = type === SERIALIZE_ROCKETMQ && command.code <= 32_767;
  const header = binary ? encodeBinaryHeader(command) : encodeJsonHeader(command);
  const frame = Buffer.allocUnsafe(HEADER_OFFSET + header.length + command.body.length);
  frame.writeUInt32BE(frame.length - 4, 0);
  frame.writeUInt32BE(header.length, 4);
  frame[4] = binary ? SERIALIZE_ROCKETMQ : SERIALIZE_JSON;
  header.copy(frame, HEADER_OFFSET);
  command.body.copy(frame, HEADER_OFFSET + header.length);
  return frame;
}

/**
 * Decodes one whole frame (see `frameSize`). The body is a view of `frame`, not a copy.
 * @throws MillraceError MILLRACE_PROTOCOL on a header that cannot be read; the connection is then closed, as Apache does
 */
export function decodeCommand(frame: Buffer): RemotingCommand {
  const headerEnd = HEADER_OFFSET + frameHeaderSize(frame, 0);
  const body = frame.subarray(headerEnd);
  return frame[4] === SERIALIZE_ROCKETMQ ? decodeBinaryHeader(frame, headerEnd, body) : decodeJsonHeader(frame, headerEnd, body);
}

function encodeJsonHeader(command: RemotingCommand): Buffer {
  return Buffer.from(
    JSON.stringify({
      code: command.code,
      extFields: command.extFields,
      flag: command.flag,
      language: command.language,
      opaque: command.opaque,
      remark: command.remark,
      serializeTypeCurrentRPC: "JSON",
      version: command.version,
    }),
  );
}

function decodeJsonHeader(frame: Buffer, end: number, body: Buffer): RemotingCommand {
  let parsed: unknown;
  try {
    parsed = JSON.parse(frame.toString("utf8", HEADER_OFFSET, end));
  } catch (error) {
    throw new MillraceError("MILLRACE_PROTOCOL", "remoting header is not JSON", { headerSize: end - HEADER_OFFSET }, error);
  }
  if (typeof parsed !== "object" || parsed === null || Array.isArray(parsed)) {
    throw new MillraceError("MILLRACE_PROTOCOL", "remoting header is not a JSON object", { headerSize: end - HEADER_OFFSET });
  }
  const header = parsed as Record<string, unknown>;
  const extFields: Record<string, string> = Object.create(null);
  if (typeof header["extFields"] === "object" && header["extFields"] !== null) {
    for (const [key, value] of Object.entries(header["extFields"])) {
      if (value !== null && value !== undefined) extFields[key] = typeof value === "string" ? value : JSON.stringify(value);
    }
  }
  return {
    code: integerOf(header["code"], "code"),
    language: typeof header["language"] === "string" ? header["language"] : "OTHER",
    version: integerOf(header["version"], "version"),
    opaque: integerOf(header["opaque"], "opaque"),
    flag: integerOf(header["flag"], "flag"),
    remark: typeof header["remark"] === "string" ? header["remark"] : undefined,
    extFields,
    body,
  };
}

function integerOf(value: unknown, field: string): number {
  if (value === undefined || value === null) return 0;
  const number = Number(value);
  if (!Number.isInteger(number)) throw new MillraceError("MILLRACE_PROTOCOL", `remoting header field ${field} is not an integer`);
  return number | 0;
}

function encodeBinaryHeader(command: RemotingCommand): Buffer {
  const remark = Buffer.from(command.remark ?? "");
  const fields = Object.entries(command.extFields).map(([key, value]) => [Buffer.from(key), Buffer.from(value)] as const);
  const fieldsSize = fields.reduce((size, [key, value]) => size + 2 + key.length + 4 + value.length, 0);
  const header = Buffer.allocUnsafe(21 + remark.length + fieldsSize);
  header.writeInt16BE(command.code, 0);
  header[2] = Math.max(0, (LANGUAGES as readonly string[]).indexOf(command.language));
  header.writeInt16BE(command.version, 3);
  header.writeInt32BE(command.opaque, 5);
  header.writeInt32BE(command.flag, 9);
  header.writeInt32BE(remark.length, 13);
  remark.copy(header, 17);
  let at = 17 + remark.length;
  at = header.writeInt32BE(fieldsSize, at);
  for (const [key, value] of fields) {
    at = header.writeInt16BE(key.length, at);
    at += key.copy(header, at);
    at = header.writeInt32BE(value.length, at);
    at += value.copy(header, at);
  }
  return header;
}

function decodeBinaryHeader(frame: Buffer, end: number, body: Buffer): RemotingCommand {
  const need = (at: number, size: number): number => {
    if (size < 0 || at + size > end) {
      throw new MillraceError("MILLRACE_PROTOCOL", "binary remoting header is cut short", { at, size, end });
    }
    return at + size;
  };
  let at = HEADER_OFFSET;
  need(at, 17);
  const code = frame.readInt16BE(at);
  const language = LANGUAGES[frame[at + 2]!] ?? "OTHER";
  const version = frame.readInt16BE(at + 3);
  const opaque = frame.readInt32BE(at + 5);
  const flag = frame.readInt32BE(at + 9);
  const remarkSize = frame.readInt32BE(at + 13);
  at = need(at + 17, remarkSize);
  const remark = remarkSize > 0 ? frame.toString("utf8", at - remarkSize, at) : undefined;
  need(at, 4);
  const fieldsEnd = need(at + 4, frame.readInt32BE(at));
  at += 4;
  const extFields: Record<string, string> = Object.create(null);
  while (at < fieldsEnd) {
    need(at, 2);
    const keyEnd = need(at + 2, frame.readUInt16BE(at));
    need(keyEnd, 4);
    const valueEnd = need(keyEnd + 4, frame.readInt32BE(keyEnd));
    if (keyEnd > at + 2 && valueEnd > keyEnd + 4)
      extFields[frame.toString("utf8", at + 2, keyEnd)] = frame.toString("utf8", keyEnd + 4, valueEnd);
    at = valueEnd;
  }
  return { code, language, version, opaque, flag, remark, extFields, body };
}
