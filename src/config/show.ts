import { CONFIG_NAMES, keyOf } from "./keys.ts";
import type { ResolvedConfig } from "./resolve.ts";

/** A longer value only moves what follows it. */
const COLUMN_MAX = 48;

/** Every key with its value, unit, origin and meaning: a table, one line a key, for `--print-config`. */
export function showConfig(config: ResolvedConfig): string {
  const rows = CONFIG_NAMES.map((name) => {
    const { unit, about, source } = keyOf(name);
    const value = `${name}=${config.values[name]}${unit && ` ${unit}`}`;
    return [value, config.origins.get(name) ?? "", source === "millrace" ? `${about} (not a key of RocketMQ)` : about];
  });
  const widths = [0, 1].map((column) => Math.min(COLUMN_MAX, Math.max(...rows.map((row) => row[column]!.length))));
  return rows.map((row) => row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join("  ")).join("\n");
}
