import test from "ava";
import { AnswerBuffers } from "../../../src/remoting/pull/answer-buffers.ts";

test("a buffer that was given back is taken again, by size", (t) => {
  const buffers = new AnswerBuffers();
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
  const buffers = new AnswerBuffers();
  const huge = buffers.take(5_000_000);
  t.is(huge.length, 5_000_000);
  buffers.give(huge);
  t.not(buffers.take(5_000_000), huge);
  const all = Array.from({ length: 100 }, () => buffers.take(400_000));
  for (const buffer of all) buffers.give(buffer);
  const again = new Set(Array.from({ length: 100 }, () => buffers.take(400_000)));
  t.is(all.filter((buffer) => again.has(buffer)).length, 32, "16 MiB of 512 KiB each");
});
