// Where the time of a broker's threads goes: sums up the profiles that `node --cpu-prof` leaves, one a thread.
//   npm run bench -- --cases send --cpu-prof DIR      makes them, and prints this at the end
//   node bench/profile.ts DIR                         prints it again
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

/** Functions that are printed for each thread. */
const LINES = 15;

interface Profile {
  nodes: { id: number; callFrame: { functionName: string; url: string; lineNumber: number } }[];
  /** Node of each sample, and µs before it. */
  samples: number[];
  timeDeltas: number[];
}

export interface ThreadProfile {
  /** Name of the file in workers/, or "main". */
  thread: string;
  /** CPU and waiting, ms. */
  totalMs: number;
  /** Self time by function, ms, most first; without waiting. */
  functions: { name: string; ms: number }[];
}

/** What the thread waits in, or is not seen to do. */
const WAITING = new Set(["(idle)", "(root)", "wait", "nap", "park"]);

export function readProfiles(directory: string): ThreadProfile[] {
  const files = readdirSync(directory).filter((name) => name.endsWith(".cpuprofile"));
  if (files.length === 0) throw new Error(`${directory}: no .cpuprofile is there`);
  return files.toSorted().map((file) => threadProfile(JSON.parse(readFileSync(join(directory, file), "utf8")) as Profile));
}

function threadProfile({ nodes, samples, timeDeltas }: Profile): ThreadProfile {
  const names = new Map<number, string>();
  let thread = "main";
  for (const { id, callFrame } of nodes) {
    const { functionName, url, lineNumber } = callFrame;
    const entry = /\/workers\/([\w-]+)\.[jt]s$/.exec(url);
    if (entry !== null) thread = entry[1]!;
    const place = url.replace(/^file:\/\/.*?\/((src|native-free|workers|node_modules)\/)/, "$1");
    names.set(id, place === "" ? functionName : `${functionName || "(top level)"}  ${place}:${lineNumber + 1}`);
  }
  const micros = new Map<string, number>();
  let total = 0;
  for (const [i, id] of samples.entries()) {
    const delta = Math.max(0, timeDeltas[i] ?? 0);
    total += delta;
    const name = names.get(id) ?? "?";
    micros.set(name, (micros.get(name) ?? 0) + delta);
  }
  const functions = [...micros]
    .filter(([name]) => !WAITING.has(name.split("  ")[0]!))
    .map(([name, value]) => ({ name, ms: value / 1000 }))
    .toSorted((a, b) => b.ms - a.ms);
  return { thread, totalMs: total / 1000, functions };
}

export function profileText(profiles: readonly ThreadProfile[]): string {
  const lines: string[] = [];
  for (const { thread, totalMs, functions } of profiles) {
    const busyMs = functions.reduce((sum, { ms }) => sum + ms, 0);
    lines.push(`${thread}: busy ${busyMs.toFixed(0)} of ${totalMs.toFixed(0)} ms`);
    for (const { name, ms } of functions.slice(0, LINES)) {
      lines.push(`  ${((100 * ms) / Math.max(busyMs, 0.001)).toFixed(1).padStart(5)} %  ${name}`);
    }
  }
  return lines.join("\n");
}

if (import.meta.main) {
  const directory = process.argv[2];
  if (directory === undefined) {
    console.error("usage: node bench/profile.ts DIR");
    process.exitCode = 2;
  } else console.log(profileText(readProfiles(directory)));
}
