import { parseArgs } from "node:util";
import { COMPRESSIONS, type Compression } from "../../src/client/produce/compression.ts";
import { CASES, type LoadCase } from "./cases.ts";

/** What a run is made of. Times in seconds where not named otherwise, sizes in bytes. */
export interface Settings {
  cases: readonly LoadCase[];
  rounds: number;
  seconds: number;
  warmup: number;
  size: number;
  /** Producers, each with a connection of its own; spread over the client threads, as are the consumers. */
  producers: number;
  /** Messages in flight for each producer that sends one by one. */
  depth: number;
  consumers: number;
  queues: number;
  threads: number;
  /** Messages a second of the open-loop cases, over all producers. */
  rate: number;
  batchSize: number;
  lingerMs: number;
  /** The topic keeps each batch as one record. */
  isWhole: boolean;
  compression: Compression;
  /** Messages to be read back by the consume cases. */
  fill: number;
  header: "json" | "binary";
  json: string | undefined;
  isSmoke: boolean;
  /** Name server of a broker that runs already, and the processes that make up that broker. */
  against: string | undefined;
  pids: readonly number[];
  /** Of the broker that is started. */
  port: number;
  namesrvPort: number;
  store: string | undefined;
  brokerArgs: readonly string[];
  /** Directory for a profile of each of the broker's threads. */
  cpuProf: string | undefined;
}

/** A flag that cannot be taken as it is; the message is for the user. */
export class FlagError extends Error {}

const FLAGS = {
  cases: { type: "string" },
  rounds: { type: "string" },
  seconds: { type: "string" },
  warmup: { type: "string" },
  size: { type: "string" },
  producers: { type: "string" },
  depth: { type: "string" },
  consumers: { type: "string" },
  queues: { type: "string" },
  threads: { type: "string" },
  rate: { type: "string" },
  "batch-size": { type: "string" },
  linger: { type: "string" },
  whole: { type: "boolean" },
  compression: { type: "string" },
  fill: { type: "string" },
  header: { type: "string" },
  json: { type: "string" },
  smoke: { type: "boolean" },
  against: { type: "string" },
  pid: { type: "string", multiple: true },
  port: { type: "string" },
  "namesrv-port": { type: "string" },
  store: { type: "string" },
  set: { type: "string", multiple: true },
  "native-free": { type: "boolean" },
  "cpu-prof": { type: "string" },
  help: { type: "boolean", short: "h" },
} as const;

export const HELP: string = `npm run bench -- [flags]        (bench/README.md says what the figures mean)

  --cases a,b       ${CASES.map(({ name }) => name).join(", ")} (all)
  --seconds N       length of the window that is measured, each case (5)
  --warmup N        before it (2)
  --rounds N        all cases so often, each round with a fresh broker; the medians are reported (1)
  --size N          bytes of a body (1024)
  --producers N     each with its own connection (8)      --depth N    messages in flight of each (64)
  --consumers N     (4)                                   --queues N   of the topic (8)
  --threads N       client threads (2)                    --rate N     messages/s of the open-loop cases (5000)
  --batch-size N    bytes (16384)                         --linger MS  (5)
  --whole           keep each batch as one record (queue.type=BatchCQ)   --compression NAME  ${COMPRESSIONS.join(", ")} (none)
  --fill N          messages for the consume cases (as many as 300 MB, at most 300,000)
  --header FORM     json or binary (json)
  --json FILE       results, with machine and commit
  --smoke           a few seconds: shows only that everything works

Our own broker, started as a process of its own and gone at the end, is measured:
  --port N --namesrv-port N     (0: any free one)         --store DIR  or memory (a temporary directory)
  --set KEY=VALUE   any key of the broker; repeatable     --native-free
  --cpu-prof DIR    a profile of each of its threads, and where their time went
or another one that runs already:
  --against HOST:PORT           its name server           --pid N      the broker's process; repeatable
`;

/** @throws FlagError */
export function settingsFrom(argv: readonly string[]): Settings | "help" {
  let parsed;
  try {
    parsed = parseArgs({ args: [...argv], options: FLAGS });
  } catch (error) {
    throw new FlagError(error instanceof Error ? error.message : String(error));
  }
  const { values: flags } = parsed;
  if (flags.help === true) return "help";
  const isSmoke = flags.smoke === true;
  const number = (name: NumberFlag, otherwise: number, smoke: number, min: number, max: number, isWhole = true): number => {
    const text = flags[name];
    if (text === undefined) return isSmoke ? smoke : otherwise;
    const value = text.trim() === "" ? Number.NaN : Number(text);
    if (!(value >= min && value <= max) || (isWhole && !Number.isInteger(value))) {
      throw new FlagError(`--${name} ${text}: allowed: ${isWhole ? "a whole number" : "a number"} from ${min} to ${max}`);
    }
    return value;
  };
  const size = number("size", 1024, 1024, BODY_SIZE_MIN, 4_194_304);
  const settings: Settings = {
    cases: casesFrom(flags.cases),
    rounds: number("rounds", 1, 1, 1, 1000),
    seconds: number("seconds", 5, 1.2, 0.1, 3600, false),
    warmup: number("warmup", 2, 1.2, 0, 3600, false),
    size,
    producers: number("producers", 8, 2, 1, 1000),
    depth: number("depth", 64, 8, 1, 10_000),
    consumers: number("consumers", 4, 2, 1, 1000),
    queues: number("queues", 8, 4, 1, 10_000),
    threads: number("threads", 2, 1, 1, 64),
    rate: number("rate", 5000, 500, 1, 10_000_000),
    batchSize: number("batch-size", 16_384, 16_384, 1024, 4_194_304),
    lingerMs: number("linger", 5, 5, 0, 60_000),
    isWhole: flags.whole === true,
    compression: compressionFrom(flags.compression),
    fill: number("fill", Math.min(300_000, Math.ceil(300_000_000 / size)), 2000, 1000, 100_000_000),
    header: headerFrom(flags.header),
    json: flags.json,
    isSmoke,
    against: flags.against,
    pids: (flags.pid ?? []).map(pidFrom),
    port: number("port", 0, 0, 0, 65_535),
    namesrvPort: number("namesrv-port", 0, 0, 0, 65_535),
    store: flags.store,
    brokerArgs: [
      ...(flags.set ?? []).flatMap((pair) => ["--set", pair]),
      ...(flags["native-free"] === true ? ["--native-free"] : []),
    ],
    cpuProf: flags["cpu-prof"],
  };
  const ours = ["port", "namesrv-port", "store", "set", "native-free", "cpu-prof"] as const;
  const misplaced = ours.find((name) => flags[name] !== undefined);
  if (settings.against !== undefined && misplaced !== undefined) {
    throw new FlagError(`--${misplaced} is for the broker that the bench starts; with --against it starts none`);
  }
  if (settings.against === undefined && settings.pids.length > 0) throw new FlagError("--pid goes with --against");
  return settings;
}

/** Producer, sequence number and due time stand in each body. */
export const BODY_SIZE_MIN = 16;

type NumberFlag = {
  [Name in keyof typeof FLAGS]: (typeof FLAGS)[Name] extends { type: "string"; multiple?: never } ? Name : never;
}[keyof typeof FLAGS];

function casesFrom(text: string | undefined): readonly LoadCase[] {
  if (text === undefined) return CASES;
  return text.split(",").map((name) => {
    const known = CASES.find((one) => one.name === name.trim());
    if (known === undefined)
      throw new FlagError(`--cases: there is no "${name.trim()}"; there are ${CASES.map((one) => one.name).join(", ")}`);
    return known;
  });
}

function headerFrom(text = "json"): "json" | "binary" {
  if (text !== "json" && text !== "binary") throw new FlagError(`--header ${text}: allowed: json, binary`);
  return text;
}

function compressionFrom(text = "none"): Compression {
  const known = COMPRESSIONS.find((name) => name === text);
  if (known === undefined) throw new FlagError(`--compression ${text}: allowed: ${COMPRESSIONS.join(", ")}`);
  return known;
}

function pidFrom(text: string): number {
  if (!/^[1-9]\d*$/.test(text)) throw new FlagError(`--pid ${text}: not the number of a process`);
  return Number(text);
}
