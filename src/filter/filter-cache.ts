import { MillraceError } from "../base/errors.ts";
import { type EntryFilter, entryFilter } from "./entry-filter.ts";

/** What is kept is some 40 bytes for each character. */
const TEXT_TOTAL_MAX = 1_048_576;

/**
 * Compiled filters by their text, and what is wrong with those that are none: clients repeat themselves with every request. One
 * instance a thread.
 */
export class FilterCache {
  readonly #known = new Map<string, EntryFilter | MillraceError>();
  #textTotal = 0;

  /** @throws MillraceError MILLRACE_FILTER_INVALID when the expression is wrong, or of an unknown type */
  get(expressionType: string | undefined, expression: string): EntryFilter {
    const key = `${expressionType ?? ""} ${expression}`;
    let known = this.#known.get(key);
    if (known === undefined) {
      known = compiled(expressionType, expression);
      this.#textTotal += key.length;
      if (this.#textTotal > TEXT_TOTAL_MAX) {
        this.#known.clear();
        this.#textTotal = key.length;
      }
      this.#known.set(key, known);
    }
    if (known instanceof MillraceError) throw known;
    return known;
  }

  /** undefined where `get` throws. */
  find(expressionType: string | undefined, expression: string): EntryFilter | undefined {
    try {
      return this.get(expressionType, expression);
    } catch (error) {
      if (error instanceof MillraceError) return undefined;
      throw error;
    }
  }
}

function compiled(expressionType: string | undefined, expression: string): EntryFilter | MillraceError {
  try {
    return entryFilter(expressionType, expression);
  } catch (error) {
    if (error instanceof MillraceError) return error;
    throw error;
  }
}
