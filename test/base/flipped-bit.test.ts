// Goal: a flipped bit is found wherever it is, and several are not taken for one.
import test from "ava";
import fc from "fast-check";
import { crc32 } from "../../src/base/crc32.ts";
import { flippedBit } from "../../src/base/flipped-bit.ts";

const SIZE_MAX = 65_536;

test("the place of one flipped bit follows from the checksum", (t) => {
  const anyBit = fc.record({ seed: fc.integer(), size: fc.integer({ min: 1, max: SIZE_MAX }), place: fc.nat(), bit: fc.nat(7) });
  const property = fc.property(anyBit, ({ seed, size, place, bit }) => {
    const bytes = Buffer.from(Array.from({ length: size + 10 }, (_, i) => Math.imul(i + seed, 0x9e37_79b1) >>> 24));
    const wanted = crc32(bytes, 5, 5 + size);
    const at = 5 + (place % size);
    bytes[at]! ^= 1 << bit;
    const found = flippedBit(bytes, 5, 5 + size, wanted);
    return found?.at === at && found.mask === 1 << bit;
  });
  t.notThrows(() => fc.assert(property, { numRuns: 60 }));
});

test("none, and two, are not one", (t) => {
  const bytes = Buffer.alloc(SIZE_MAX, 7);
  const wanted = crc32(bytes, 0, SIZE_MAX);
  t.is(flippedBit(bytes, 0, SIZE_MAX, wanted), undefined);
  let foundCount = 0;
  for (let at = 1; at < 30; at++) {
    bytes[0]! ^= 1;
    bytes[at * 2000]! ^= 4;
    if (flippedBit(bytes, 0, SIZE_MAX, wanted) !== undefined) foundCount++;
    bytes.fill(7);
  }
  t.is(foundCount, 0);
});
