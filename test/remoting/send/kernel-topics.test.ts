// Goal: the table of topics belongs to one I/O worker: who takes over the memory of one that has ended knows none of its topics.
import test from "ava";
import { KernelTopics, topicCell, topicNameHash, topicsSize } from "../../../src/remoting/send/kernel-topics.ts";

test("a table over used memory begins empty", (t) => {
  const memory = new SharedArrayBuffer(topicsSize(4096));
  const words = new Int32Array(memory);
  const names = ["T-one", "T-two"].map((name) => Buffer.from(name));
  const cells = (): number[] => names.map((name) => words[topicCell(topicNameHash(name))]!);
  const first = new KernelTopics(memory, 0, 4096);
  for (const name of names) first.set(name, 7, [1, 2], 2);
  t.true(cells().every((cell) => cell > 0));
  const second = new KernelTopics(memory, 0, 4096);
  t.deepEqual(cells(), [0, 0]);
  second.set(names[1]!, 7, [3], 1);
  t.deepEqual([cells()[0]! > 0, cells()[1]! > 0], [false, true]);
});
