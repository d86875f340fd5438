// `npm run bench:peers`: the same load against Millrace and other brokers, in alternation. bench/README.md says what is fair.
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { exitAtSignal } from "../exit-at-signal.ts";
import { FlagError } from "../load/settings.ts";
import { provenance } from "../machine.ts";
import { htmlReport, textTable } from "../report/html.ts";
import { runWire, type WireResult } from "../wire/wire-load.ts";
import type { PeerCase } from "./cases.ts";
import { firstMessageMs } from "./first-message.ts";
import { goalTable } from "./goals.ts";
import { type Peer, PeerMissing, type PeerName } from "./peer.ts";
import { caseTable, type PeerInfo, type PeerRun, refusals, sections, startTable } from "./report.ts";
import { HELP, type PeerSettings, peerSettings } from "./settings.ts";
import { startPeer } from "./start-peers.ts";
import { makeTopic, removeKafkaTopic } from "./topics.ts";

/** Between two measurements: what the first left to be done in the background. */
const PAUSE_MS = 300;
/** Kafka was still getting faster after six. */
const WARM_UP_S_MIN = 8;
const MANY_PARTITIONS = 1000;
/** max.request.size of Kafka's own client. */
const KAFKA_REQUEST_SIZE = 1_048_576;
const KAFKA_RECORD_OVERHEAD = 8;

exitAtSignal();

try {
  const settings = peerSettings(process.argv.slice(2));
  if (settings === "help") tell(HELP);
  else await bench(settings);
} catch (error) {
  tell(`bench:peers: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = error instanceof FlagError ? 2 : 1;
}

function tell(...lines: readonly string[]): void {
  process.stdout.write(`${lines.join("\n")}\n`);
}

async function bench(settings: PeerSettings): Promise<void> {
  const head = provenance();
  tell(`${head.date}  commit ${head.commit}  ${head.cpu}, ${head.cores} cores, load ${head.loadAverage}`);
  const scratch = mkdtempSync(join(tmpdir(), "millrace-peers-"));
  process.once("exit", () => rmSync(scratch, { recursive: true, force: true }));
  const runs: PeerRun[] = [];
  const starts = new Map<PeerName, { title: string; startMs: number[]; firstMessageMs: number[] }>();
  const notes: string[] = [];
  const note = (peer: Peer, firstMs?: number): void => {
    const known = starts.get(peer.name) ?? { title: peer.title, startMs: [], firstMessageMs: [] };
    known.startMs.push(peer.startMs);
    if (firstMs !== undefined) known.firstMessageMs.push(firstMs);
    starts.set(peer.name, known);
  };
  const pairs = settings.peers.flatMap((name) => [false, true].map((isSyncFlush) => ({ name, isSyncFlush })));
  for (const { name, isSyncFlush } of pairs) {
    const cases = settings.cases.filter((one) => one.against === name && (one.isSyncFlush ?? false) === isSyncFlush);
    const hasStarts = settings.hasStarts && !isSyncFlush;
    if (cases.length === 0 && !hasStarts) continue;
    const common = { scratch, heap: settings.heap, isSyncFlush };
    let other: Peer | undefined;
    try {
      if (hasStarts) await measureStarts(settings.isSmoke ? ["millrace"] : ["millrace", name], settings, scratch, note);
      if (!settings.isSmoke && cases.length > 0) other = await startPeer(name, { ...common, isSmoke: false });
    } catch (error) {
      if (!(error instanceof PeerMissing)) throw error;
      notes.push(`${name} is left out: ${error.message}.`);
      tell(notes.at(-1)!);
      continue;
    }
    try {
      if (other !== undefined) {
        note(other);
        for (const peerCase of cases) await warmUp(other, peerCase, settings);
      }
      for (let round = 1; cases.length > 0 && round <= settings.rounds; round++) {
        const own = await startPeer("millrace", { ...common, isSmoke: settings.isSmoke });
        note(own);
        try {
          for (const peerCase of cases) {
            const both = other === undefined ? [own] : round % 2 === 1 ? [own, other] : [other, own];
            for (const peer of both) {
              const result = await measure(peer, peerCase, settings, settings.warmup, settings.seconds);
              runs.push({ case: peerCase.name, peer: peer.name, round, result });
              await sleep(PAUSE_MS);
            }
          }
        } finally {
          await own.stop();
        }
        tell(`${name}: round ${round} of ${settings.rounds}`);
      }
    } finally {
      await other?.stop();
    }
  }
  const peers: PeerInfo[] = [...starts].map(([name, known]) => ({ name, ...known }));
  for (const peerCase of settings.cases) {
    if (!runs.some((run) => run.case === peerCase.name)) continue;
    tell("", `${peerCase.name}: ${peerCase.title}`, textTable(caseTable(runs, peerCase)));
  }
  tell("", textTable(startTable(peers)), "", "what was to be shown, by the medians", textTable(goalTable(runs, settings.cases)));
  const wrong = refusals(runs);
  if (wrong.length > 0) tell("", ...wrong);
  const { json: _json, html: _html, ...what } = settings; // Where it was written is nobody's business.
  const data = { ...head, settings: what, peers, notes, runs };
  if (settings.json !== undefined) writeFileSync(settings.json, `${JSON.stringify(data, undefined, 1)}\n`);
  if (settings.html !== undefined) {
    const subtitle = `${head.date}, commit ${head.commit}, ${head.cpu}, ${head.cores} cores, Node ${head.node}`;
    writeFileSync(
      settings.html,
      htmlReport("Millrace beside other brokers", subtitle, sections(runs, settings.cases, peers, notes), data),
    );
  }
  const served = (run: PeerRun): boolean =>
    run.result.messagesPerSecond > 0 && run.result.refused < run.result.messagesPerSecond / 100;
  if (!settings.isSmoke && runs.some((run) => run.peer === "millrace" && !served(run))) process.exitCode = 1;
}

/** Each broker is started anew so often, on an empty store, in turn. */
async function measureStarts(
  names: readonly PeerName[],
  settings: PeerSettings,
  scratch: string,
  note: (peer: Peer, firstMs: number) => void,
): Promise<void> {
  for (let round = 1; round <= settings.rounds; round++) {
    for (const name of round % 2 === 1 ? names : names.toReversed()) {
      const directory = mkdtempSync(join(scratch, "start-"));
      const peer = await startPeer(name, { scratch: directory, heap: settings.heap, isSmoke: settings.isSmoke });
      try {
        note(peer, await firstMessageMs(peer));
      } finally {
        await peer.stop();
        rmSync(directory, { recursive: true, force: true });
      }
    }
    tell(`${names.join(", ")}: start ${round} of ${settings.rounds}`);
  }
}

/** JVMs want some 100,000 messages before their figures settle. */
async function warmUp(peer: Peer, peerCase: PeerCase, settings: PeerSettings): Promise<void> {
  await measure(
    peer,
    peerCase,
    settings,
    0,
    peerCase.warmUpS ?? Math.max(peer.name === "redis" ? 0 : WARM_UP_S_MIN, 2 * settings.seconds),
  );
}

async function measure(
  peer: Peer,
  peerCase: PeerCase,
  settings: PeerSettings,
  warmup: number,
  seconds: number,
): Promise<WireResult> {
  const { kind, size, batch, connections, depth, reads, readers, countMax, isWhole = false } = peerCase;
  const queues = settings.isSmoke ? Math.min(8, peerCase.queues) : peerCase.queues;
  const isFollowing = kind === "flow";
  // Who follows a topic from its start must not find what was sent before.
  const topic = `bench-${reads ?? peerCase.name}${isFollowing ? `-${randomBytes(4).toString("hex")}` : ""}`;
  if (reads === undefined) {
    // Millrace begins each round with an empty store; so does the topic, unless its partitions take minutes to make.
    if (peer.name === "kafka" && queues < MANY_PARTITIONS) await removeKafkaTopic(peer.port, topic);
    await makeTopic(peer, topic, queues, isWhole);
  }
  const protocol = peer.name === "kafka" || peer.name === "redis" ? peer.name : "remoting";
  const rate = settings.isSmoke ? Math.min(200, peerCase.rate) : peerCase.rate;
  const partitionsAtOnce = kind === "send" && rate === 0 ? partitionsAtOnceOf(peerCase, queues) : 1;
  const more = { isFollowing, partitionsAtOnce, ...(countMax === undefined ? {} : { countMax }) };
  const shape = { protocol, topic, queues, size, batch, ...more } as const;
  const job = { host: "127.0.0.1", port: peer.port, shape, kind, connections, readers: readers ?? 0, depth, rate };
  return runWire(job, peer.pids, warmup, seconds);
}

/** Of batches: as many as Kafka's own client would send together, which are then as many in each request. */
function partitionsAtOnceOf({ batch, size }: PeerCase, queues: number): number {
  if (batch === 1) return 1;
  let count = Math.min(queues, Math.floor(KAFKA_REQUEST_SIZE / (batch * (size + KAFKA_RECORD_OVERHEAD))));
  while (queues % count !== 0) count--;
  return count;
}
