import { MillraceError } from "../base/errors.ts";

/** The number that a flag's text stands for. @throws MillraceError MILLRACE_CONFIG_INVALID naming what is allowed */
export function wholeNumber(flag: string, text: string, min: number, max: number, alsoAllowed = ""): number {
  const value = Number(text);
  if (/^\d+$/.test(text) && value >= min && value <= max) return value;
  throw new MillraceError(
    "MILLRACE_CONFIG_INVALID",
    `${flag} ${text} is not valid; allowed: ${alsoAllowed}a whole number from ${min} to ${max}`,
    { flag, value: text },
  );
}
