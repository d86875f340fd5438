// Goal: a leap over many instants leaves the event loop its turns: who lives on the same thread can read what comes.
import test from "ava";
import { VirtualClock } from "../../src/base/clock.ts";
import { VirtualTime, type VirtualTimeParts } from "../../src/runtime/virtual-time.ts";

test("a long leap is no stop for others on its thread", async (t) => {
  const clock = new VirtualClock(0);
  const store = { maxPhysicalOffset: () => 0, dispatchedOffset: () => 0, maxQueueOffset: () => 0, lane: { inFlight: 0 } };
  const pool = { tick: () => {} };
  const time = new VirtualTime({ clock, store, pool, engine: {}, timer: undefined } as unknown as VirtualTimeParts);
  let ticks = 0;
  clock.setTicker(() => ticks++, 1);
  const turns: number[] = [];
  const turn = (): void => {
    turns.push(clock.now());
    if (clock.now() < 500_000) setImmediate(turn);
  };
  setImmediate(turn);
  await time.advance(500_000);
  t.is(ticks, 500_000);
  t.true(turns.some((now) => now > 0 && now < 500_000));
});
