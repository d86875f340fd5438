// Goal: percentiles by nearest rank of what was added since the last look, in bounded memory.
import test from "ava";
import { LatencySample } from "../../src/cli/latency-sample.ts";

test("percentiles by nearest rank", (t) => {
  const sample = new LatencySample();
  for (let value = 100; value >= 1; value--) sample.add(value);
  t.deepEqual(sample.take(0, 1, 50, 99, 100), [1, 1, 50, 99, 100]);
});

test("forgets what was looked at, and says when there is nothing", (t) => {
  const sample = new LatencySample();
  sample.add(5);
  t.deepEqual(sample.take(50), [5]);
  t.deepEqual(sample.take(50, 99), [Number.NaN, Number.NaN]);
});

test("keeps the latest where there are more than it holds", (t) => {
  const sample = new LatencySample(10);
  for (let value = 1; value <= 95; value++) sample.add(value);
  t.deepEqual(sample.take(0, 100), [86, 95]);
});
