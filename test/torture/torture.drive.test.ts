// Goal: nothing acknowledged is lost, whatever happens to the process, the disk or the files; see the scenarios.
// Method: a short round of each torture scenario; `npm run torture` runs them for longer, and from other seeds.
import test from "ava";
import { allScenarios, figuresLine, runScenario } from "./scenario.ts";

const drive = process.env["MILLRACE_DRIVE"] === "native-free" ? "native-free" : "ffi";
const seed = Number(process.env["MILLRACE_SEED"] ?? 1);

for (const scenario of await allScenarios()) {
  if ((scenario.isDriveless === true || scenario.isLong === true) && drive !== "ffi") continue;
  const reason = scenario.skip?.();
  const title = `${scenario.id}: ${scenario.title}`;
  if (reason !== undefined) {
    test.skip(`${title} (${reason})`, (t) => t.fail());
    continue;
  }
  test.serial(title, async (t) => {
    t.timeout(600_000); // A machine may be so busy that a broker takes half a minute to start.
    try {
      const figures = await runScenario(scenario, { seed, drive, isShort: true, timeMs: 3000, say: (line) => t.log(line) });
      t.log(figuresLine(figures));
      t.pass();
    } catch (error) {
      const again = `npm run torture -- --short --only ${scenario.id} --drive ${drive} --seed ${seed}`;
      t.fail(`${error instanceof Error ? error.stack : String(error)}\nagain: ${again}`);
    }
  });
}
