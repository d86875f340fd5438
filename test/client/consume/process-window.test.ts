import test from "ava";
import fc from "fast-check";
import type { ConsumedMessage } from "../../../src/client/consume/consumed-message.ts";
import { ProcessWindow, type WindowTask } from "../../../src/client/consume/process-window.ts";

const message = (queueOffset: number, size: number): ConsumedMessage => ({ queueOffset, size }) as ConsumedMessage;

// Goal: whatever the order in which tasks end, the offset to commit is that of the first message not done.
// Method: random pulls (with gaps, as filters leave them), takes, completions and resets against a plain model.
test("the commit offset never passes a message that is not done", (t) => {
  const operation = fc.oneof(
    { weight: 3, arbitrary: fc.record({ pull: fc.array(fc.integer({ min: 1, max: 3 }), { maxLength: 6 }) }) },
    { weight: 4, arbitrary: fc.record({ take: fc.integer({ min: 1, max: 4 }) }) },
    { weight: 4, arbitrary: fc.record({ complete: fc.nat(50) }) },
    { weight: 1, arbitrary: fc.record({ reset: fc.nat(1_000) }) },
  );
  const property = fc.property(fc.array(operation, { minLength: 30, maxLength: 200 }), (operations) => {
    const window = new ProcessWindow(0, 20, 200);
    let held: { offset: number; isDone: boolean }[] = [];
    let next = 0;
    let tasks: { task: WindowTask; isStale: boolean }[] = [];
    for (const op of operations) {
      if ("pull" in op) {
        const messages = op.pull.map((step) => message((next += step), 10));
        held.push(...messages.map(({ queueOffset }) => ({ offset: queueOffset, isDone: false })));
        window.add(messages, ++next);
      } else if ("take" in op) {
        if (window.hasWaiting) tasks.push({ task: window.take(op.take), isStale: false });
      } else if ("complete" in op) {
        const [chosen] = tasks.splice(op.complete % Math.max(1, tasks.length), 1);
        if (chosen === undefined) continue;
        window.complete(chosen.task);
        if (chosen.isStale) continue;
        const done = new Set(chosen.task.messages.map(({ queueOffset }) => queueOffset));
        for (const entry of held) if (done.has(entry.offset)) entry.isDone = true;
      } else {
        window.reset(op.reset);
        held = [];
        next = op.reset;
        tasks = tasks.map(({ task }) => ({ task, isStale: true }));
      }
      const first = held.find(({ isDone }) => !isDone);
      if (window.commitOffset !== (first?.offset ?? next)) return false;
      if (window.hasRoom !== (window.heldCount < 20 && window.heldBytes < 200)) return false;
      if (window.heldBytes !== window.heldCount * 10) return false;
    }
    return true;
  });
  t.notThrows(() => fc.assert(property, { numRuns: 300 }));
});

test("messages are held until they can be committed", (t) => {
  const window = new ProcessWindow(0, 3, 1_000);
  window.add([message(0, 1), message(1, 1), message(2, 1)], 3);
  t.false(window.hasRoom);
  const [first, second, third] = [window.take(1), window.take(1), window.take(1)];
  window.complete(second);
  window.complete(third);
  t.false(window.hasRoom);
  window.complete(first);
  t.true(window.hasRoom);
  t.is(window.commitOffset, 3);
});
