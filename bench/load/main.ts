// `npm run bench`: a load benchmark through real sockets. The broker runs in a process of its own, so that its costs
// can be told apart; our own clients drive it from threads of this one. bench/README.md says what the figures mean.
import { writeFileSync } from "node:fs";
import { provenance } from "../machine.ts";
import { profileText, readProfiles } from "../profile.ts";
import { type CaseResult, CaseRun } from "./case-run.ts";
import { Clients } from "./clients.ts";
import { account, comparison, faults, heading, median, rows } from "./report.ts";
import { FlagError, HELP, type Settings, settingsFrom } from "./settings.ts";
import { openTarget } from "./target.ts";

/** Ends of the process at a signal go by `exit`, where what was started is cleaned up. */
for (const [signal, code] of [
  ["SIGINT", 130],
  ["SIGTERM", 143],
  ["SIGHUP", 129],
] as const) {
  process.once(signal, () => process.exit(code));
}

try {
  const settings = settingsFrom(process.argv.slice(2));
  if (settings === "help") process.stdout.write(HELP);
  else await bench(settings);
} catch (error) {
  const text = error instanceof Error ? error.message : String(error);
  process.stderr.write(`bench: ${text}\n${error instanceof FlagError ? "(--help tells what there is)\n" : ""}`);
  process.exitCode = error instanceof FlagError ? 2 : 1;
}

async function bench(settings: Settings): Promise<void> {
  const head = provenance();
  const all: CaseResult[] = [];
  let clients: Clients | undefined;
  let title = "";
  try {
    for (let round = 1; round <= settings.rounds; round++) {
      const target = await openTarget(settings);
      title = target.title;
      if (round === 1) tell(heading(title, head, settings));
      try {
        clients ??= await Clients.start(settings.threads);
        for (const loadCase of settings.cases) {
          const result = await new CaseRun(loadCase, settings, target, clients).run(`[${round}/${settings.rounds}]`);
          all.push(result);
          tell(...rows(result));
        }
      } finally {
        await target.stop();
      }
    }
  } finally {
    await clients?.close();
  }
  const medians = settings.cases.map(({ name }) => median(all.filter((result) => result.name === name)));
  if (settings.rounds > 1) tell("", `medians of ${settings.rounds} rounds, by broker CPU:`, ...medians.flatMap(rows));
  tell("", ...comparison(medians), "", ...all.flatMap(account));
  if (settings.cpuProf !== undefined) tell("", profileText(readProfiles(settings.cpuProf)));
  if (settings.json !== undefined) {
    const report = { ...head, target: title, settings, cases: medians, rounds: all };
    writeFileSync(settings.json, `${JSON.stringify(report, undefined, 2)}\n`);
  }
  const wrong = all.flatMap(faults);
  if (wrong.length > 0) throw new Error(wrong.join("\n       "));
}

function tell(...lines: readonly string[]): void {
  process.stdout.write(`${lines.join("\n")}\n`);
}
