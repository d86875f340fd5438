// Goal: the bits of a group and topic are those that Apache's broker writes into consumerFilter.json.
// Method: what the 5.5.0 broker wrote.
import test from "ava";
import { BloomFilter } from "../../src/filter/bloom-filter.ts";

test("bits as Apache's broker writes them", (t) => {
  const filter = new BloomFilter(20, 32);
  t.deepEqual(filter.dataOf("fi-g#fi-T"), { bitNum: 112, bitPos: [54, 51, 98] });
  t.deepEqual(filter.dataOf("fi-r#fi-T"), { bitNum: 112, bitPos: [59, 106, 41] });
  t.deepEqual(filter.dataOf("fi-r#%RETRY%fi-r"), { bitNum: 112, bitPos: [97, 58, 102] });
});

test("bits of a filter of another shape are not ours", (t) => {
  const filter = new BloomFilter(20, 32);
  t.true(filter.isOurs(filter.dataOf("g#T")));
  t.false(filter.isOurs(new BloomFilter(20, 64).dataOf("g#T")));
  t.false(filter.isOurs(new BloomFilter(10, 32).dataOf("g#T")));
});
