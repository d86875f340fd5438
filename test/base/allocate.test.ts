import test from "ava";
import fc from "fast-check";
import { allocateAveragely } from "../../src/base/allocate.ts";

// Goal: the members' shares are the items, each once, in order, as equal as can be; as Java's clients share.
test("shares are disjoint, complete, even and as Java cuts them", (t) => {
  const property = fc.property(fc.nat(40), fc.integer({ min: 1, max: 12 }), (itemCount, memberCount) => {
    const items = Array.from({ length: itemCount }, (_, index) => index);
    const members = Array.from({ length: memberCount }, (_, index) => `c${String(index).padStart(2, "0")}`);
    const shares = members.map((member) => allocateAveragely(items, members, member));
    t.deepEqual(shares.flat(), items);
    const sizes = shares.map((share) => share.length);
    t.true(Math.max(...sizes) - Math.min(...sizes) <= 1);
    t.deepEqual(
      shares,
      members.map((_, index) => javaShare(items, memberCount, index)),
    );
  });
  t.notThrows(() => fc.assert(property));
});

/** The rule in the words of Apache's strategy: average size, start index, range. */
function javaShare(items: readonly number[], members: number, index: number): number[] {
  const mod = items.length % members;
  const average =
    items.length <= members
      ? 1
      : mod > 0 && index < mod
        ? Math.floor(items.length / members) + 1
        : Math.floor(items.length / members);
  const start = mod > 0 && index < mod ? index * average : index * average + mod;
  const range = Math.min(average, items.length - start);
  const share: number[] = [];
  for (let step = 0; step < range; step++) share.push(items[(start + step) % items.length]!);
  return share;
}

test("who is no member gets nothing", (t) => {
  t.deepEqual(allocateAveragely([1, 2, 3], ["a", "b"], "c"), []);
});
