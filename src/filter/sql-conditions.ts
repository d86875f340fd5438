import type { PropertyValues } from "./property-values.ts";
import { equalBytes, FAILED, NO, type Operand, orderOf, UNKNOWN, YES } from "./sql-operands.ts";

/** Says YES, NO, UNKNOWN or FAILED of a message. */
export interface Condition {
  test(values: PropertyValues): number;
}

/** TRUE, FALSE, NULL. */
export class Fixed implements Condition {
  readonly #outcome: number;

  constructor(outcome: number) {
    this.#outcome = outcome;
  }

  test(): number {
    return this.#outcome;
  }
}

/** A name where a condition is wanted: text is never TRUE. */
export class NameAsCondition implements Condition {
  readonly #slot: number;

  constructor(slot: number) {
    this.#slot = slot;
  }

  test(values: PropertyValues): number {
    return values.has(this.#slot) ? NO : UNKNOWN;
  }
}

export class Not implements Condition {
  readonly #of: Condition;

  constructor(of: Condition) {
    this.#of = of;
  }

  test(values: PropertyValues): number {
    const outcome = this.#of.test(values);
    return outcome > UNKNOWN ? YES + NO - outcome : outcome;
  }
}

/** Any number of terms at one level: AND, ended by the first NO; or OR, by the first YES. */
export class Junction implements Condition {
  readonly decisive: typeof YES | typeof NO;
  readonly #terms: Condition[];

  constructor(decisive: typeof YES | typeof NO, ...terms: Condition[]) {
    this.decisive = decisive;
    this.#terms = terms;
  }

  add(term: Condition): void {
    this.#terms.push(term);
  }

  test(values: PropertyValues): number {
    const { decisive } = this;
    let isKnown = true;
    for (const term of this.#terms) {
      const outcome = term.test(values);
      if (outcome === decisive || outcome === FAILED) return outcome;
      if (outcome === UNKNOWN) isKnown = false;
    }
    return isKnown ? YES + NO - decisive : UNKNOWN;
  }
}

/** `=` and IS NULL. Both sides are looked at, and two that are missing are equal. */
export class Equal implements Condition {
  readonly #left: Operand;
  readonly #right: Operand;

  constructor(left: Operand, right: Operand) {
    this.#left = left;
    this.#right = right;
  }

  test(values: PropertyValues): number {
    const left = this.#left.type(values);
    if (left === FAILED) return FAILED;
    const right = this.#right.type(values);
    if (right === FAILED) return FAILED;
    if (left === UNKNOWN) return right === UNKNOWN ? YES : UNKNOWN;
    if (right === UNKNOWN) return NO;
    const order = orderOf(values, this.#left, left, this.#right, right, true);
    return Number.isNaN(order) ? FAILED : order === 0 ? YES : NO;
  }
}

export const RELATION = { GREATER: 0, GREATER_EQUAL: 1, LESS: 2, LESS_EQUAL: 3 } as const;
export type Relation = (typeof RELATION)[keyof typeof RELATION];

/** `>` `>=` `<` `<=`: of numbers. */
export class Ordered implements Condition {
  readonly #left: Operand;
  readonly #relation: Relation;
  readonly #right: Operand;

  constructor(left: Operand, relation: Relation, right: Operand) {
    this.#left = left;
    this.#relation = relation;
    this.#right = right;
  }

  test(values: PropertyValues): number {
    const left = this.#left.type(values);
    if (left <= UNKNOWN) return left;
    const right = this.#right.type(values);
    if (right <= UNKNOWN) return right;
    const order = orderOf(values, this.#left, left, this.#right, right, false);
    if (Number.isNaN(order)) return FAILED;
    return holds(this.#relation, order) ? YES : NO;
  }
}

function holds(relation: Relation, order: number): boolean {
  switch (relation) {
    case RELATION.GREATER:
      return order > 0;
    case RELATION.GREATER_EQUAL:
      return order >= 0;
    case RELATION.LESS:
      return order < 0;
    default:
      return order <= 0;
  }
}

/** From so many texts on, a hash table is asked. */
const HASHED_COUNT = 8;

/** IN and NOT IN. */
export class In implements Condition {
  readonly #slot: number;
  readonly #isNot: boolean;
  readonly #texts: readonly Buffer[];
  /** The bytes of each text, a character a byte. */
  readonly #hashed: ReadonlySet<string> | undefined;
  readonly #sizeMax: number;

  constructor(slot: number, texts: readonly string[], isNot: boolean) {
    this.#slot = slot;
    this.#isNot = isNot;
    this.#texts = texts.map((text) => Buffer.from(text));
    this.#hashed = texts.length < HASHED_COUNT ? undefined : new Set(this.#texts.map((text) => text.toString("latin1")));
    this.#sizeMax = this.#texts.reduce((size, text) => Math.max(size, text.length), 0);
  }

  test(values: PropertyValues): number {
    if (!values.has(this.#slot)) return UNKNOWN;
    return this.#isListed(values, values.start(this.#slot), values.end(this.#slot)) === this.#isNot ? NO : YES;
  }

  #isListed(values: PropertyValues, start: number, end: number): boolean {
    if (end - start > this.#sizeMax) return false;
    values.steps += end - start;
    if (this.#hashed !== undefined) return this.#hashed.has(values.bytes.toString("latin1", start, end));
    for (const text of this.#texts) if (equalBytes(text, 0, text.length, values.bytes, start, end)) return true;
    return false;
  }
}

export const PART = { ANYWHERE: 0, START: 1, END: 2 } as const;
export type Part = (typeof PART)[keyof typeof PART];

/** CONTAINS, STARTSWITH, ENDSWITH and their opposites; with an empty text, or of what is missing, each says NO. */
export class TextPart implements Condition {
  readonly #of: Operand;
  readonly #part: Part;
  readonly #text: Buffer;
  readonly #isNot: boolean;

  constructor(of: Operand, part: Part, text: string, isNot: boolean) {
    this.#of = of;
    this.#part = part;
    this.#text = Buffer.from(text);
    this.#isNot = isNot;
  }

  test(values: PropertyValues): number {
    const text = this.#text;
    if (text.length === 0) return NO;
    const type = this.#of.type(values);
    if (type === FAILED) return FAILED;
    const bytes = this.#of.text(values);
    if (bytes === undefined) return NO;
    const start = this.#of.start(values);
    const end = this.#of.end(values);
    values.steps += this.#part === PART.ANYWHERE ? end - start : text.length;
    if (values.isExhausted) return FAILED;
    return isPart(bytes, start, end, text, this.#part) === this.#isNot ? NO : YES;
  }
}

/** Up to this product of the sizes a plain search costs less than the way into the runtime's. */
const PLAIN_SEARCH_MAX = 2048;

function isPart(bytes: Buffer, start: number, end: number, text: Buffer, part: Part): boolean {
  const { length } = text;
  if (length > end - start) return false;
  if (part === PART.START) return equalBytes(text, 0, length, bytes, start, start + length);
  if (part === PART.END) return equalBytes(text, 0, length, bytes, end - length, end);
  if ((end - start) * length > PLAIN_SEARCH_MAX) return bytes.subarray(start, end).includes(text);
  for (let at = start; at <= end - length; at++) if (equalBytes(text, 0, length, bytes, at, at + length)) return true;
  return false;
}
