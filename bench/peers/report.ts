import type { Section, Series, Table } from "../report/html.ts";
import { shortly, spreadOf, spreadText } from "../report/median.ts";
import type { WireResult } from "../wire/wire-load.ts";
import type { PeerCase } from "./cases.ts";
import { goalTable } from "./goals.ts";
import type { PeerName } from "./peer.ts";

/** One measurement. */
export interface PeerRun {
  case: string;
  peer: PeerName;
  round: number;
  result: WireResult;
}

export interface PeerInfo {
  name: PeerName;
  title: string;
  /** To the first connection it takes. */
  startMs: readonly number[];
  /** To the first message stored and read. */
  firstMessageMs: readonly number[];
}

type Figure =
  | "messagesPerSecond"
  | "megabytesPerSecond"
  | "cpuMicrosPerMessage"
  | "cpuSecondsPerGigabyte"
  | "p50"
  | "p99"
  | "p999"
  | "anonMb";

const FIGURES: readonly { name: Figure; title: string }[] = [
  { name: "messagesPerSecond", title: "msg/s" },
  { name: "megabytesPerSecond", title: "MB/s" },
  { name: "cpuMicrosPerMessage", title: "CPU-µs/msg" },
  { name: "cpuSecondsPerGigabyte", title: "CPU-s/GB" },
  { name: "p50", title: "p50 ms" },
  { name: "p99", title: "p99 ms" },
  { name: "p999", title: "p99.9 ms" },
  { name: "anonMb", title: "anon MB" },
];

/** Medians and spread of each broker, and Millrace's share of the other's figure, round by round. */
export function caseTable(runs: readonly PeerRun[], { name, against }: PeerCase): Table {
  const values = (peer: PeerName, figure: Figure): number[] =>
    runs.filter((run) => run.case === name && run.peer === peer).map(({ result }) => result[figure]);
  const others = spreadOf(runs.filter((run) => run.case === name).map(({ result }) => result.othersCores));
  const peers: PeerName[] = values(against, "p50").length > 0 ? ["millrace", against] : ["millrace"];
  const rows = peers.map((peer) => [peer, ...FIGURES.map((figure) => spreadText(spreadOf(values(peer, figure.name))))]);
  if (peers.length === 2) {
    const ratios = FIGURES.map((figure) => {
      const theirs = values(against, figure.name);
      return spreadText(spreadOf(values("millrace", figure.name).map((value, i) => value / theirs[i]!)));
    });
    rows.push(["ratio", ...ratios]);
  }
  rows.push([`others used ${shortly(others?.median ?? 0)} cores`]);
  return { head: ["", ...FIGURES.map(({ title }) => title)], rows };
}

export function refusals(runs: readonly PeerRun[]): string[] {
  return runs
    .filter(({ result }) => result.refused > 0)
    .map(
      ({ case: name, peer, round, result }) =>
        `${name}, ${peer}, round ${round}: ${result.refused} refused, first: ${result.refusal}`,
    );
}

export function sections(
  runs: readonly PeerRun[],
  cases: readonly PeerCase[],
  peers: readonly PeerInfo[],
  notes: readonly string[],
): Section[] {
  const shown = cases.filter(({ name }) => runs.some((run) => run.case === name));
  const plots = (["cpuMicrosPerMessage", "messagesPerSecond", "p99", "anonMb"] as const).map((figure) => {
    const { title } = FIGURES.find(({ name }) => name === figure)!;
    const series: Series[] = peers.map((peer) => {
      const spreads = shown.map(({ name }) =>
        spreadOf(runs.filter((run) => run.case === name && run.peer === peer.name).map(({ result }) => result[figure])),
      );
      return {
        label: peer.title,
        values: spreads.map((spread) => spread?.median),
        spread: spreads.map((spread) => (spread === undefined ? undefined : ([spread.min, spread.max] as const))),
      };
    });
    return { kind: "bar" as const, title, x: shown.map(({ name }) => name), yTitle: title, isLogarithmic: true, series };
  });
  return [
    {
      heading: "All cases",
      text: ["Medians; the thin lines reach from the least to the greatest of the rounds. Scales are logarithmic.", ...notes],
      plots,
    },
    ...shown.map((shownCase) => ({
      heading: `${shownCase.name}: ${shownCase.title}`,
      table: caseTable(runs, shownCase),
    })),
    { heading: "What was to be shown", text: ["By the medians of the rounds."], table: goalTable(runs, cases) },
    { heading: "Start", text: ["From the start of the process, ms."], table: startTable(peers) },
  ];
}

export function startTable(peers: readonly PeerInfo[]): Table {
  const rows = peers.map(({ title, startMs, firstMessageMs }) => [
    title,
    spreadText(spreadOf(startMs)),
    spreadText(spreadOf(firstMessageMs)),
    String(firstMessageMs.length),
  ]);
  return { head: ["start, ms", "first connection", "first message stored and read", "starts"], rows };
}
