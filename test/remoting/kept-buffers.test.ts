import test from "ava";
import { ANSWER_BUFFERS, FRAME_BUFFERS, KeptBuffers } from "../../src/remoting/kept-buffers.ts";

test("what is given back is taken again; sizes are not mixed up", (t) => {
  const buffers = new KeptBuffers(FRAME_BUFFERS);
  const large = buffers.take(131_073);
  const small = buffers.take(1);
  t.deepEqual([large.length, small.length], [262_144, 16_384]);
  buffers.give(large);
  buffers.give(small);
  t.is(buffers.freeSize, 262_144 + 16_384);
  t.is(buffers.take(16_384), small);
  t.not(buffers.take(16_384), small);
  t.is(buffers.take(262_144), large);
  t.is(buffers.freeSize, 0);
});

test("no more than some megabytes are kept, and none after clear", (t) => {
  const buffers = new KeptBuffers(FRAME_BUFFERS);
  const taken = Array.from({ length: 20 }, () => buffers.take(1_048_576));
  for (const buffer of taken) buffers.give(buffer);
  t.is(buffers.freeSize, 8_388_608);
  buffers.clear();
  t.is(buffers.freeSize, 0);
  t.true(!taken.includes(buffers.take(1_048_576)));
});

test("a buffer that was given back is taken again, by size", (t) => {
  const buffers = new KeptBuffers(ANSWER_BUFFERS);
  const small = buffers.take(1);
  const large = buffers.take(300_000);
  t.true(small.length >= 1 && large.length >= 300_000);
  buffers.give(small);
  buffers.give(large);
  t.is(buffers.take(262_145), large);
  t.not(buffers.take(262_145), large, "once only");
  t.is(buffers.take(16_384), small);
});

test("what is kept has a limit, and what is huge is not kept", (t) => {
  const buffers = new KeptBuffers(ANSWER_BUFFERS);
  const huge = buffers.take(5_000_000);
  t.is(huge.length, 5_000_000);
  buffers.give(huge);
  t.not(buffers.take(5_000_000), huge);
  const all = Array.from({ length: 100 }, () => buffers.take(400_000));
  for (const buffer of all) buffers.give(buffer);
  const again = new Set(Array.from({ length: 100 }, () => buffers.take(400_000)));
  t.is(all.filter((buffer) => again.has(buffer)).length, 32, "16 MiB of 512 KiB each");
});
