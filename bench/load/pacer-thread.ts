// Counts the milliseconds of an open-loop case and wakes the senders at each: a timer of an event loop would be up to
// a millisecond late, which is more than most latencies here.
import { workerData } from "node:worker_threads";
import { monotonicMs, Scoreboard, type ScoreboardMemory } from "./scoreboard.ts";

const { board: memory, stop: stopMemory } = workerData as { board: ScoreboardMemory; stop: SharedArrayBuffer };
const board = new Scoreboard(memory);
const stop = new Int32Array(stopMemory);
const startMs = board.paceStartMs;
for (let tick = 1; ; tick++) {
  // A late wake-up skips no tick's messages: the senders go by the time.
  const waitMs = startMs + tick - monotonicMs();
  if (Atomics.wait(stop, 0, 0, Math.max(0, waitMs)) !== "timed-out") break;
  Atomics.add(board.tick, 0, 1);
  Atomics.notify(board.tick, 0);
}
