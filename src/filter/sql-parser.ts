import type { MillraceError } from "../base/errors.ts";
import { PropertyValues } from "./property-values.ts";
import {
  type Condition,
  Equal,
  Fixed,
  In,
  Junction,
  NameAsCondition,
  Not,
  Ordered,
  PART,
  type Part,
  RELATION,
  type Relation,
  TextPart,
} from "./sql-conditions.ts";
import {
  ConditionOperand,
  NegatedOperand,
  NO,
  NumberOperand,
  type Operand,
  PropertyOperand,
  TextOperand,
  UNKNOWN,
  YES,
} from "./sql-operands.ts";
import { invalid, SqlTokens, TOKEN } from "./sql-tokens.ts";

/** Longest expression, UTF-16 units: it is compiled by threads that serve others, in 5 ms at most, also as their first. */
const TEXT_SIZE_MAX = 16_384;
/** Most words, values and signs in it: each costs a microsecond or two in a thread that has not compiled any yet. */
const TOKENS_MAX = 2048;
/** Deepest nesting of parentheses, NOT, signs and comparisons of comparisons: parser and evaluator recurse that far. */
const DEPTH_MAX = 256;
/** Different properties that an expression may name. */
const NAMES_MAX = 256;

/** A piece of an expression, not yet known to be a condition or a value. */
interface Term {
  readonly at: number;
  readonly operand: Operand;
  /** Of what can only be TRUE, FALSE or NULL. */
  readonly condition?: Condition;
  readonly isLiteral?: boolean;
  /** Of a property alone. */
  readonly slot?: number;
  readonly depth: number;
}

export interface ParsedSql {
  readonly condition: Condition;
  /** Properties named, by slot. */
  readonly names: readonly string[];
}

/** For conditions on literals alone. */
const NO_VALUES = new PropertyValues([]);
const NULL_OPERAND = new ConditionOperand(new Fixed(UNKNOWN));

/**
 * Parses an expression. Grammar, as far as it goes beyond Apache's `SelectorParser.jj`: nothing. What follows a whole expression is
 * not looked at, but for the one token that ends it, since Apache does not either.
 *   or       = and { OR and }
 *   and      = equality { AND equality }
 *   equality = relation { = relation | <> relation | IS [NOT] NULL }
 *   relation = unary { (> | >= | < | <=) unary | [NOT] (CONTAINS | STARTSWITH | ENDSWITH) string
 *                    | [NOT] BETWEEN unary AND unary | [NOT] IN ( string { , string } ) }
 *   unary    = + unary | - unary | NOT unary | literal | name | ( or )
 * @throws MillraceError MILLRACE_FILTER_INVALID with the line and column of what is wrong
 */
export function parseSql(text: string): ParsedSql {
  if (text.length > TEXT_SIZE_MAX) throw invalid(text, 0, `longer than ${TEXT_SIZE_MAX} characters:`);
  return new SqlParser(text).parse();
}

class SqlParser {
  readonly #tokens: SqlTokens;
  readonly #slots = new Map<string, number>();
  #token = 0;
  /** Start of the token. */
  #at = 0;
  #depth = 0;
  #count = 0;

  constructor(text: string) {
    this.#tokens = new SqlTokens(text);
  }

  parse(): ParsedSql {
    this.#advance();
    const condition = this.#condition(this.#or());
    return { condition, names: [...this.#slots.keys()] };
  }

  #advance(): void {
    this.#token = this.#tokens.next();
    this.#at = this.#tokens.start;
    if (++this.#count > TOKENS_MAX) throw this.#refused(this.#at, `more than ${TOKENS_MAX} words, values and signs`);
  }

  #take(kind: number, name: string): void {
    if (this.#token !== kind) throw this.#unexpected(name);
    this.#advance();
  }

  #unexpected(wanted: string): MillraceError {
    const { text, start, end } = this.#tokens;
    const found = this.#token === TOKEN.END ? "the end" : JSON.stringify(text.slice(start, Math.min(end, start + 40)));
    return invalid(text, start, `${wanted} is wanted instead of ${found}`);
  }

  #refused(at: number, why: string): MillraceError {
    return invalid(this.#tokens.text, at, why);
  }

  #condition(term: Term): Condition {
    if (term.condition !== undefined) return term.condition;
    if (term.slot !== undefined) return new NameAsCondition(term.slot);
    throw this.#refused(term.at, "a value where a condition is wanted");
  }

  #or(): Term {
    return this.#junction(TOKEN.OR, YES);
  }

  #junction(operator: number, decisive: typeof YES | typeof NO): Term {
    const left = operator === TOKEN.OR ? this.#junction(TOKEN.AND, NO) : this.#equality();
    if (this.#token !== operator) return left;
    const junction = new Junction(decisive, this.#condition(left));
    let { depth } = left;
    while (this.#token === operator) {
      this.#advance();
      const right = operator === TOKEN.OR ? this.#junction(TOKEN.AND, NO) : this.#equality();
      junction.add(this.#condition(right));
      depth = Math.max(depth, right.depth);
    }
    return this.#conditionTerm(left.at, junction, depth);
  }

  #conditionTerm(at: number, condition: Condition, depth: number): Term {
    if (depth >= DEPTH_MAX) throw this.#refused(at, `nested deeper than ${DEPTH_MAX}`);
    return { at, condition, operand: new ConditionOperand(condition), depth: depth + 1 };
  }

  #equality(): Term {
    let left = this.#relation();
    for (;;) {
      const { at } = left;
      if (this.#token === TOKEN.EQUAL || this.#token === TOKEN.NOT_EQUAL) {
        const isNot = this.#token === TOKEN.NOT_EQUAL;
        this.#advance();
        const right = this.#relation();
        this.#checkEqual(left, right);
        const equal = new Equal(left.operand, right.operand);
        left = this.#conditionTerm(at, isNot ? new Not(equal) : equal, Math.max(left.depth, right.depth));
      } else if (this.#token === TOKEN.IS) {
        this.#advance();
        const isNot = this.#takeNot();
        this.#take(TOKEN.NULL, isNot ? "NULL" : "NULL or NOT NULL");
        const isNull = new Equal(left.operand, NULL_OPERAND);
        left = this.#conditionTerm(at, isNot ? new Not(isNull) : isNull, left.depth);
      } else return left;
    }
  }

  #takeNot(): boolean {
    if (this.#token !== TOKEN.NOT) return false;
    this.#advance();
    return true;
  }

  #checkEqual(left: Term, right: Term): void {
    for (const { operand, at } of [left, right]) {
      if (operand === NULL_OPERAND) throw this.#refused(at, "NULL is equal to nothing (IS NULL asks for it)");
    }
    if (left.isLiteral && right.isLiteral && left.condition !== undefined && right.condition === undefined) {
      throw this.#refused(left.at, "TRUE or FALSE next to a value of another type");
    }
  }

  #relation(): Term {
    let left = this.#unary();
    for (;;) {
      const relation = RELATIONS.get(this.#token);
      if (relation !== undefined) {
        this.#advance();
        const right = this.#unary();
        left = this.#conditionTerm(left.at, this.#ordered(left, relation, right), Math.max(left.depth, right.depth));
        continue;
      }
      const isNot = this.#takeNot();
      const part = PARTS.get(this.#token);
      if (part !== undefined) {
        this.#advance();
        left = this.#conditionTerm(left.at, new TextPart(left.operand, part, this.#string(), isNot), left.depth);
      } else if (this.#token === TOKEN.BETWEEN) left = this.#between(left, isNot);
      else if (this.#token === TOKEN.IN) left = this.#in(left, isNot);
      else if (isNot) throw this.#unexpected("CONTAINS, STARTSWITH, ENDSWITH, BETWEEN or IN");
      else return left;
    }
  }

  #ordered(left: Term, relation: Relation, right: Term): Ordered {
    for (const { operand, condition, isLiteral, at } of [left, right]) {
      if (condition !== undefined || (isLiteral && !(operand instanceof NumberOperand))) {
        throw this.#refused(at, "only numbers are greater or less than others: this cannot be compared,");
      }
    }
    return new Ordered(left.operand, relation, right.operand);
  }

  #between(left: Term, isNot: boolean): Term {
    this.#advance();
    const low = this.#unary();
    this.#take(TOKEN.AND, "AND");
    const high = this.#unary();
    const first = this.#ordered(left, isNot ? RELATION.LESS : RELATION.GREATER_EQUAL, low);
    const second = this.#ordered(left, isNot ? RELATION.GREATER : RELATION.LESS_EQUAL, high);
    if (!isNot && low.isLiteral && high.isLiteral) {
      const range = new Ordered(low.operand, RELATION.LESS_EQUAL, high.operand);
      if (range.test(NO_VALUES) !== YES) throw this.#refused(low.at, "BETWEEN from the greater to the less");
    }
    const depth = Math.max(left.depth, low.depth, high.depth);
    return this.#conditionTerm(left.at, new Junction(isNot ? YES : NO, first, second), depth);
  }

  #in(left: Term, isNot: boolean): Term {
    this.#advance();
    this.#take(TOKEN.OPEN, "(");
    const texts = [this.#string()];
    while (this.#token === TOKEN.COMMA) {
      this.#advance();
      texts.push(this.#string());
    }
    this.#take(TOKEN.CLOSE, ", or )");
    if (left.slot === undefined) throw this.#refused(left.at, "IN is for a property:");
    return this.#conditionTerm(left.at, new In(left.slot, texts, isNot), left.depth);
  }

  #unary(): Term {
    if (++this.#depth > DEPTH_MAX) throw this.#refused(this.#at, `nested deeper than ${DEPTH_MAX}`);
    const term = this.#signedOrPlain();
    this.#depth--;
    return term;
  }

  #signedOrPlain(): Term {
    const at = this.#at;
    switch (this.#token) {
      case TOKEN.PLUS:
        this.#advance();
        return this.#unary();
      case TOKEN.MINUS: {
        this.#advance();
        const { operand, depth } = this.#unary();
        const isNumber = operand instanceof NumberOperand;
        return { at, operand: isNumber ? operand.negated() : new NegatedOperand(operand), depth: depth + 1 };
      }
      case TOKEN.NOT: {
        this.#advance();
        const of = this.#unary();
        return this.#conditionTerm(at, new Not(this.#condition(of)), of.depth);
      }
      case TOKEN.OPEN: {
        this.#advance();
        const inner = this.#or();
        this.#take(TOKEN.CLOSE, ")");
        return inner;
      }
      default:
        return this.#literalOrName(at);
    }
  }

  #literalOrName(at: number): Term {
    const { text, start, end } = this.#tokens;
    switch (this.#token) {
      case TOKEN.STRING:
        return { at, operand: new TextOperand(this.#string()), isLiteral: true, depth: 0 };
      case TOKEN.DECIMAL:
      case TOKEN.FLOATING:
        return { at, operand: this.#number(text.slice(start, end)), isLiteral: true, depth: 0 };
      case TOKEN.TRUE:
      case TOKEN.FALSE:
      case TOKEN.NULL: {
        const condition = new Fixed(this.#token === TOKEN.TRUE ? YES : this.#token === TOKEN.FALSE ? NO : UNKNOWN);
        const operand = this.#token === TOKEN.NULL ? NULL_OPERAND : new ConditionOperand(condition);
        this.#advance();
        return { at, operand, condition, isLiteral: true, depth: 0 };
      }
      case TOKEN.NAME: {
        const slot = this.#slotOf(text.slice(start, end));
        this.#advance();
        return { at, operand: new PropertyOperand(slot), slot, depth: 0 };
      }
      default:
        throw this.#unexpected("a property, a number, a 'text', TRUE, FALSE, NULL, NOT or (");
    }
  }

  #number(text: string): NumberOperand {
    const isFloating = this.#token === TOKEN.FLOATING;
    const number = isFloating ? NumberOperand.floating(text) : NumberOperand.whole(text.replace(/[lL]$/, ""));
    if (number === undefined)
      throw this.#refused(this.#at, isFloating ? "a number out of range" : "a whole number beyond 64 bits");
    this.#advance();
    return number;
  }

  #string(): string {
    if (this.#token !== TOKEN.STRING) throw this.#unexpected("a 'text'");
    const { text, start, end } = this.#tokens;
    const value = text.slice(start + 1, end - 1);
    this.#advance();
    return value.includes("'") ? value.replaceAll("''", "'") : value;
  }

  #slotOf(name: string): number {
    const known = this.#slots.get(name);
    if (known !== undefined) return known;
    if (this.#slots.size >= NAMES_MAX) throw this.#refused(this.#at, `more than ${NAMES_MAX} different properties`);
    this.#slots.set(name, this.#slots.size);
    return this.#slots.size - 1;
  }
}

const RELATIONS: ReadonlyMap<number, Relation> = new Map<number, Relation>([
  [TOKEN.GREATER, RELATION.GREATER],
  [TOKEN.GREATER_EQUAL, RELATION.GREATER_EQUAL],
  [TOKEN.LESS, RELATION.LESS],
  [TOKEN.LESS_EQUAL, RELATION.LESS_EQUAL],
]);

const PARTS: ReadonlyMap<number, Part> = new Map<number, Part>([
  [TOKEN.CONTAINS, PART.ANYWHERE],
  [TOKEN.STARTSWITH, PART.START],
  [TOKEN.ENDSWITH, PART.END],
]);
