import { MillraceError } from "../../base/errors.ts";

/**
 * Text of Java properties: configuration files (`-c`) and the bodies of 25, 26, 318, 319, 1009, 1010.
 *   # comment        ! comment
 *   key=value        key: value        key value        key = one \
 *                                                             two
 * Escapes: \t \n \r \f, \uXXXX, and a backslash before any other character stands for that character.
 * Source: Java `Properties.load`; Apache `MixAll.string2Properties`, `properties2String`.
 */

/** In the order of the text; the last one of equal keys wins. @throws MillraceError MILLRACE_PROTOCOL naming the line */
export function parseProperties(text: string): Map<string, string> {
  const properties = new Map<string, string>();
  const lines = text.split(/\r\n|\n|\r/);
  for (let i = 0; i < lines.length; i++) {
    const lineNumber = i + 1;
    let line = trimStart(lines[i]!);
    if (line === "" || line.startsWith("#") || line.startsWith("!")) continue;
    while (endsOpen(line) && i + 1 < lines.length) line = line.slice(0, -1) + trimStart(lines[++i]!);
    if (endsOpen(line)) line = line.slice(0, -1);
    const keyEnd = keyEndOf(line);
    // One separator, with blanks around it; blanks alone also separate.
    const value = line.slice(keyEnd).replace(/^[ \t\f]*[=:]?[ \t\f]*/, "");
    properties.set(unescape(line.slice(0, keyEnd), lineNumber), unescape(value, lineNumber));
  }
  return properties;
}

/** One `key=value` line each. */
export function formatProperties(properties: Iterable<readonly [string, string]>): string {
  let text = "";
  for (const [key, value] of properties) text += `${escape(key, true)}=${escape(value, false)}\n`;
  return text;
}

function trimStart(line: string): string {
  return line.replace(/^[ \t\f]+/, "");
}

/** Does the line go on, by an odd number of backslashes at its end? */
function endsOpen(line: string): boolean {
  let count = 0;
  while (line[line.length - 1 - count] === "\\") count++;
  return count % 2 === 1;
}

function keyEndOf(line: string): number {
  for (let at = 0; at < line.length; at++) {
    if (line[at] === "\\") at++;
    else if (" \t\f=:".includes(line[at]!)) return at;
  }
  return line.length;
}

const ESCAPES = new Map([
  ["t", "\t"],
  ["n", "\n"],
  ["r", "\r"],
  ["f", "\f"],
]);

function unescape(text: string, lineNumber: number): string {
  return text.replace(/\\(u[0-9a-fA-F]{4}|[^])/g, (_, escaped: string) => {
    if (escaped.length === 5) return String.fromCharCode(Number.parseInt(escaped.slice(1), 16));
    if (escaped === "u")
      throw new MillraceError("MILLRACE_PROTOCOL", `properties, line ${lineNumber}: \\u needs four hex digits`, { lineNumber });
    return ESCAPES.get(escaped) ?? escaped;
  });
}

function escape(text: string, isKey: boolean): string {
  const escaped = text.replace(/[\\\t\n\r\f]/g, (char) => (char === "\\" ? "\\\\" : `\\${"tnrf"["\t\n\r\f".indexOf(char)]}`));
  if (isKey) return escaped.replace(/[ =:#!]/g, "\\$&");
  return escaped.replace(/^ /, "\\ ");
}
