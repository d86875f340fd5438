// Goal: the README's example of a virtual clock does what it says. Method: it is taken from there and run.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import test from "ava";

const ROOT = join(import.meta.dirname, "..");

test("the example of a virtual clock runs", async (t) => {
  t.timeout(120_000);
  const text = readFileSync(join(ROOT, "README.md"), "utf8");
  const code = [...text.matchAll(/```ts\n([^]*?)```/g)].map(([, block]) => block!).find((block) => block.includes('"virtual"'));
  const directory = mkdtempSync(join(ROOT, "test", "readme-"));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  const file = join(directory, "example.ts");
  writeFileSync(file, code!.replace('"millrace"', JSON.stringify(pathToFileURL(join(ROOT, "src/index.ts")).href)));
  await t.notThrowsAsync(import(pathToFileURL(file).href));
});
