// Goal: nobody believes a key to have an effect that it has not. Method: look for each key in the source.
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import test from "ava";
import { CONFIG_NAMES, WITHOUT_EFFECT } from "../../src/config/keys.ts";
import { resolveConfig } from "../../src/config/resolve.ts";

const ROOT = join(import.meta.dirname, "../..");

/** Nothing reads these: that a value is refused is their effect. */
const REFUSE_ONLY = new Set(["brokerRole", "aclEnable", "authenticationEnabled", "authorizationEnabled"]);

const source = globSync("src/**/*.ts", { cwd: ROOT })
  .filter((path) => !path.startsWith(join("src", "config")))
  .map((path) => readFileSync(join(ROOT, path), "utf8"))
  .join("\n");

test("every key is read by the code, refuses values, or is listed as without effect", (t) => {
  const unread = CONFIG_NAMES.filter((name) => !new RegExp(`\\b${name}\\b`).test(source) && !REFUSE_ONLY.has(name));
  t.deepEqual(unread, [...WITHOUT_EFFECT].toSorted(byTable), "in src/config/keys.ts, WITHOUT_EFFECT");
});

test("whoever sets a key without effect is told", (t) => {
  const { warnings } = resolveConfig([{ origin: "file a.conf", values: [["fileReservedTime", "48"]] }]);
  t.deepEqual(
    warnings,
    WITHOUT_EFFECT.has("fileReservedTime") ? ["file a.conf: fileReservedTime has no effect in this version"] : [],
  );
});

function byTable(a: (typeof CONFIG_NAMES)[number], b: (typeof CONFIG_NAMES)[number]): number {
  return CONFIG_NAMES.indexOf(a) - CONFIG_NAMES.indexOf(b);
}
