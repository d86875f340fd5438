// Goal: an idle broker's thread is woken seldom: tickers that parts of it have set at different times go off together, none is lost.
// Method: real time, by order and count alone: whatever goes off in one wake-up is one group.
import { setTimeout as sleep } from "node:timers/promises";
import test from "ava";
import { SystemClock, VirtualClock } from "../../src/base/clock.ts";
import { CommonTicks } from "../../src/base/common-ticks.ts";
import { RestingTicker } from "../../src/base/resting-ticker.ts";

const until = async (isSo: () => boolean): Promise<void> => {
  while (!isSo()) await new Promise((resolve) => setTimeout(resolve, 5));
};

test("tickers set at different times wake the thread together, the longer ones with the shorter", async (t) => {
  const ticks = new CommonTicks(true);
  let wakeUp = 0;
  let hasEnded = true;
  const seen = { a: [] as number[], b: [] as number[], c: [] as number[] };
  const noting = (list: number[]) => (): void => {
    if (hasEnded) {
      wakeUp++;
      hasEnded = false;
      setImmediate(() => (hasEnded = true));
    }
    list.push(wakeUp);
  };
  const timers = [ticks.add(noting(seen.a), 40)];
  await new Promise((resolve) => setTimeout(resolve, 15));
  timers.push(ticks.add(noting(seen.b), 40), ticks.add(noting(seen.c), 80));
  await until(() => seen.c.length >= 4);
  for (const timer of timers) timer.cancel();
  t.true(seen.b.every((each) => seen.a.includes(each)));
  t.true(seen.c.every((each) => seen.b.includes(each)));
  t.true(seen.a.length > seen.c.length);
});

test("a ticker that another one cancels goes off no more, and the rest goes on", async (t) => {
  const ticks = new CommonTicks(true);
  let count = 0;
  let cancelled = 0;
  const first = ticks.add(() => other.cancel(), 20);
  const other = ticks.add(() => cancelled++, 20);
  const last = ticks.add(() => count++, 20);
  await until(() => count >= 3);
  first.cancel();
  last.cancel();
  t.is(cancelled, 0);
});

test("a resting ticker goes off seldom until there is something to do, at once often then", async (t) => {
  let rounds = 0;
  let isBusy = false;
  const ticker = new RestingTicker(
    new SystemClock(),
    () => {
      rounds++;
      ticker.setBusy(isBusy);
    },
    10,
    100_000,
  );
  await until(() => rounds === 1); // And none more for long.
  isBusy = true;
  ticker.setBusy(true);
  await until(() => rounds >= 5);
  ticker.cancel();
  t.pass();
});

test("a ticker that was cancelled while it rested stays so, whatever there is to do", async (t) => {
  let rounds = 0;
  const ticker = new RestingTicker(new SystemClock(), () => rounds++, 5, 60_000);
  ticker.setBusy(false);
  ticker.cancel();
  ticker.setBusy(true);
  await sleep(50);
  t.is(rounds, 0);
});

test("under a virtual clock a ticker never rests: a leap sees each of its periods", (t) => {
  const clock = new VirtualClock(1000);
  let rounds = 0;
  const ticker = new RestingTicker(
    clock,
    () => {
      rounds++;
      ticker.setBusy(false);
    },
    10,
    1000,
  );
  clock.advance(100);
  ticker.cancel();
  t.is(rounds, 10);
});
