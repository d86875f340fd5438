import type { Line } from "./line-splitter.ts";

/**
 * How lines travel as messages. The body is the line without its line feed, which is what other consumers
 * expect. Where that alone would not bring back the input, a property says what to add after the body:
 *   no property        a line feed
 *   LINE_END = none    nothing: the input's last line had no line feed, or the line goes on in the next message
 * An empty line cannot be an empty body, which brokers refuse: its body is the line feed itself, with LINE_END = none.
 */
const LINE_END = "LINE_END";
const NONE: Readonly<Record<string, string>> = { [LINE_END]: "none" };
const LINE_FEED: Buffer = Buffer.from("\n");

export interface LineMessage {
  body: Buffer;
  properties?: Readonly<Record<string, string>>;
}

export function messageOfLine({ bytes, isEnded }: Line): LineMessage {
  if (!isEnded) return { body: bytes, properties: NONE };
  return bytes.length === 0 ? { body: LINE_FEED, properties: NONE } : { body: bytes };
}

/** Does a line feed belong after the body of a message with these properties? */
export function isLineFeedAfter(properties: ReadonlyMap<string, string>): boolean {
  return properties.get(LINE_END) !== "none";
}
