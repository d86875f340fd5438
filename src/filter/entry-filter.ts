import { MillraceError } from "../base/errors.ts";
import { javaHash } from "../base/java-hash.ts";
import type { MessageFilter } from "./message-filter.ts";
import { SqlFilter } from "./sql-filter.ts";

/** What a consumer wants of a queue: first by the tag hash in the entry, then, if need be, by the message itself. */
export interface EntryFilter {
  /** Every tag hash will do. */
  readonly matchesAll: boolean;
  /** Java hashes of the tags wanted. */
  readonly codes: ReadonlySet<number>;
  readonly message?: MessageFilter | undefined;
  /** By which bits of what the entry points at messages are told apart that cannot pass `message`. */
  readonly bloom?: BloomBits | undefined;
}

/** Bits of a group and topic in the map that messages were marked in when they were stored. Source: Apache `BloomFilterData`. */
export interface BloomBits {
  readonly bitPos: readonly number[];
  /** Bits of the whole map. */
  readonly bitNum: number;
  /** Only messages stored after this (ms) were asked about the group's expression. */
  readonly bornTime: number;
}

export const NO_CODES: ReadonlySet<number> = new Set();
export const MATCH_ALL: EntryFilter = { matchesAll: true, codes: NO_CODES };

/** Source: Apache `ExpressionType.isTagType`. */
export function isTagType(expressionType: string | undefined): boolean {
  return expressionType === undefined || expressionType === "" || expressionType === "TAG";
}

/**
 * The filter of a request or a subscription. One instance a thread.
 * @throws MillraceError MILLRACE_FILTER_INVALID when the expression is wrong, or of an unknown type
 * Source: Apache `FilterAPI.build`, `FilterFactory`.
 */
export function entryFilter(expressionType: string | undefined, expression: string): EntryFilter {
  if (isTagType(expressionType)) return tagFilter(expression);
  return { matchesAll: true, codes: NO_CODES, message: messageFilter(expressionType ?? "", expression) };
}

/** @throws MillraceError MILLRACE_FILTER_INVALID when the expression is wrong, or of an unknown type */
export function messageFilter(expressionType: string, expression: string): MessageFilter {
  if (expressionType !== "SQL92") {
    throw new MillraceError("MILLRACE_FILTER_INVALID", `no filter is of type ${JSON.stringify(expressionType)}`, {
      expressionType,
    });
  }
  return new SqlFilter(expression);
}

/** `*`, or tags joined by `||`. */
function tagFilter(text: string): EntryFilter {
  if (text === "" || text === "*") return MATCH_ALL;
  const tags = text
    .split("||")
    .map((tag) => tag.trim())
    .filter((tag) => tag !== "");
  if (tags.length === 0) throw new MillraceError("MILLRACE_FILTER_INVALID", "only separators, and no tag", { expression: text });
  return { matchesAll: false, codes: new Set(tags.map(javaHash)) };
}
