import { MillraceError } from "../base/errors.ts";
import { type ConfigSource, type ResolvedConfig, resolveConfig } from "../config/resolve.ts";
import { environmentSource, fileSource, rocketmqEnvironmentSource } from "../config/sources.ts";

/** Flags that set configuration keys, as commander hands them over. */
export interface ConfigFlags {
  config?: string;
  host?: string;
  port?: string;
  namesrvPort?: string;
  namesrv?: string;
  store?: string;
  nativeFree?: boolean;
  ioWorkers?: string;
  logLevel?: string;
  set?: string[];
}

/** Which key each flag sets. `--set` comes last: it is the most explicit. */
const FLAG_KEYS: readonly (readonly [flag: keyof ConfigFlags, shown: string, key: string])[] = [
  ["host", "--host", "bindAddress"],
  ["port", "--port", "listenPort"],
  ["namesrvPort", "--namesrv-port", "namesrvPort"],
  ["namesrv", "--namesrv", "namesrvAddr"],
  ["store", "--store", "storePathRootDir"],
  ["nativeFree", "--native-free", "nativeFree"],
  ["ioWorkers", "--io-workers", "ioWorkers"],
  ["logLevel", "--log-level", "logLevel"],
];

/**
 * File, then environment, then flags; RocketMQ's NAMESRV_ADDR before all.
 * @throws MillraceError MILLRACE_CONFIG_INVALID
 */
export function configFromFlags(flags: ConfigFlags, env: Readonly<Record<string, string | undefined>>): ResolvedConfig {
  const fromEnvironment = environmentSource(env);
  const sources: ConfigSource[] = [rocketmqEnvironmentSource(env)];
  if (flags.config !== undefined) sources.push(fileSource(flags.config));
  sources.push(fromEnvironment);
  for (const [flag, shown, key] of FLAG_KEYS) {
    const value = flags[flag];
    if (value !== undefined) sources.push({ origin: `flag ${shown}`, values: [[key, String(value)]] });
  }
  sources.push({ origin: "flag --set", values: (flags.set ?? []).map(keyAndValue) });
  const config = resolveConfig(sources);
  return { ...config, warnings: [...fromEnvironment.warnings, ...config.warnings] };
}

/** @throws MillraceError MILLRACE_CONFIG_INVALID */
export function keyAndValue(assignment: string): [key: string, value: string] {
  const equals = assignment.indexOf("=");
  if (equals > 0) return [assignment.slice(0, equals).trim(), assignment.slice(equals + 1).trim()];
  throw new MillraceError("MILLRACE_CONFIG_INVALID", `--set ${assignment} is not valid; allowed: key=value`, {
    value: assignment,
  });
}
