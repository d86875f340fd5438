import { CONFIG_NAMES, keyOf } from "./keys.ts";
import type { ResolvedConfig } from "./resolve.ts";

/** Every key with its value, unit, origin and meaning: a table, one line a key, for `--print-config`. */
export function showConfig(config: ResolvedConfig): string {
  const rows = CONFIG_NAMES.map((name) => {
    const { unit, about, source } = keyOf(name);
    const value = `${name}=${config.values[name]}${unit && ` ${unit}`}`;
    return [value, config.origins.get(name) ?? "", source === "millrace" ? `${about} (not a key of RocketMQ)` : about];
  });
  const widths = [0, 1].map((column) => Math.max(...rows.map((row) => row[column]!.length)));
  return rows.map((row) => row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join("  ")).join("\n");
}
