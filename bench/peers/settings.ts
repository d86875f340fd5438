import { parseArgs } from "node:util";
import { FlagError } from "../load/settings.ts";
import { PEER_CASES, type PeerCase } from "./cases.ts";
import type { PeerName } from "./peer.ts";

export interface PeerSettings {
  cases: readonly PeerCase[];
  peers: readonly Exclude<PeerName, "millrace">[];
  rounds: number;
  seconds: number;
  warmup: number;
  heap: string;
  json: string | undefined;
  html: string | undefined;
  isSmoke: boolean;
  /** How soon each broker serves its first message is measured, too. */
  hasStarts: boolean;
}

/** Beside the cases of PEER_CASES. */
const START = "start";

const PEERS = ["rocketmq", "kafka", "redis"] as const;
const FLAGS = {
  cases: { type: "string" },
  peers: { type: "string" },
  rounds: { type: "string" },
  seconds: { type: "string" },
  warmup: { type: "string" },
  heap: { type: "string" },
  json: { type: "string" },
  html: { type: "string" },
  quick: { type: "boolean" },
  smoke: { type: "boolean" },
  help: { type: "boolean", short: "h" },
} as const;

export const HELP: string = `npm run bench:peers -- [flags]        (bench/README.md says what is fair)

Throws the same bytes at Millrace and at other brokers, in turn, and prints the ratios. A broker whose program is not on this
machine is left out with a line that says so. Apache RocketMQ, Apache Kafka (Java 17 is needed) and, where it is not
installed, Redis are fetched with Maven.

  --peers a,b       ${PEERS.join(", ")} (all)
  --cases a,b       ${START}, ${PEER_CASES.map(({ name }) => name).join(", ")}
  --rounds N        alternations (5)        --seconds N   window of each measurement (3)   --warmup N   before it (2)
  --heap SIZE       of the JVM brokers (1g)
  --json FILE --html FILE   all figures; a page with plots
  --quick           two rounds of short windows, without the long cases
  --smoke           Millrace alone, a moment each: shows only that everything works
`;

/** @throws FlagError */
export function peerSettings(argv: readonly string[]): PeerSettings | "help" {
  let flags;
  try {
    ({ values: flags } = parseArgs({ args: [...argv], options: FLAGS }));
  } catch (error) {
    throw new FlagError(error instanceof Error ? error.message : String(error));
  }
  if (flags.help === true) return "help";
  const isSmoke = flags.smoke === true;
  const isShort = isSmoke || flags.quick === true;
  const number = (name: "rounds" | "seconds" | "warmup", usual: number, min: number): number => {
    const value = flags[name] === undefined ? usual : Number(flags[name]);
    if (!(value >= min && value <= 1000)) throw new FlagError(`--${name} ${flags[name]}: must be a number from ${min} to 1000`);
    return value;
  };
  const peers = chosen("peers", flags.peers, PEERS, PEERS);
  const names = PEER_CASES.filter(({ isLong }) => !(isShort && isLong === true)).map(({ name }) => name);
  const allowed = [START, ...PEER_CASES.map(({ name }) => name)];
  const wanted = new Set(chosen("cases", flags.cases, allowed, [START, ...names]));
  for (const { name, reads } of PEER_CASES) if (wanted.has(name) && reads !== undefined) wanted.add(reads); // Somebody has to write them.
  return {
    cases: PEER_CASES.filter(({ name, against }) => wanted.has(name) && peers.includes(against)),
    peers,
    rounds: Math.round(number("rounds", isSmoke ? 1 : isShort ? 2 : 5, 1)),
    seconds: number("seconds", isSmoke ? 0.3 : isShort ? 1.5 : 3, 0.1),
    warmup: number("warmup", isSmoke ? 0.1 : isShort ? 1 : 2, 0),
    heap: flags.heap ?? "1g",
    json: flags.json,
    html: flags.html,
    isSmoke,
    hasStarts: wanted.has(START),
  };
}

function chosen<T extends string>(flag: string, text: string | undefined, allowed: readonly T[], usual: readonly T[]): T[] {
  if (text === undefined) return [...usual];
  return text.split(",").map((name) => {
    const found = allowed.find((known) => known === name);
    if (found === undefined) throw new FlagError(`--${flag} ${name}: must be one of ${allowed.join(", ")}`);
    return found;
  });
}
