import { MillraceError } from "../base/errors.ts";

/**
 * Checks of options that users hand in. Each returns the checked value, or throws MillraceError
 * MILLRACE_CONFIG_INVALID whose message names the key, the value and what is allowed.
 */
export function checkInteger(key: string, value: unknown, min: number, max: number): number {
  if (typeof value !== "number" || !Number.isInteger(value) || value < min || value > max) {
    throw invalidOption(key, value, `a whole number from ${min} to ${max}`);
  }
  return value;
}

export function checkOneOf<T extends string>(key: string, value: unknown, allowed: readonly T[]): T {
  const known = allowed.find((candidate) => candidate === value);
  if (known === undefined) throw invalidOption(key, value, allowed.map((candidate) => `"${candidate}"`).join(", "));
  return known;
}

export function checkBoolean(key: string, value: unknown): boolean {
  if (typeof value !== "boolean") throw invalidOption(key, value, "true or false");
  return value;
}

/** Source of the alphabet: Apache `TopicValidator`, `Validators`. */
const NAME = /^[%|a-zA-Z0-9_-]+$/;
const GROUP_LENGTH_MAX = 255;
const TOPIC_LENGTH_MAX = 127;

export function checkGroup(key: string, value: unknown): string {
  return checkName(key, value, GROUP_LENGTH_MAX);
}

export function checkTopic(key: string, value: unknown): string {
  // A retry topic is "%RETRY%" and a group's name, hence longer than a plain topic may be.
  const isDerived = typeof value === "string" && (value.startsWith("%RETRY%") || value.startsWith("%DLQ%"));
  return checkName(key, value, isDerived ? GROUP_LENGTH_MAX + 7 : TOPIC_LENGTH_MAX);
}

function checkName(key: string, value: unknown, lengthMax: number): string {
  if (typeof value !== "string" || value.length > lengthMax || !NAME.test(value)) {
    throw invalidOption(key, value, `1 to ${lengthMax} of the characters a-z A-Z 0-9 _ - % |`);
  }
  return value;
}

/** Refuses keys that are not options, so that a misspelt one is not silently without effect. */
export function checkKnownKeys(options: object, known: readonly string[], what: string): void {
  for (const key of Object.keys(options)) {
    if (!known.includes(key))
      throw invalidOption(key, (options as Record<string, unknown>)[key], `only these options of ${what}: ${known.join(", ")}`);
  }
}

export function invalidOption(key: string, value: unknown, allowed: string): MillraceError {
  const shown = typeof value === "string" ? JSON.stringify(value) : String(value);
  return new MillraceError("MILLRACE_CONFIG_INVALID", `${key}: ${shown} is not valid; allowed: ${allowed}`, {
    key,
    value: shown,
    allowed,
  });
}
