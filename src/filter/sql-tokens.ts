import { MillraceError } from "../base/errors.ts";

/** Kinds of tokens. Source: Apache `SelectorParser.jj`. */
export const TOKEN = {
  END: 0,
  NOT: 1,
  AND: 2,
  OR: 3,
  BETWEEN: 4,
  IN: 5,
  TRUE: 6,
  FALSE: 7,
  NULL: 8,
  IS: 9,
  CONTAINS: 10,
  STARTSWITH: 11,
  ENDSWITH: 12,
  DECIMAL: 13,
  FLOATING: 14,
  STRING: 15,
  NAME: 16,
  EQUAL: 17,
  NOT_EQUAL: 18,
  GREATER: 19,
  GREATER_EQUAL: 20,
  LESS: 21,
  LESS_EQUAL: 22,
  OPEN: 23,
  COMMA: 24,
  CLOSE: 25,
  PLUS: 26,
  MINUS: 27,
} as const;

const KEYWORDS: ReadonlyMap<string, number> = new Map([
  ["NOT", TOKEN.NOT],
  ["AND", TOKEN.AND],
  ["OR", TOKEN.OR],
  ["BETWEEN", TOKEN.BETWEEN],
  ["IN", TOKEN.IN],
  ["TRUE", TOKEN.TRUE],
  ["FALSE", TOKEN.FALSE],
  ["NULL", TOKEN.NULL],
  ["IS", TOKEN.IS],
  ["CONTAINS", TOKEN.CONTAINS],
  ["STARTSWITH", TOKEN.STARTSWITH],
  ["ENDSWITH", TOKEN.ENDSWITH],
]);
const KEYWORD_SIZE_MAX = 10;

const NEW_LINE = 0x0a;
const RETURN = 0x0d;
const QUOTE = 0x27;
const STAR = 0x2a;
const DASH = 0x2d;
const DOT = 0x2e;
const SLASH = 0x2f;

/**
 * Cuts an expression into tokens, each the longest that fits, one when asked for: what is never looked at is never wrong.
 * Comments are `-- to the end of the line` (which must end) and `/ * … * /`.
 */
export class SqlTokens {
  readonly text: string;
  /** Where the newest token begins and ends. */
  start = 0;
  end = 0;
  /** Behind here no comment of that kind ends, and so none begins: each is looked for once. */
  #lastLineEnd = Number.POSITIVE_INFINITY;
  #lastBlockEnd = Number.POSITIVE_INFINITY;

  constructor(text: string) {
    this.text = text;
  }

  /** @throws MillraceError MILLRACE_FILTER_INVALID at what is no token */
  next(): number {
    const { text } = this;
    const start = this.#skip(this.end);
    this.start = start;
    if (start >= text.length) {
      this.end = start;
      return TOKEN.END;
    }
    const code = text.charCodeAt(start);
    if (isNameStart(code)) return this.#word(start);
    if (isDigit(code) || (code === DOT && isDigit(text.charCodeAt(start + 1)))) return this.#number(start);
    if (code === QUOTE) return this.#string(start);
    const second = text.charCodeAt(start + 1);
    const isWithEqual = second === 0x3d;
    this.end = start + 1;
    switch (code) {
      case 0x3d:
        return TOKEN.EQUAL;
      case 0x3c:
        if (second !== 0x3e && !isWithEqual) return TOKEN.LESS;
        this.end++;
        return isWithEqual ? TOKEN.LESS_EQUAL : TOKEN.NOT_EQUAL;
      case 0x3e:
        if (!isWithEqual) return TOKEN.GREATER;
        this.end++;
        return TOKEN.GREATER_EQUAL;
      case 0x28:
        return TOKEN.OPEN;
      case 0x29:
        return TOKEN.CLOSE;
      case 0x2c:
        return TOKEN.COMMA;
      case 0x2b:
        return TOKEN.PLUS;
      case DASH:
        return TOKEN.MINUS;
      default:
        throw invalid(text, start, `${JSON.stringify(String.fromCodePoint(text.codePointAt(start)!))} cannot stand here`);
    }
  }

  #skip(from: number): number {
    const { text } = this;
    let at = from;
    while (at < text.length) {
      const code = text.charCodeAt(at);
      if (code === 0x20 || code === 0x09 || code === NEW_LINE || code === RETURN || code === 0x0c) at++;
      else {
        const commentEnd = code === DASH ? this.#endOfLineComment(at) : code === SLASH ? this.#endOfBlockComment(at) : -1;
        if (commentEnd < 0) break;
        at = commentEnd;
      }
    }
    return at;
  }

  /** @returns the place behind the comment at `at`, or -1 if none begins there */
  #endOfBlockComment(at: number): number {
    if (this.text.charCodeAt(at + 1) !== STAR || at >= this.#lastBlockEnd) return -1;
    const end = this.text.indexOf("*/", at + 2);
    if (end >= 0) return end + 2;
    this.#lastBlockEnd = at;
    return -1;
  }

  #endOfLineComment(at: number): number {
    const { text } = this;
    if (text.charCodeAt(at + 1) !== DASH || at >= this.#lastLineEnd) return -1;
    for (let end = at + 2; end < text.length; end++) {
      const code = text.charCodeAt(end);
      if (code === NEW_LINE || code === RETURN) return end + 1;
    }
    this.#lastLineEnd = at;
    return -1;
  }

  #word(start: number): number {
    const { text } = this;
    let at = start + 1;
    while (at < text.length && isNamePart(text.charCodeAt(at))) at++;
    this.end = at;
    if (at - start > KEYWORD_SIZE_MAX) return TOKEN.NAME;
    return KEYWORDS.get(text.slice(start, at).toUpperCase()) ?? TOKEN.NAME;
  }

  /** `0`, `12`, `12L`, `1.`, `.5`, `1e5`, `1.5E-3`. A zero in front stands alone: `007` is three numbers. */
  #number(start: number): number {
    const { text } = this;
    let at = endOfDigits(text, start);
    const wholeEnd = at;
    let isFloating = false;
    if (text.charCodeAt(at) === DOT) {
      isFloating = true;
      at = endOfDigits(text, at + 1);
    }
    if ((text.charCodeAt(at) | 0x20) === 0x65) {
      const sign = text.charCodeAt(at + 1);
      const digits = sign === 0x2b || sign === DASH ? at + 2 : at + 1;
      if (isDigit(text.charCodeAt(digits))) {
        isFloating = true;
        at = endOfDigits(text, digits);
      }
    }
    this.end = at;
    if (isFloating) return TOKEN.FLOATING;
    const isZero = text.charCodeAt(start) === 0x30;
    const hasSuffix = !isZero && (text.charCodeAt(wholeEnd) | 0x20) === 0x6c;
    this.end = isZero ? start + 1 : hasSuffix ? wholeEnd + 1 : wholeEnd;
    return TOKEN.DECIMAL;
  }

  /** A quote inside is written twice. Where the second one's string has no end, the first one was the end. */
  #string(start: number): number {
    const { text } = this;
    let end = -1;
    for (let at = start + 1; ; at = end + 1) {
      const quote = text.indexOf("'", at);
      if (quote < 0) break;
      end = quote + 1;
      if (text.charCodeAt(end) !== QUOTE) break;
    }
    if (end < 0) throw invalid(text, start, "a string without its end");
    this.end = end;
    return TOKEN.STRING;
  }
}

function endOfDigits(text: string, from: number): number {
  let at = from;
  while (isDigit(text.charCodeAt(at))) at++;
  return at;
}

function isDigit(code: number): boolean {
  return code >= 0x30 && code <= 0x39;
}

function isNameStart(code: number): boolean {
  const lower = code | 0x20;
  return (lower >= 0x61 && lower <= 0x7a) || code === 0x5f || code === 0x24;
}

function isNamePart(code: number): boolean {
  return isNameStart(code) || isDigit(code);
}

/** What is wrong, with the place as line and column from 1; a tab goes on to the next multiple of 8. */
export function invalid(text: string, offset: number, what: string): MillraceError {
  let line = 1;
  let column = 1;
  for (let at = 0; at < offset; at++) {
    const code = text.charCodeAt(at);
    if (code === NEW_LINE || (code === RETURN && text.charCodeAt(at + 1) !== NEW_LINE)) {
      line++;
      column = 1;
    } else if (code === 0x09) column += 8 - ((column - 1) % 8);
    else column++;
  }
  return new MillraceError("MILLRACE_FILTER_INVALID", `${what} at line ${line}, column ${column}`, { line, column });
}
