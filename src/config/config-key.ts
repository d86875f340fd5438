/** What one configuration key takes. Its name is its place in the table (keys.ts). */
export interface ConfigKey<T> {
  readonly default: T;
  /** Empty where the value is a name, a switch or a plain count. */
  readonly unit: string;
  /** What is allowed, for people. */
  readonly allowed: string;
  /** One sentence for people. */
  readonly about: string;
  /** Whose key it is: Apache RocketMQ's, by the same name and with the same default, or our own. */
  readonly source: "rocketmq" | "millrace";
  /** The value that a text stands for; undefined: not allowed. */
  readonly parse: (text: string) => T | undefined;
}

export type KeyTable<Values> = { readonly [Name in keyof Values]: ConfigKey<Values[Name]> };

/** Largest value of a Java int, which most of RocketMQ's keys are. */
export const INT_MAX = 2_147_483_647;

/** Spellings of true and false that are accepted; Java takes everything else for false, which hides mistakes. */
export function flag(byDefault: boolean, about: string): ConfigKey<boolean> {
  const parse = (value: string) => (/^true$/i.test(value) ? true : /^false$/i.test(value) ? false : undefined);
  return { default: byDefault, unit: "", allowed: "true or false", about, source: "rocketmq", parse };
}

/** A whole number in [min, max]. */
export function whole(byDefault: number, unit: string, min: number, max: number, about: string): ConfigKey<number> {
  const parse = (digits: string) => {
    const value = Number(digits);
    return /^-?\d+$/.test(digits) && value >= min && value <= max ? value : undefined;
  };
  return { default: byDefault, unit, allowed: `a whole number from ${min} to ${max}`, about, source: "rocketmq", parse };
}

/** A text of a given form; any by default. */
export function text(byDefault: string, about: string, form: RegExp = /^/, allowed = "any text"): ConfigKey<string> {
  const parse = (value: string) => (form.test(value) ? value : undefined);
  return { default: byDefault, unit: "", allowed, about, source: "rocketmq", parse };
}

export function oneOf<T extends string>(byDefault: T, choices: readonly T[], about: string): ConfigKey<T> {
  const parse = (value: string) => choices.find((choice) => choice === value);
  return { default: byDefault, unit: "", allowed: choices.join(", "), about, source: "rocketmq", parse };
}

/** Marks a key that RocketMQ does not have. */
export function ours<T>(key: ConfigKey<T>): ConfigKey<T> {
  return { ...key, source: "millrace" };
}
