import { NumberReader } from "./java-numbers.ts";
import { AS_DOUBLE, AS_INT, AS_LONG, type PropertyValues } from "./property-values.ts";

/**
 * What a condition says of a message, and the types that the value of an operand may have: a condition may stand where a value is
 * wanted. UNKNOWN is SQL's null. FAILED is where Apache's evaluator throws; what fails in a part that is looked at fails as a whole.
 */
export const FAILED = -1;
export const UNKNOWN = 0;
export const YES = 1;
export const NO = 2;
const TEXT = 3;
const INT = 4;
const LONG = 5;
const DOUBLE = 6;

const NOTHING: Buffer = Buffer.alloc(0);

/** A side of a comparison: `type` comes first, and the rest only where it says that there is such a thing. */
export abstract class Operand {
  abstract type(values: PropertyValues): number;
  /** Of a TEXT or a number: is it a number in this form (property-values.ts)? */
  reads(_values: PropertyValues, _form: number): boolean {
    return false;
  }
  number(_values: PropertyValues, _form: number): number {
    return 0;
  }
  /** The exact LONG, where `number` is rounded. */
  big(_values: PropertyValues): bigint | undefined {
    return undefined;
  }
  /** Of a TEXT: [start, end) of these bytes. */
  text(_values: PropertyValues): Buffer | undefined {
    return undefined;
  }
  start(_values: PropertyValues): number {
    return 0;
  }
  end(_values: PropertyValues): number {
    return 0;
  }
}

export class PropertyOperand extends Operand {
  readonly slot: number;

  constructor(slot: number) {
    super();
    this.slot = slot;
  }

  override type(values: PropertyValues): number {
    return values.has(this.slot) ? TEXT : UNKNOWN;
  }

  override reads(values: PropertyValues, form: number): boolean {
    return values.isNumber(this.slot, form);
  }

  override number(values: PropertyValues, form: number): number {
    return values.number(this.slot, form);
  }

  override big(values: PropertyValues): bigint | undefined {
    return values.big(this.slot);
  }

  override text(values: PropertyValues): Buffer | undefined {
    return values.has(this.slot) ? values.bytes : undefined;
  }

  override start(values: PropertyValues): number {
    return values.start(this.slot);
  }

  override end(values: PropertyValues): number {
    return values.end(this.slot);
  }
}

export class TextOperand extends Operand {
  readonly #text: Buffer;
  readonly #reader = new NumberReader();

  constructor(text: string) {
    super();
    this.#text = Buffer.from(text);
  }

  override type(): number {
    return TEXT;
  }

  override reads(_values: PropertyValues, form: number): boolean {
    const text = this.#text;
    if (form === AS_INT) return this.#reader.int(text, 0, text.length);
    return form === AS_LONG ? this.#reader.long(text, 0, text.length) : this.#reader.double(text, 0, text.length);
  }

  override number(): number {
    return this.#reader.value;
  }

  override big(): bigint | undefined {
    return this.#reader.big;
  }

  override text(): Buffer {
    return this.#text;
  }

  override end(): number {
    return this.#text.length;
  }
}

const INT_MAX = 2_147_483_647;
/** Any number of so many digits is exact as a `number`. */
const EXACT_DIGITS = 15;

export class NumberOperand extends Operand {
  readonly #type: number;
  readonly value: number;
  readonly #big: bigint | undefined;

  private constructor(type: number, value: number, big?: bigint) {
    super();
    this.#type = type;
    this.value = value;
    this.#big = big;
  }

  /** @returns undefined beyond 64 bits */
  static whole(digits: string): NumberOperand | undefined {
    if (digits.length <= EXACT_DIGITS) {
      const value = Number(digits);
      return new NumberOperand(value <= INT_MAX ? INT : LONG, value);
    }
    const reader = new NumberReader();
    const bytes = Buffer.from(digits);
    if (!reader.long(bytes, 0, bytes.length)) return undefined;
    return new NumberOperand(reader.value <= INT_MAX ? INT : LONG, reader.value, reader.big);
  }

  /** @returns undefined for what Java cannot hold, and for zero, which Apache's parser refuses as too small */
  static floating(text: string): NumberOperand | undefined {
    const value = Number(text);
    return value > 0 && Number.isFinite(value) ? new NumberOperand(DOUBLE, value) : undefined;
  }

  /** Keeps its type, as in Java: -2147483648 is a LONG. */
  negated(): NumberOperand {
    const big = this.#big === undefined ? undefined : -this.#big;
    return new NumberOperand(this.#type, this.value === 0 ? 0 : -this.value, big);
  }

  override type(): number {
    return this.#type;
  }

  override reads(): boolean {
    return true;
  }

  override number(): number {
    return this.value;
  }

  override big(): bigint | undefined {
    return this.#big;
  }
}

export class ConditionOperand extends Operand {
  readonly #of: { test(values: PropertyValues): number };

  constructor(of: { test(values: PropertyValues): number }) {
    super();
    this.#of = of;
  }

  override type(values: PropertyValues): number {
    return this.#of.test(values);
  }
}

/** A minus before what is no number: nothing, once that has been looked at. */
export class NegatedOperand extends Operand {
  readonly #of: Operand;

  constructor(of: Operand) {
    super();
    this.#of = of;
  }

  override type(values: PropertyValues): number {
    return this.#of.type(values) === FAILED ? FAILED : UNKNOWN;
  }
}

/**
 * Negative, 0 or positive as left is below, equal to or above right; NaN where they cannot be compared. A text next to a number is
 * read as a number of that type, and nothing else will do: '5.0' is no INT.
 * @param leftType, rightType as `type` has just said, neither of them UNKNOWN nor FAILED
 * @param isEqual for `=`, where two texts are compared as such; else as DOUBLEs
 * Source: Apache `ComparisonExpression.evaluate`, `__compare`.
 */
export function orderOf(
  values: PropertyValues,
  left: Operand,
  leftType: number,
  right: Operand,
  rightType: number,
  isEqual: boolean,
): number {
  if (leftType <= NO) {
    if (rightType === TEXT) return Number.NaN; // Apache casts the wrong side.
    return rightType <= NO ? rightType - leftType : -1;
  }
  if (rightType <= NO) return leftType === TEXT ? rightType - (isTrue(values, left) ? YES : NO) : -1;
  let form: number;
  if (leftType === TEXT && rightType === TEXT) {
    if (isEqual) return equalTexts(values, left, right);
    form = AS_DOUBLE;
  } else if (leftType === TEXT) form = formOf(rightType);
  else if (rightType === TEXT) form = formOf(leftType);
  else form = formOf(Math.max(leftType, rightType));
  // In Java's order, since a reader keeps the last number only.
  if (!left.reads(values, form)) return Number.NaN;
  const leftNumber = left.number(values, form);
  const leftBig = form === AS_LONG ? left.big(values) : undefined;
  if (!right.reads(values, form)) return Number.NaN;
  const rightNumber = right.number(values, form);
  if (form === AS_DOUBLE) return compareDoubles(leftNumber, rightNumber);
  const rightBig = form === AS_LONG ? right.big(values) : undefined;
  if (leftBig === undefined && rightBig === undefined) return leftNumber - rightNumber;
  const difference = (leftBig ?? BigInt(leftNumber)) - (rightBig ?? BigInt(rightNumber));
  return difference < 0n ? -1 : difference === 0n ? 0 : 1;
}

function formOf(type: number): number {
  return type === INT ? AS_INT : type === LONG ? AS_LONG : AS_DOUBLE;
}

/** `Double.compare`: NaN above all and equal to itself, -0 below 0. */
function compareDoubles(left: number, right: number): number {
  if (left < right) return -1;
  if (left > right) return 1;
  if (Object.is(left, right)) return 0;
  if (Number.isNaN(left)) return 1;
  return Number.isNaN(right) || Object.is(left, -0) ? -1 : 1;
}

const TRUE = Buffer.from("true");

/** `Boolean.valueOf`. */
function isTrue(values: PropertyValues, operand: Operand): boolean {
  const start = operand.start(values);
  if (operand.end(values) - start !== TRUE.length) return false;
  const bytes = operand.text(values) ?? NOTHING;
  for (let i = 0; i < TRUE.length; i++) if ((bytes[start + i]! | 0x20) !== TRUE[i]) return false;
  return true;
}

function equalTexts(values: PropertyValues, left: Operand, right: Operand): number {
  const start = left.start(values);
  const end = left.end(values);
  const otherStart = right.start(values);
  const otherEnd = right.end(values);
  if (end - start !== otherEnd - otherStart) return 1;
  values.steps += end - start;
  if (values.isExhausted) return Number.NaN;
  return equalBytes(left.text(values) ?? NOTHING, start, end, right.text(values) ?? NOTHING, otherStart, otherEnd) ? 0 : 1;
}

/** From this size on the way into the runtime's own comparison costs less than a loop. */
const NATIVE_SIZE_MIN = 64;

export function equalBytes(
  one: Buffer,
  start: number,
  end: number,
  other: Buffer,
  otherStart: number,
  otherEnd: number,
): boolean {
  if (end - start !== otherEnd - otherStart) return false;
  if (end - start >= NATIVE_SIZE_MIN) return one.compare(other, otherStart, otherEnd, start, end) === 0;
  for (let i = 0; i < end - start; i++) if (one[start + i] !== other[otherStart + i]) return false;
  return true;
}
