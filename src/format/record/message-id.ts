import { encodeHost, writeInt64 } from "./message.ts";

/**
 * offsetMsgId: upper-case hex of ip (4 or 16 bytes), port as int32, physicalOffset as int64; 32 or 56 characters.
 * Source: Apache `MessageDecoder.createMessageId`.
 */
export function offsetMessageId(storeHost: string, physicalOffset: number): string {
  const host = encodeHost(storeHost);
  const id = Buffer.alloc(host.length + 8);
  host.copy(id);
  writeInt64(id, physicalOffset, host.length);
  return id.toString("hex").toUpperCase();
}

/** physicalOffset of an offsetMsgId, or undefined if the text is none. */
export function physicalOffsetOf(messageId: string): number | undefined {
  if (!/^(?:[0-9A-Fa-f]{32}|[0-9A-Fa-f]{56})$/.test(messageId)) return undefined;
  const offset = Number.parseInt(messageId.slice(-16), 16);
  return Number.isSafeInteger(offset) ? offset : undefined;
}
