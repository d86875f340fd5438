// The shape of a torture scenario: one kind of fault, and what must hold in spite of it.
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { pathToFileURL } from "node:url";
import type { DriveName } from "../../src/os/api.ts";
import { Random } from "./random.ts";

/** What a run has counted, for its closing line: kills, acknowledged, lost, … */
export type Figures = Readonly<Record<string, number | string>>;

/** What a scenario is handed. */
export interface Torture {
  readonly seed: number;
  readonly drive: DriveName;
  /** A round of a few seconds, as part of the tests. */
  readonly isShort: boolean;
  /** Decided by the seed. Draw from it in a fixed order, or `fork` it: then the same seed gives the same faults. */
  readonly random: Random;
  /** Empty, and removed afterwards. */
  readonly directory: string;
  /**
   * Whether another round may begin when so many are done: as many as were asked for; else as many as the scenario has,
   * until the time is over (which does not count for short ones).
   */
  hasNext(done: number, usual: number): boolean;
  /** Progress and findings, a line each. */
  say(line: string): void;
}

/**
 * A file test/torture/f<number>-<name>.ts exports one as `scenario`; the runner (main.ts) and the tests
 * (torture.drive.test.ts) find it by that name. It ends by itself, and leaves no process behind.
 */
export interface Scenario {
  /** `F1` and so on. */
  readonly id: string;
  readonly title: string;
  /** It does not touch a real disk, or takes both drives' parts: run it once. Default: on each drive. */
  readonly isDriveless?: boolean;
  /** The tests run it on one drive only, for it takes long. */
  readonly isLong?: boolean;
  /** A reason why it cannot run on this machine; undefined: it can. */
  skip?(): string | undefined;
  /** Rejects when what must hold does not: see `must`. */
  run(torture: Torture): Promise<Figures>;
}

/** @throws Error: what must hold does not */
export function must(condition: boolean, text: string | (() => string)): asserts condition {
  if (!condition) throw new Error(`violated: ${typeof text === "string" ? text : text()}`);
}

/** All scenarios, by number. */
export async function allScenarios(): Promise<Scenario[]> {
  const names = fs.readdirSync(import.meta.dirname).filter((name) => /^f\d+-[a-z0-9-]+\.ts$/.test(name));
  const found = names.map(async (name) => {
    const { scenario } = (await import(pathToFileURL(path.join(import.meta.dirname, name)).href)) as { scenario: Scenario };
    return scenario;
  });
  return (await Promise.all(found)).toSorted((a, b) => Number(a.id.slice(1)) - Number(b.id.slice(1)));
}

export interface RunOptions {
  seed: number;
  drive: DriveName;
  isShort: boolean;
  /** Time for its rounds, ms. */
  timeMs: number;
  /** So many rounds, whatever the time: kills, stores, flips … as the scenario counts them. */
  rounds?: number | undefined;
  say: (line: string) => void;
}

/** Runs one scenario in a directory of its own. */
export async function runScenario(scenario: Scenario, options: RunOptions): Promise<Figures> {
  const { seed, drive, isShort, timeMs, rounds, say } = options;
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), `millrace-torture-${scenario.id.toLowerCase()}-`));
  const end = performance.now() + timeMs;
  const hasNext = (done: number, usual: number): boolean =>
    rounds === undefined ? done < usual && (isShort || performance.now() < end) : done < rounds;
  try {
    return await scenario.run({ seed, drive, isShort, random: new Random(seed), directory, hasNext, say });
  } finally {
    fs.rmSync(directory, { recursive: true, force: true });
  }
}

export function figuresLine(figures: Figures): string {
  const text = ([name, value]: [string, number | string]): string =>
    `${name} ${typeof value === "number" ? value.toLocaleString("en-US") : value}`;
  return Object.entries(figures).map(text).join(", ");
}
