import { MillraceError } from "../base/errors.ts";
import { nearestName } from "../base/nearest-name.ts";
import {
  CONFIG_NAMES,
  type ConfigName,
  type ConfigValue,
  type ConfigValues,
  configNameOf,
  keyOf,
  WITHOUT_EFFECT,
} from "./keys.ts";
import { fillIn, type Machine, thisMachine } from "./machine.ts";
import { ROCKETMQ_KEYS } from "./rocketmq-keys.ts";

/** One place that sets keys. */
export interface ConfigSource {
  /** Shown as the origin of a value, and in errors: `file broker.conf`, `flag`. */
  origin: string;
  values: Iterable<readonly [name: string, value: string]>;
}

/** Values of all keys, each checked. */
export interface ResolvedConfig {
  readonly values: Readonly<ConfigValues>;
  /** Who set each key; "default" where nobody did. */
  readonly origins: ReadonlyMap<ConfigName, string>;
  /** What to tell the operator: keys without effect, values that had to give way. One line each. */
  readonly warnings: readonly string[];
}

/** What a record takes beside its body, at most: fixed fields, topic and properties. Source: Apache `MessageExtEncoder`. */
const RECORD_OVERHEAD = 65_536;

/**
 * The configuration that `sources` make, the later going before the earlier.
 * @throws MillraceError MILLRACE_CONFIG_INVALID, in one line: each unknown key with its value and the nearest
 *   known one, each value that is not allowed with what is
 */
export function resolveConfig(sources: readonly ConfigSource[] = [], machine: Machine = thisMachine()): ResolvedConfig {
  const texts = new Map<ConfigName, { name: string; text: string; origin: string }>();
  const faults: string[] = [];
  const warnings: string[] = [];
  for (const { origin, values } of sources) {
    for (const [name, value] of values) {
      const known = configNameOf(name);
      if (known !== undefined) texts.set(known, { name, text: value.trim(), origin });
      else if (ROCKETMQ_KEYS.has(name)) warnings.push(`${origin}: ${name} is known to RocketMQ, not used by Millrace`);
      else faults.push(unknownKey(origin, name, value));
    }
  }
  const resolved: Partial<Record<ConfigName, ConfigValue>> = {};
  const origins = new Map<ConfigName, string>();
  for (const name of CONFIG_NAMES) {
    const key = keyOf(name);
    const given = texts.get(name);
    const value = given === undefined ? key.default : key.parse(given.text);
    if (value === undefined) {
      faults.push(
        `${given!.origin}: ${given!.name}=${shown(given!.text)} is not valid; allowed: ${key.allowed}${key.unit && ` (${key.unit})`}`,
      );
      continue;
    }
    if (given !== undefined && WITHOUT_EFFECT.has(name)) warnings.push(`${given.origin}: ${name} has no effect in this version`);
    resolved[name] = value;
    origins.set(name, given?.origin ?? "default");
  }
  if (faults.length > 0) throw new MillraceError("MILLRACE_CONFIG_INVALID", faults.join("; "), { faults: faults.length });
  const values = resolved as unknown as ConfigValues;
  warnings.push(...fitTogether(values));
  fillIn(values, machine);
  return { values, origins, warnings };
}

/** Makes values fit that are allowed one by one but not together. @returns what had to give way */
function fitTogether(values: ConfigValues): string[] {
  const warnings: string[] = [];
  const bodySizeMax = values.mappedFileSizeCommitLog - RECORD_OVERHEAD;
  if (values.maxMessageSize > bodySizeMax) {
    warnings.push(
      `maxMessageSize=${values.maxMessageSize} is lowered to ${bodySizeMax}: a message has to fit one file of the log`,
    );
    values.maxMessageSize = bodySizeMax;
  }
  // As Apache's ConsumeQueue does: an entry never crosses files.
  values.mappedFileSizeConsumeQueue = Math.ceil(values.mappedFileSizeConsumeQueue / 20) * 20;
  values.mapperFileSizeBatchConsumeQueue = Math.ceil(values.mapperFileSizeBatchConsumeQueue / 46) * 46;
  return warnings;
}

function unknownKey(origin: string, name: string, value: string): string {
  const nearest = nearestName(name, [...CONFIG_NAMES, ...ROCKETMQ_KEYS]);
  const hint = nearest === undefined ? "" : `; did you mean ${nearest}?`;
  return `${origin}: unknown config key ${JSON.stringify(name)} (value ${JSON.stringify(value)})${hint}`;
}

/** Keeps the message on one line. */
function shown(text: string): string {
  return /^[\u0020-\u007e]*$/.test(text) ? text : JSON.stringify(text);
}
