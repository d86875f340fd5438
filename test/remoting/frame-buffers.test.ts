import test from "ava";
import { FrameBuffers } from "../../src/remoting/frame-buffers.ts";

test("what is given back is taken again; sizes are not mixed up", (t) => {
  const buffers = new FrameBuffers();
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
  const buffers = new FrameBuffers();
  const taken = Array.from({ length: 20 }, () => buffers.take(1_048_576));
  for (const buffer of taken) buffers.give(buffer);
  t.is(buffers.freeSize, 8_388_608);
  buffers.clear();
  t.is(buffers.freeSize, 0);
  t.true(!taken.includes(buffers.take(1_048_576)));
});
