// Goal: progress says how far, how much and how fast, on a terminal in one line and elsewhere in few.
import test from "ava";
import { VirtualClock } from "../../src/base/clock.ts";
import { formatBytes, formatCount, Progress } from "../../src/cli/progress.ts";

function progressOn(isTTY: boolean, total: { bytes?: number; count?: number }) {
  const written: string[] = [];
  const clock = new VirtualClock(1000);
  const state = { bytes: 0, count: 0 };
  const sink = { isTTY, columns: 200, write: (text: string) => written.push(text) };
  return { written, clock, state, progress: new Progress("ingest", "lines", total, () => state, sink, clock) };
}

test("redraws one line on a terminal, and takes it away at the end", (t) => {
  const { written, clock, state, progress } = progressOn(true, { bytes: 4000 });
  state.bytes = 1000;
  state.count = 10;
  clock.advance(200);
  t.is(written[0], "\ringest [======>                 ] 25.0%  1.0 kB  10 lines  50 lines/s  5.0 kB/s\u001b[K");
  state.bytes = 4000;
  state.count = 40;
  clock.advance(200);
  t.is(written[1], "\ringest [========================] 100.0%  4.0 kB  40 lines  150 lines/s  15.0 kB/s\u001b[K");
  progress.end();
  t.is(written[2], "\r\u001b[K");
  clock.advance(10_000);
  t.is(written.length, 3);
  t.is(progress.elapsedMs, 10_400);
});

test("writes a line every five seconds elsewhere, without a bar where the end is not known", (t) => {
  const { written, clock, state, progress } = progressOn(false, {});
  state.count = 5;
  clock.advance(4999);
  t.deepEqual(written, []);
  clock.advance(1);
  t.deepEqual(written, ["ingest  0 B  5 lines  1 lines/s  0 B/s\n"]);
  progress.end();
  t.is(written.length, 1);
});

test("figures for people", (t) => {
  t.is(formatCount(1_204_113.4), "1,204,113");
  t.deepEqual([0, 999, 1000, 412_000_000, 2.5e9].map(formatBytes), ["0 B", "999 B", "1.0 kB", "412.0 MB", "2.5 GB"]);
});
