import { RecordParts } from "../format/record/message.ts";
import type { MessageFilter } from "./message-filter.ts";
import { PropertyValues } from "./property-values.ts";
import type { Condition } from "./sql-conditions.ts";
import { FAILED, YES } from "./sql-operands.ts";
import { parseSql } from "./sql-parser.ts";

/**
 * An SQL92 expression, compiled once, asked about one message after the other. Per message: one walk over the properties, then the
 * conditions on the bytes themselves; nothing is allocated.
 * Source: Apache `SqlFilter`, `ExpressionMessageFilter`.
 */
export class SqlFilter implements MessageFilter {
  readonly #condition: Condition;
  readonly #values: PropertyValues;
  readonly #parts = new RecordParts();

  /** @throws MillraceError MILLRACE_FILTER_INVALID with the line and column of what is wrong */
  constructor(expression: string) {
    const { condition, names } = parseSql(expression);
    this.#condition = condition;
    this.#values = new PropertyValues(names);
  }

  get steps(): number {
    return this.#values.steps;
  }

  matches(record: Buffer, at: number): boolean {
    this.#parts.locate(record, at);
    return this.matchesProperties(record, this.#parts.propertiesStart, this.#parts.propertiesEnd);
  }

  matchesProperties(properties: Buffer, start: number, end: number): boolean {
    return this.test(properties, start, end) === YES;
  }

  /** YES, NO, UNKNOWN or FAILED (sql-operands.ts). */
  test(properties: Buffer, start: number, end: number): number {
    this.#values.take(properties, start, end);
    const outcome = this.#condition.test(this.#values);
    return this.#values.isExhausted ? FAILED : outcome;
  }
}
