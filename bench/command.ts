import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setImmediate as turn } from "node:timers/promises";
import { type ParseArgsConfig, parseArgs } from "node:util";
import { exitAtSignal } from "./exit-at-signal.ts";
import { type Provenance, provenance } from "./machine.ts";

/** The program as it stands here, and as "npm run build" makes it: without types that each thread has to strip. */
export const SOURCE_MAIN: string = join(import.meta.dirname, "../src/cli/main.ts");
export const BUILT_MAIN: string = join(import.meta.dirname, "../dist/src/cli/main.js");
/** A smoke run shall not write gigabytes of empty files. */
export const SMOKE_KEYS: readonly string[] = ["mappedFileSizeCommitLog=16777216", "maxHashSlotNum=100000", "maxIndexNum=400000"];
/** Nothing is refused because the machine is busy. */
export const PATIENT_KEYS: readonly string[] = ["waitTimeMillsInSendQueue=60000", "osPageCacheBusyTimeOutMills=60000"];

let title = "bench";

/**
 * The flags of a bench that is a command of its own; from here on a signal ends it with all that it has started. Help, and
 * flags that there are not, end it at once, with 0 and 2.
 * @param name as npm has it
 */
export function parsed<const C extends ParseArgsConfig>(name: string, help: string, config: C): ReturnType<typeof parseArgs<C>> {
  title = name;
  exitAtSignal();
  let result: ReturnType<typeof parseArgs<C>>;
  try {
    result = parseArgs(config);
  } catch (error) {
    return wrongFlag(error instanceof Error ? error.message : String(error));
  }
  if ((result.values as { help?: boolean }).help === true) {
    process.stdout.write(help);
    process.exit(0);
  }
  return result;
}

/** Ends the process with code 2. */
export function wrongFlag(text: string): never {
  process.stderr.write(`${title}: ${text}\n(--help tells what there is)\n`);
  process.exit(2);
}

/** Those of the flags that are numbers above 0, else what is usual; ends the process with code 2 where they are not. */
export function positives<K extends string>(
  flags: Readonly<Record<string, unknown>>,
  usual: Readonly<Record<K, number>>,
): Record<K, number> {
  const numbers: Record<K, number> = { ...usual };
  for (const name of Object.keys(usual) as K[]) {
    const text = flags[name];
    if (typeof text !== "string") continue;
    numbers[name] = Number(text);
    if (!(numbers[name] > 0)) wrongFlag(`--${name} ${text}: must be a number above 0`);
  }
  return numbers;
}

/** What fails is told in a line, and ends the process with code 1. */
export async function attempt(main: () => Promise<void> | void): Promise<void> {
  try {
    await main();
  } catch (error) {
    process.stderr.write(`${title}: ${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = 1;
  }
}

/** Signals are heard now: between two pieces of work that wait for nothing. */
export async function breathe(): Promise<void> {
  await turn();
}

export function tell(...lines: readonly string[]): void {
  process.stdout.write(`${lines.join("\n")}\n`);
}

/** Tells where and on what is being measured. */
export function headline(): Provenance {
  const head = provenance();
  tell(`${head.date}  commit ${head.commit}  ${head.cpu}, ${head.cores} cores, load ${head.loadAverage}`);
  return head;
}

/** An empty directory that goes with the process. @throws Error when `parent` is none */
export function scratchIn(parent: string): string {
  const directory = mkdtempSync(join(parent, `millrace-${title.replace("bench:", "")}-`));
  process.once("exit", () => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

export function writeJson(file: string | undefined, data: unknown): void {
  if (file !== undefined) writeFileSync(file, `${JSON.stringify(data, undefined, 1)}\n`);
}
