import { readFileSync } from "node:fs";
import { MillraceError } from "../base/errors.ts";
import { nearestName } from "../base/nearest-name.ts";
import { parseProperties } from "../format/text/java-properties.ts";
import { CONFIG_NAMES, type ConfigValues } from "./keys.ts";
import type { ConfigSource } from "./resolve.ts";

/**
 * A file of Java properties, as RocketMQ's `-c` takes it.
 * @throws MillraceError MILLRACE_CONFIG_INVALID: not readable, or not properties
 */
export function fileSource(path: string): ConfigSource {
  try {
    return { origin: `file ${path}`, values: parseProperties(decode(readFileSync(path))) };
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new MillraceError("MILLRACE_CONFIG_INVALID", `config file ${path}: ${reason}`, { path }, error);
  }
}

/** Java reads such files as ISO-8859-1, people write them in UTF-8. */
function decode(bytes: Buffer): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    return bytes.toString("latin1");
  }
}

const PREFIX = "MILLRACE_";
/** Read by our tests, not a key. */
const NOT_KEYS: ReadonlySet<string> = new Set(["MILLRACE_DRIVE"]);

/** `MILLRACE_LISTEN_PORT` sets listenPort, and so on. */
export function environmentName(configName: string): string {
  const snake = configName.replace(/([a-z0-9])([A-Z])/g, "$1_$2").replace(/([A-Z])([A-Z][a-z])/g, "$1_$2");
  return PREFIX + snake.toUpperCase();
}

/**
 * What the environment sets. @returns also a warning for each variable that looks like a misspelt one
 */
export function environmentSource(env: Readonly<Record<string, string | undefined>>): ConfigSource & { warnings: string[] } {
  const names = new Map(CONFIG_NAMES.map((name) => [environmentName(name), name]));
  const values: [string, string][] = [];
  const warnings: string[] = [];
  for (const [variable, value] of Object.entries(env)) {
    if (!variable.startsWith(PREFIX) || value === undefined || NOT_KEYS.has(variable)) continue;
    const name = names.get(variable);
    const nearest = name === undefined ? nearestName(variable, names.keys()) : undefined;
    if (name !== undefined) values.push([name, value]);
    else if (nearest !== undefined) warnings.push(`environment: ${variable} is not known; did you mean ${nearest}?`);
  }
  return { origin: "environment", values, warnings };
}

/** RocketMQ's own variable. It stands in for a missing key: a file goes before it. */
export function rocketmqEnvironmentSource(env: Readonly<Record<string, string | undefined>>): ConfigSource {
  const address = env["NAMESRV_ADDR"];
  return { origin: "environment NAMESRV_ADDR", values: address === undefined ? [] : [["namesrvAddr", address]] };
}

/** Values that an embedder hands in. */
export function optionsSource(values: Readonly<Partial<ConfigValues>>): ConfigSource {
  const given = Object.entries(values).filter(([, value]) => value !== undefined);
  return { origin: "option", values: given.map(([name, value]) => [name, String(value)] as const) };
}
