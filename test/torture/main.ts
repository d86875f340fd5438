// `npm run torture`: faults injected into the store, for as long as one likes. Exit code 1 when anything is violated.
//   --seed S        decides all chance; default: a new one, which is printed
//   --minutes M     time for each scenario and drive (default 1)
//   --rounds N      instead: so many kills (F1, F2, F18, F19, F20), stores (F3), flips (F4), starts (F9) or rounds of the others
//   --only F1,F3    these scenarios
//   --drive NAME    ffi, native-free or both (default)
//   --short         the rounds that are part of the tests
import { parseArgs } from "node:util";
import type { DriveName } from "../../src/os/api.ts";
import { allScenarios, figuresLine, runScenario } from "./scenario.ts";

const { values } = parseArgs({
  options: {
    seed: { type: "string" },
    minutes: { type: "string", default: "1" },
    rounds: { type: "string" },
    only: { type: "string" },
    drive: { type: "string", default: "both" },
    short: { type: "boolean", default: false },
  },
});
const seed = values.seed === undefined ? Math.floor(Math.random() * 2 ** 32) : Number(values.seed);
const minutes = Number(values.minutes);
const rounds = values.rounds === undefined ? undefined : Number(values.rounds);
const drives: DriveName[] =
  values.drive === "both" ? ["ffi", "native-free"] : (["ffi", "native-free"] as const).filter((name) => name === values.drive);
const wanted = values.only?.toUpperCase().split(",");
const all = await allScenarios();
const scenarios = all.filter(({ id }) => wanted === undefined || wanted.includes(id));
const areNumbers =
  Number.isSafeInteger(seed) && minutes > 0 && (rounds === undefined || (Number.isSafeInteger(rounds) && rounds > 0));
if (!areNumbers || drives.length === 0 || scenarios.length < (wanted?.length ?? 1)) {
  const ids = all.map(({ id }) => id).join(",");
  console.error(`--seed WHOLE --minutes M --rounds N --only ${ids} --drive ffi|native-free|both`);
  process.exit(2);
}

const length = rounds === undefined ? `--minutes ${minutes}` : `--rounds ${rounds}`;
let failed = 0;
for (const scenario of scenarios) {
  const { id, title } = scenario;
  const reason = scenario.skip?.();
  if (reason !== undefined) {
    console.log(`${id} skipped: ${reason}`);
    continue;
  }
  for (const drive of scenario.isDriveless === true ? drives.slice(0, 1) : drives) {
    const where = scenario.isDriveless === true ? "" : ` on ${drive}`;
    console.log(`${id}${where}: ${title}; seed ${seed}`);
    const started = performance.now();
    try {
      const say = (line: string): void => console.log(`  ${line}`);
      const figures = await runScenario(scenario, { seed, drive, isShort: values.short, timeMs: minutes * 60_000, rounds, say });
      console.log(`${id}${where} held: ${figuresLine(figures)}; ${((performance.now() - started) / 1000).toFixed(1)} s`);
    } catch (error) {
      failed++;
      console.log(`${id}${where} FAILED: ${error instanceof Error ? error.stack : String(error)}`);
      console.log(`  again: npm run torture -- --only ${id} --drive ${drive} --seed ${seed} ${length}`);
    }
  }
}
process.exitCode = failed > 0 ? 1 : 0;
