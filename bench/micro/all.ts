// Runs every micro benchmark of this folder in a process of its own, so that none warms up another's code.
//   npm run bench:micro                            all
//   npm run bench:micro -- scan lane               those whose file name holds one of the words
//   npm run bench:micro -- --json results.json     also as JSON, with machine and commit
//   npm run bench:micro -- --smoke                 shows only that they run
import { spawnSync } from "node:child_process";
import { globSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { attempt, breathe, parsed, scratchIn } from "../command.ts";
import { provenance } from "../machine.ts";
import type { BenchResult } from "./harness.ts";

const HELP = `npm run bench:micro -- [flags] [words]

Those whose file name holds one of the words, else all.
  --json FILE       --smoke   shows only that they run
`;

const { values: flags, positionals: words } = parsed("bench:micro", HELP, {
  options: {
    smoke: { type: "boolean", default: false },
    json: { type: "string" },
    help: { type: "boolean", short: "h", default: false },
  },
  allowPositionals: true,
});
const files = globSync("*.bench.ts", { cwd: import.meta.dirname })
  .filter((file) => words.length === 0 || words.some((word) => file.includes(word)))
  .toSorted();
if (files.length === 0) {
  console.error(`no benchmark's file name holds ${words.join(" or ")}`);
  process.exitCode = 1;
}
const scratch = scratchIn(tmpdir());
await attempt(async () => {
  const lines = join(scratch, "lines");
  writeFileSync(lines, "");
  const head = provenance();
  for (const file of files) {
    const args = [join(import.meta.dirname, file), "--lines", lines, ...(flags.smoke ? ["--smoke"] : [])];
    await breathe();
    const { status } = spawnSync(process.execPath, args, { stdio: "inherit" });
    if (status !== 0) {
      console.error(`${file} failed`);
      process.exitCode = 1;
    }
  }
  if (flags.json !== undefined) {
    const results = readFileSync(lines, "utf8")
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as BenchResult);
    writeFileSync(flags.json, `${JSON.stringify({ ...head, unit: "ns, median of an operation", results }, undefined, 2)}\n`);
  }
});
