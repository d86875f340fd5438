// Goal: what was compiled once is not compiled again, right or wrong, and what is kept is bounded.
import test from "ava";
import { FilterCache } from "../../src/filter/filter-cache.ts";

test("the same text is the same filter, also when it is wrong", (t) => {
  const cache = new FilterCache();
  t.is(cache.get("SQL92", "a > 1"), cache.get("SQL92", "a > 1"));
  t.not(cache.get("SQL92", "a"), cache.get("TAG", "a"));
  t.is(cache.get(undefined, "A || B"), cache.get("", "A || B"));
  const first = t.throws(() => cache.get("SQL92", "a >"), { code: "MILLRACE_FILTER_INVALID" });
  t.is(
    t.throws(() => cache.get("SQL92", "a >")),
    first,
  );
  t.is(cache.find("SQL92", "a >"), undefined);
  t.is(cache.find("OTHER", "a > 1"), undefined);
});

test("a flood of texts pushes out what is known, and everything still works", (t) => {
  const cache = new FilterCache();
  const kept = cache.get("SQL92", "a > 1");
  for (let i = 0; i < 100; i++) cache.get("SQL92", `a = '${"x".repeat(15_000)}${i}'`);
  t.not(cache.get("SQL92", "a > 1"), kept);
  t.truthy(cache.get("SQL92", "a > 1").message);
});
