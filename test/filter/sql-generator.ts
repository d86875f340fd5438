import type { Random } from "../torture/random.ts";

const NAMES = ["a", "b", "c", "TAGS", "$x_1", "_", "Aa", "not1", "missing"];
const TEXTS = ["", "x", "abc", "b", "it''s", "true", "TRUE", "5", "5.0", "-3", "null", "é", "日本", "a b", "''"];
const WHOLES = [
  "0",
  "1",
  "5",
  "10",
  "007",
  "12L",
  "3l",
  "0L",
  "2147483647",
  "2147483648",
  "9007199254740993",
  "9223372036854775807",
];
const HUGE = ["9223372036854775808", "99999999999999999999", "1e400", "1e-400", "0.0", ".0"];
const FLOATS = ["1.5", "5.", ".5", "5E0", "1e3", "2.5e-3", "5.0", "1.7976931348623157e308", "4.9e-324", "9007199254740993.0"];
const VALUES = [
  "5",
  "+5",
  "-5",
  "5.0",
  " 5 ",
  "5 ",
  "05",
  "0",
  "-0",
  "-0.0",
  "0.0",
  "",
  "x",
  "abc",
  "it's",
  "true",
  "TrUe",
  "false",
  "null",
  "NaN",
  "Infinity",
  "-Infinity",
  "1e3",
  "1e",
  "1.5f",
  "1.5D",
  "5L",
  "0x10",
  "0x1p3",
  "0x1.8P-1d",
  "0x.p1",
  "2147483647",
  "2147483648",
  "-2147483648",
  "-2147483649",
  "9007199254740992",
  "9007199254740993",
  "9223372036854775807",
  "9223372036854775808",
  "-9223372036854775808",
  "-",
  "+",
  ".",
  "1.",
  ".5",
  "٣",
  "５",
  "é",
  "日本",
  "a b",
  "b",
];
const STRAYS = [
  " ",
  "(",
  ")",
  "'",
  ",",
  "+",
  "-",
  "--",
  "-- a\n",
  "/* x */",
  "/*",
  "*/",
  "#",
  "é",
  "ſ",
  "K",
  "ı",
  "\u0000",
  "\t",
  "\r\n",
  "==",
  "!=",
  "<",
  "=",
  "<>",
  ".",
  "e",
  "L",
  " NOT ",
  " IS ",
  " AND ",
  " IN ",
  " NULL ",
  " TRUE ",
  " 5 ",
  " a ",
  "%",
  "\u00a0",
  "LIKE",
  "1e",
  "'x'",
  ";",
  "\u000b",
  "\f",
];

/** A random expression: mostly well formed, at times wild or with a flaw, so that both sides of the grammar's edges are met. */
export function randomExpression(random: Random): string {
  let text = random.chance(4) ? or(random, random.between(0, 4)) : condition(random, random.between(0, 4));
  for (let flaws = random.chance(6) ? random.between(1, 2) : 0; flaws > 0; flaws--) {
    const at = random.below(text.length + 1);
    const cut = random.chance(2) ? random.below(4) : 0;
    text = text.slice(0, at) + (cut > 0 && random.chance(2) ? "" : random.pick(STRAYS)) + text.slice(at + cut);
  }
  return text;
}

/** A properties text as it stands in a record. */
export function randomProperties(random: Random): string {
  let text = "";
  for (const name of NAMES.slice(0, -1)) {
    if (random.chance(3)) continue;
    const value = random.chance(6) ? String(random.between(-20, 20) / random.pick([1, 2, 4])) : random.pick(VALUES);
    text += `${name}\u0001${value}\u0002`;
  }
  return text;
}

/** One that is seldom refused. */
function condition(random: Random, depth: number): string {
  if (depth > 0 && random.chance(2)) {
    return random.pick([
      () => `${condition(random, depth - 1)} ${keyword(random, "AND")} ${condition(random, depth - 1)}`,
      () => `${condition(random, depth - 1)} ${keyword(random, "OR")} ${condition(random, depth - 1)}`,
      () => `(${condition(random, depth - 1)})`,
      () => `${keyword(random, "NOT")} (${condition(random, depth - 1)})`,
    ])();
  }
  const not = random.chance(3) ? ` ${keyword(random, "NOT")}` : "";
  const inner = random.chance(6) ? `(${condition(random, 0)})` : operand(random);
  return random.pick([
    () => `${side(random)}${random.pick([" > ", ">=", "<", " <= "])}${side(random)}`,
    () => `${side(random)} ${random.pick([">", ">=", "<", "<="])} ${number(random)}`,
    () => `${inner} ${random.pick(["=", "<>"])} ${random.chance(8) ? `(${condition(random, 0)})` : operand(random)}`,
    () => `${side(random)}${not} BETWEEN ${random.chance(2) ? -random.below(9) : side(random)} AND ${side(random)}`,
    () => `${random.pick(NAMES)}${not} IN (${list(random)})`,
    () => `${inner}${not} ${keyword(random, random.pick(["CONTAINS", "STARTSWITH", "ENDSWITH"]))} '${random.pick(TEXTS)}'`,
    () => `${inner} IS${not} NULL`,
    () => (random.chance(4) ? random.pick(["TRUE", "FALSE", "NULL", "a"]) : `${operand(random)} = ${operand(random)}`),
  ])();
}

/** Of a comparison that is for numbers. */
function side(random: Random): string {
  return random.chance(3) ? number(random) : random.pick(NAMES);
}

function operand(random: Random): string {
  return random.chance(3) ? value(random) : random.pick(NAMES);
}

/** From here on: what the grammar allows, whether it means anything or not. */
function or(random: Random, depth: number): string {
  const terms = [and(random, depth)];
  while (depth > 0 && random.chance(3)) terms.push(and(random, depth - 1));
  return terms.join(` ${keyword(random, "OR")} `);
}

function and(random: Random, depth: number): string {
  const terms = [equality(random, depth)];
  while (depth > 0 && random.chance(3)) terms.push(equality(random, depth - 1));
  return terms.join(` ${keyword(random, "AND")} `);
}

function equality(random: Random, depth: number): string {
  let text = relation(random, depth);
  while (random.chance(3)) {
    text += random.pick([
      () => ` = ${relation(random, depth - 1)}`,
      () => `=${value(random)}`,
      () => ` <> ${value(random)}`,
      () => ` ${keyword(random, "IS")} NULL`,
      () => ` IS ${keyword(random, "NOT")} NULL`,
    ])();
  }
  return text;
}

function relation(random: Random, depth: number): string {
  let text = unary(random, depth);
  while (random.chance(3)) {
    const not = random.chance(3) ? ` ${keyword(random, "NOT")}` : "";
    const name = random.pick(["CONTAINS", "STARTSWITH", "ENDSWITH"]);
    text += random.pick([
      () => `${random.pick([" > ", ">=", "<", " <= "])}${random.chance(4) ? value(random) : random.pick(NAMES)}`,
      () => `${random.pick([" > ", ">=", "<", " <= "])}${number(random)}`,
      () => `${not} ${keyword(random, name)} '${random.pick(TEXTS)}'`,
      () => `${not} BETWEEN ${number(random)} AND ${number(random)}`,
      () => `${not} BETWEEN ${value(random)} AND ${value(random)}`,
      () => `${not} IN (${list(random)})`,
    ])();
  }
  return text;
}

function list(random: Random): string {
  const texts = Array.from({ length: random.chance(5) ? 12 : random.between(1, 4) }, () => `'${random.pick(TEXTS)}'`);
  return texts.join(random.pick([",", ", "]));
}

function unary(random: Random, depth: number): string {
  if (random.chance(8)) return `${random.pick(["+", "-", "- ", "NOT ", "not "])}${unary(random, depth)}`;
  if (depth > 0 && random.chance(4)) return `(${or(random, depth - 1)})`;
  // Most comparisons of generated expressions would be refused, did not most begin with a name.
  return random.chance(3) ? value(random) : random.pick(NAMES);
}

function value(random: Random): string {
  return random.pick([
    () => random.pick(NAMES),
    () => number(random),
    () => `'${random.pick(TEXTS)}'`,
    () => keyword(random, random.pick(["TRUE", "FALSE"])),
    () => random.pick(NAMES),
    () => number(random),
    () => (random.chance(4) ? "NULL" : number(random)),
  ])();
}

function number(random: Random): string {
  const sign = random.chance(5) ? "-" : "";
  if (random.chance(40)) return sign + random.pick(HUGE);
  return sign + random.pick(random.chance(3) ? FLOATS : WHOLES);
}

function keyword(random: Random, word: string): string {
  return random.chance(4) ? word.toLowerCase() : word;
}
