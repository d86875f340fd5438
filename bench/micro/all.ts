// Runs every micro benchmark of this folder in a process of its own, so that none warms up another's code.
//   npm run bench:micro                  all
//   npm run bench:micro -- scan lane     those whose file name holds one of the words
//   npm run bench:micro -- --smoke       shows only that they run
import { spawnSync } from "node:child_process";
import { globSync } from "node:fs";
import { join } from "node:path";

const words = process.argv.slice(2).filter((argument) => !argument.startsWith("--"));
const flags = process.argv.slice(2).filter((argument) => argument.startsWith("--"));
const files = globSync("*.bench.ts", { cwd: import.meta.dirname })
  .filter((file) => words.length === 0 || words.some((word) => file.includes(word)))
  .toSorted();
if (files.length === 0) {
  console.error(`no benchmark's file name holds ${words.join(" or ")}`);
  process.exitCode = 1;
}
for (const file of files) {
  const { status } = spawnSync(process.execPath, [join(import.meta.dirname, file), ...flags], { stdio: "inherit" });
  if (status !== 0) {
    console.error(`${file} failed`);
    process.exitCode = 1;
  }
}
