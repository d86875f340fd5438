import type { Table } from "../report/html.ts";
import { shortly, spreadOf } from "../report/median.ts";
import type { PeerCase } from "./cases.ts";
import type { PeerRun } from "./report.ts";

/** Figures of which less is better, and those of which more is. */
type Cost = "cpuMicrosPerMessage" | "cpuSecondsPerGigabyte" | "p50" | "p99" | "p999" | "anonMb";
type Gain = "messagesPerSecond";

export interface Goals {
  /** Millrace's share of the other's figure, at most. */
  share?: Partial<Record<Cost, number>>;
  /** Times the other's figure, at least. */
  times?: Partial<Record<Gain, number>>;
  /** Millrace's own, at most. */
  most?: Partial<Record<Cost, number>>;
  /** Millrace's own, at least. */
  least?: Partial<Record<Gain, number>>;
}

const TITLES: Record<Cost | Gain, string> = {
  cpuMicrosPerMessage: "CPU-µs/msg",
  cpuSecondsPerGigabyte: "CPU-s/GB",
  p50: "p50 ms",
  p99: "p99 ms",
  p999: "p99.9 ms",
  anonMb: "anon MB",
  messagesPerSecond: "msg/s",
};

const CPU = (share: number): Goals => ({ share: { cpuMicrosPerMessage: share } });
const ANON_MB_MAX = 315; // 300 MiB
const WHOLE: Goals = { share: { cpuMicrosPerMessage: 0.6, cpuSecondsPerGigabyte: 0.6, anonMb: 0.25 } };
const READ: Goals = { share: { cpuSecondsPerGigabyte: 1, anonMb: 0.25 } };
const MANY: Goals = { times: { messagesPerSecond: 3 }, share: { anonMb: 0.25 } };

/** What the cases are to show, by name; medians of the rounds count. */
const GOALS: Readonly<Record<string, Goals>> = {
  "single-1k": { ...CPU(0.1), times: { messagesPerSecond: 6 }, most: { anonMb: ANON_MB_MAX } },
  "single-128": { ...CPU(0.1), most: { anonMb: ANON_MB_MAX } },
  "sync-1k": { ...CPU(1 / 6), times: { messagesPerSecond: 2 } },
  "batch-128": { ...CPU(0.2), times: { messagesPerSecond: 3 }, least: { messagesPerSecond: 2e6 }, most: { anonMb: ANON_MB_MAX } },
  "pull-1k": { ...CPU(0.2), most: { anonMb: ANON_MB_MAX } },
  "flow-1k": {
    share: { p50: 1 / 3, p99: 1 / 3, p999: 1 / 3 },
    most: { p50: 0.4, p99: 2, p999: 10, cpuMicrosPerMessage: 10 },
  },
  "whole-100-128": WHOLE,
  "whole-100-1024": WHOLE,
  "whole-1k-120": WHOLE,
  "read-100": READ,
  "read-1k": READ,
  "queues-1000": MANY,
  "queues-10000": MANY,
  "stream-128": CPU(0.9),
  "stream-1k": CPU(0.9),
};

/** A line for each goal of the cases that were run; the last column says whether it was reached. */
export function goalTable(runs: readonly PeerRun[], cases: readonly PeerCase[]): Table {
  const rows: string[][] = [];
  for (const { name, against } of cases) {
    const goals = GOALS[name] ?? {};
    const values = (peer: string, figure: Cost | Gain): number[] =>
      runs.filter((run) => run.case === name && run.peer === peer).map(({ result }) => result[figure]);
    const add = (of: Partial<Record<Cost | Gain, number>> = {}, isShare: boolean, isMost: boolean): void => {
      for (const [figure, goal] of Object.entries(of) as [Cost | Gain, number][]) {
        const own = values("millrace", figure);
        const theirs = values(against, figure);
        if (own.length === 0 || (isShare && theirs.length === 0)) continue;
        const reached = spreadOf(isShare ? own.map((value, i) => value / theirs[i]!) : own)?.median ?? Number.NaN;
        const wanted = `${isMost ? "≤" : "≥"} ${shortly(goal)}${isShare ? ` × ${against}` : ""}`;
        rows.push([name, TITLES[figure], wanted, shortly(reached), (isMost ? reached <= goal : reached >= goal) ? "yes" : "NO"]);
      }
    };
    add(goals.share, true, true);
    add(goals.times, true, false);
    add(goals.most, false, true);
    add(goals.least, false, false);
  }
  return { head: ["", "", "wanted", "is", ""], rows };
}
