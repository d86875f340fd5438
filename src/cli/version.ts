import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** Of the nearest package.json above this file: in a checkout and in a built package they are not equally far. */
export function packageVersion(): string {
  for (let directory = dirname(fileURLToPath(import.meta.url)); ; directory = dirname(directory)) {
    try {
      const { name, version } = JSON.parse(readFileSync(join(directory, "package.json"), "utf8")) as {
        name?: string;
        version?: string;
      };
      if (name === "millrace" && version !== undefined) return version;
    } catch {
      // Not in this directory.
    }
    if (directory === dirname(directory)) return "unknown";
  }
}
