// `npm run bench:layouts`: one log for all queues, with an index of each queue, against a file a queue, from 1 to 10,000 queues.
// Both are written here, without a broker around them, as well as a plain program can: batches of writes, no flush but the
// system's own, or one fdatasync for each round.
import { closeSync, fdatasyncSync, openSync, rmSync, writeFileSync, writeSync, writevSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { attempt, breathe, headline, parsed, positives, scratchIn, wrongFlag } from "../command.ts";
import type { Provenance } from "../machine.ts";
import { htmlReport, type Plot, type Table, textTable } from "../report/html.ts";
import { shortly, spreadOf } from "../report/median.ts";

const HELP = `npm run bench:layouts -- [flags]

  --queues a,b      (1,10,100,1000,10000)       --size N       bytes of a message (1024)
  --seconds N       of each measurement (2)     --rounds N     alternations (3)
  --gather N        messages that come together, over all queues, and are written together (64)
  --directory DIR   where the files go; on the disk that is to be measured (the system's temporary directory)
  --json FILE --html FILE --smoke
`;

const { values: flags } = parsed("bench:layouts", HELP, {
  options: {
    queues: { type: "string" },
    size: { type: "string" },
    seconds: { type: "string" },
    rounds: { type: "string" },
    gather: { type: "string" },
    directory: { type: "string", default: tmpdir() },
    json: { type: "string" },
    html: { type: "string" },
    smoke: { type: "boolean", default: false },
    help: { type: "boolean", short: "h", default: false },
  },
});

/** Log and files start over after so many bytes: what is measured is the order of writes, not how large a disk is. */
const FILE_SIZE_MAX = 1_073_741_824;
/** Entries of an index are written when so many have gathered, as a queue indexer does behind the log. */
const INDEX_GATHERED = 64;
const ENTRY_SIZE = 20;

/** Queues are chosen by two bytes. */
const QUEUES_MAX = 65_536;

interface Plan {
  seconds: number;
  size: number;
  gather: number;
}

/** A way to lay messages out on the disk. */
interface Layout {
  /** Stores one message for each of `queues`, which are random. */
  append(queues: Uint16Array, message: Buffer): void;
  sync(): void;
  close(): void;
}

/** One log, written with one call for all that has come together; an index file a queue, written behind it. */
class OneLog implements Layout {
  readonly #log: number;
  readonly #indexes: number[];
  readonly #pending: Buffer[];
  readonly #pendingSizes: Uint32Array;
  readonly #entries: Float64Array;
  #position = 0;

  constructor(directory: string, queueCount: number) {
    this.#log = openSync(join(directory, "log"), "w");
    this.#indexes = Array.from({ length: queueCount }, (_, queue) => openSync(join(directory, `index-${queue}`), "w"));
    this.#pending = this.#indexes.map(() => Buffer.alloc(INDEX_GATHERED * ENTRY_SIZE));
    this.#pendingSizes = new Uint32Array(queueCount);
    this.#entries = new Float64Array(queueCount);
  }

  append(queues: Uint16Array, message: Buffer): void {
    writeAll(this.#log, new Array<Buffer>(queues.length).fill(message), this.#position);
    for (const queue of queues) {
      const pending = this.#pending[queue]!;
      const size = this.#pendingSizes[queue]!;
      pending.writeDoubleBE(this.#position, size);
      pending.writeInt32BE(message.length, size + 8);
      this.#pendingSizes[queue] = size + ENTRY_SIZE;
      this.#position = (this.#position + message.length) % FILE_SIZE_MAX;
      if (size + ENTRY_SIZE === pending.length) this.#writeIndex(queue);
    }
  }

  #writeIndex(queue: number): void {
    const size = this.#pendingSizes[queue]!;
    writeSync(this.#indexes[queue]!, this.#pending[queue]!, 0, size, this.#entries[queue]! * ENTRY_SIZE);
    this.#entries[queue]! += size / ENTRY_SIZE;
    this.#pendingSizes[queue] = 0;
  }

  /** The indexes can be made again from the log: only this has to be on the disk. */
  sync(): void {
    fdatasyncSync(this.#log);
  }

  close(): void {
    for (let queue = 0; queue < this.#indexes.length; queue++) if (this.#pendingSizes[queue]! > 0) this.#writeIndex(queue);
    for (const file of [this.#log, ...this.#indexes]) closeSync(file);
  }
}

/** A file a queue. What has come together for one queue is written with one call. */
class FilePerQueue implements Layout {
  readonly #files: number[];
  readonly #positions: Float64Array;
  readonly #touched = new Map<number, Buffer[]>();
  readonly #unsynced = new Set<number>();

  constructor(directory: string, queueCount: number) {
    this.#files = Array.from({ length: queueCount }, (_, queue) => openSync(join(directory, `queue-${queue}`), "w"));
    this.#positions = new Float64Array(queueCount);
  }

  append(queues: Uint16Array, message: Buffer): void {
    for (const queue of queues) {
      const parts = this.#touched.get(queue);
      if (parts === undefined) this.#touched.set(queue, [message]);
      else parts.push(message);
    }
    for (const [queue, parts] of this.#touched) {
      const position = this.#positions[queue]!;
      writeAll(this.#files[queue]!, parts, position);
      this.#positions[queue] = (position + parts.length * message.length) % FILE_SIZE_MAX;
      this.#unsynced.add(queue);
    }
    this.#touched.clear();
  }

  sync(): void {
    for (const queue of this.#unsynced) fdatasyncSync(this.#files[queue]!);
    this.#unsynced.clear();
  }

  close(): void {
    for (const file of this.#files) closeSync(file);
  }
}

function writeAll(file: number, parts: Buffer[], position: number): void {
  if (parts.length === 1) writeSync(file, parts[0]!, 0, parts[0]!.length, position);
  else writevSync(file, parts, position);
}

interface Point {
  layout: "one log" | "a file a queue";
  isSynced: boolean;
  queues: number;
  messagesPerSecond: number;
  cpuMicros: number;
}

const LAYOUTS = { "one log": OneLog, "a file a queue": FilePerQueue } as const;

await attempt(run);

async function run(): Promise<void> {
  const counts = (flags.queues ?? (flags.smoke ? "1,10" : "1,10,100,1000,10000")).split(",").map(Number);
  const { rounds, ...plan } = positives(flags, { rounds: 3, seconds: 2, size: 1024, gather: 64 });
  if (!counts.every((value) => value > 0 && value <= QUEUES_MAX)) wrongFlag(`--queues ${flags.queues}: from 1 to ${QUEUES_MAX}`);
  const head = headline();
  const points: Point[] = [];
  for (let round = 0; round < (flags.smoke ? 1 : rounds); round++) {
    for (const queues of counts) {
      for (const isSynced of [false, true]) {
        // In turn, and each time another first.
        const names = Object.keys(LAYOUTS) as (keyof typeof LAYOUTS)[];
        for (const layout of round % 2 === 0 ? names : names.toReversed()) {
          points.push(measure(layout, queues, isSynced, plan));
          await breathe();
        }
      }
    }
  }
  report(head, counts, points);
}

function measure(name: keyof typeof LAYOUTS, queueCount: number, isSynced: boolean, plan: Plan): Point {
  const directory = scratchIn(flags.directory);
  const layout = new LAYOUTS[name](directory, queueCount);
  try {
    const message = Buffer.alloc(plan.size, "x");
    const queues = new Uint16Array(plan.gather);
    const windowMs = flags.smoke ? 50 : 1000 * plan.seconds;
    let seed = 12_345;
    let count = 0;
    const cpu = process.cpuUsage();
    const start = performance.now();
    let elapsed = 0;
    while (elapsed < windowMs) {
      for (let i = 0; i < queues.length; i++) {
        seed = (Math.imul(seed, 1_103_515_245) + 12_345) & 0x7fff_ffff;
        queues[i] = (seed >>> 8) % queueCount;
      }
      layout.append(queues, message);
      if (isSynced) layout.sync();
      count += queues.length;
      elapsed = performance.now() - start;
    }
    const { user, system } = process.cpuUsage(cpu);
    const messagesPerSecond = Math.round((1000 * count) / elapsed);
    return { layout: name, isSynced, queues: queueCount, messagesPerSecond, cpuMicros: (user + system) / count };
  } finally {
    layout.close();
    rmSync(directory, { recursive: true, force: true });
  }
}

function report(machine: Provenance, counts: readonly number[], points: readonly Point[]): void {
  const names = Object.keys(LAYOUTS) as (keyof typeof LAYOUTS)[];
  const median = (layout: string, queues: number, isSynced: boolean, figure: "messagesPerSecond" | "cpuMicros"): number => {
    const same = points.filter((point) => point.layout === layout && point.queues === queues && point.isSynced === isSynced);
    return spreadOf(same.map((point) => point[figure]))!.median;
  };
  const rows = [false, true].flatMap((isSynced) =>
    counts.map((queues) => {
      const rates = names.map((name) => median(name, queues, isSynced, "messagesPerSecond"));
      const cpus = names.map((name) => median(name, queues, isSynced, "cpuMicros"));
      const how = isSynced ? "fdatasync each round" : "page cache";
      return [how, String(queues), ...rates.map(shortly), shortly(rates[0]! / rates[1]!), ...cpus.map(shortly)];
    }),
  );
  const head = ["", "queues", "one log msg/s", "a file a queue msg/s", "ratio", "one log µs", "a file a queue µs"];
  const table: Table = { head, rows };
  process.stdout.write(`${textTable(table)}\n`);
  const { json: _json, html: _html, directory: _directory, ...settings } = flags;
  const data = { ...machine, settings, points };
  if (flags.json !== undefined) writeFileSync(flags.json, `${JSON.stringify(data, undefined, 1)}\n`);
  if (flags.html === undefined) return;
  const plot = (isSynced: boolean, figure: "messagesPerSecond" | "cpuMicros", yTitle: string): Plot => ({
    kind: "line",
    title: `${yTitle}, ${isSynced ? "fdatasync each round" : "page cache"}`,
    x: counts.map(String),
    xTitle: "queues",
    yTitle,
    isLogarithmic: true,
    series: names.map((name) => ({ label: name, values: counts.map((queues) => median(name, queues, isSynced, figure)) })),
  });
  const plots = [false, true].flatMap((isSynced) => [
    plot(isSynced, "messagesPerSecond", "msg/s"),
    plot(isSynced, "cpuMicros", "CPU-µs a message"),
  ]);
  const text = [
    `Messages of ${flags.size} bytes for random queues; ${flags.gather} come together and are written together.`,
    "An fdatasync round makes all of them durable: one file with one log, every file that was written to without.",
  ];
  const subtitle = `${machine.date}, commit ${machine.commit}, ${machine.cpu}, ${machine.cores} cores`;
  writeFileSync(
    flags.html,
    htmlReport("One log against a file a queue", subtitle, [{ heading: "All", text, plots, table }], data),
  );
}
