// `npm run bench:guard`: has anything become slower than the stored baseline says, by more than its noise?
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import os from "node:os";
import { join } from "node:path";
import { attempt, breathe, headline, parsed, positives, tell } from "../command.ts";
import { textTable } from "../report/html.ts";
import { shortly } from "../report/median.ts";
import { compare, type Figure, type Verdict } from "./compare.ts";
import { type Measured, measureLoads, measureMicro } from "./figures.ts";

const HELP = `npm run bench:guard -- [flags] [words]

Measures the micro benchmarks (those whose file name holds one of the words) and the broker's CPU under load several times,
and compares with the baseline of this kind of machine; once more where something looks worse. Ends with code 1 when something got
worse by more than its noise, and with 2 where there is no baseline.

  --save            store what is measured as the baseline        --baseline FILE   (bench/baseline/guard-<cpu>-<cores>.json)
  --rounds N        (5)        --seconds N   window of each load (2)        --no-micro --no-load   leave out
  --json FILE       all values        --smoke   a moment each: shows only that everything works
`;

const { values: flags, positionals: words } = parsed("bench:guard", HELP, {
  options: {
    save: { type: "boolean", default: false },
    baseline: { type: "string" },
    rounds: { type: "string" },
    seconds: { type: "string" },
    micro: { type: "boolean", default: true },
    load: { type: "boolean", default: true },
    json: { type: "string" },
    smoke: { type: "boolean", default: false },
    help: { type: "boolean", short: "h", default: false },
  },
  allowPositionals: true,
  allowNegative: true,
});

await attempt(guard);

interface Stored {
  date: string;
  commit: string;
  cpu: string;
  figures: Figure[];
}

async function guard(): Promise<void> {
  const file = flags.baseline ?? defaultBaseline();
  const stored = existsSync(file) ? (JSON.parse(readFileSync(file, "utf8")) as Stored) : undefined;
  if (stored === undefined && !flags.save && !flags.smoke) {
    tell(`no baseline for this kind of machine (${file}): measure one with --save, on a commit that is known to be good`);
    process.exitCode = 2;
    return;
  }
  const { rounds, seconds } = positives(flags, { rounds: 5, seconds: 2 });
  const head = headline();
  const all: Values = new Map();
  await measureAll(all, flags.smoke ? 1 : rounds, seconds);
  if (
    stored !== undefined &&
    !flags.save &&
    !flags.smoke &&
    compare(stored.figures, figuresOf(all)).some(({ kind }) => kind === "worse")
  ) {
    tell("something looks worse: once more, since a disturbance that lasts through all rounds looks the same");
    await measureAll(all, rounds, seconds);
  }
  const figures = figuresOf(all);
  const now: Stored = { ...head, figures };
  if (flags.json !== undefined) writeFileSync(flags.json, `${JSON.stringify(now, undefined, 1)}\n`);
  if (flags.save) {
    writeFileSync(file, `${JSON.stringify(now, undefined, 1)}\n`);
    tell(`stored as ${file}`);
    return;
  }
  if (stored === undefined || flags.smoke) return;
  const measured = (name: string): boolean =>
    name.includes("broker CPU") || name.includes("instructions") ? flags.load : flags.micro;
  const isPartial = words.length > 0;
  const verdicts = compare(stored.figures, figures).filter(
    ({ name, kind }) => !(kind === "gone" && (isPartial || !measured(name))),
  );
  tell(
    "",
    `against ${stored.commit} of ${stored.date}`,
    textTable({ head: ["", "baseline", "now", "ratio", "noise", ""], rows: verdicts.map(row) }),
  );
  const worse = verdicts.filter(({ kind }) => kind === "worse");
  if (worse.length === 0) tell("", "nothing got worse by more than its noise");
  else {
    tell("", ...worse.map(({ name, ratio, noise }) => `WORSE: ${name}, by ${percent(ratio - 1)} (noise ${percent(noise)})`));
    if (flags.load) tell("Where others used much of the cores in each round (above), run it again on a quieter machine.");
    process.exitCode = 1;
  }
}

/** By name; one value a round. */
type Values = Map<string, { unit: string; values: number[] }>;

async function measureAll(into: Values, rounds: number, seconds: number): Promise<void> {
  for (let round = 1; round <= rounds; round++) {
    tell(`round ${round} of ${rounds}`);
    const measured: Measured = new Map();
    if (flags.micro) measureMicro(measured, words, flags.smoke);
    await breathe();
    if (flags.load) await measureLoads(measured, { isSmoke: flags.smoke, seconds: flags.smoke ? 0.3 : seconds, tell });
    for (const [name, [value, unit]] of measured) {
      const known = into.get(name) ?? { unit, values: [] };
      known.values.push(value);
      into.set(name, known);
    }
  }
}

function figuresOf(all: Values): Figure[] {
  return [...all].map(([name, { unit, values }]) => ({ name, unit, values }));
}

function row({ name, unit, baseline, now, ratio, noise, kind }: Verdict): string[] {
  const figure = (value: number): string => (Number.isNaN(value) ? "–" : `${shortly(value)} ${unit}`);
  return [
    name,
    figure(baseline),
    figure(now),
    Number.isNaN(ratio) ? "–" : ratio.toFixed(2),
    percent(noise),
    kind === "same" ? "" : kind,
  ];
}

function percent(share: number): string {
  return `${Math.round(100 * share)} %`;
}

/** A baseline holds for one kind of machine. */
function defaultBaseline(): string {
  const cpu = (os.cpus()[0]?.model ?? "unknown").toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-|-$/g, ""); // biome-ignore format: one thing.
  return join(import.meta.dirname, "../baseline", `guard-${cpu}-${os.availableParallelism()}.json`);
}
