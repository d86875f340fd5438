// Goal: lines that were spread over queues, in order in each, come back in the order of the input.
import test from "ava";
import fc from "fast-check";
import { LINE_NUMBER, mergeByLine } from "../../src/cli/merge-by-line.ts";
import type { ConsumedMessage } from "../../src/client/consume/consumed-message.ts";

/** Only what the merge looks at. */
function message(lineNumber: number | undefined): ConsumedMessage {
  const properties = new Map(lineNumber === undefined ? [] : [[LINE_NUMBER, String(lineNumber)]]);
  return { properties, queueId: 3, queueOffset: 7 } as unknown as ConsumedMessage;
}

async function* inPulls(lineNumbers: readonly number[], pullSize: number): AsyncGenerator<ConsumedMessage[]> {
  for (let at = 0; at < lineNumbers.length; at += pullSize) yield lineNumbers.slice(at, at + pullSize).map(message);
}

async function merged(queues: readonly (readonly number[])[], pullSize: number): Promise<number[]> {
  const lines: number[] = [];
  for await (const messages of mergeByLine(queues.map((queue) => inPulls(queue, pullSize)))) {
    for (const { properties } of messages) lines.push(Number(properties.get(LINE_NUMBER)));
  }
  return lines;
}

test("any spread over any number of queues comes back in order", async (t) => {
  const property = fc.asyncProperty(
    fc.array(fc.nat(4), { maxLength: 60 }),
    fc.integer({ min: 1, max: 7 }),
    async (spread, pullSize) => {
      const queues: number[][] = [[], [], [], [], []];
      spread.forEach((queue, index) => queues[queue]!.push(index + 1));
      const lines = await merged(queues, pullSize);
      return lines.length === spread.length && lines.every((line, index) => line === index + 1);
    },
  );
  await t.notThrowsAsync(fc.assert(property));
});

test("pieces of one line share its number and stay in order", async (t) => {
  t.deepEqual(
    await merged(
      [
        [1, 3, 3, 3],
        [2, 4],
      ],
      2,
    ),
    [1, 2, 3, 3, 3, 4],
  );
});

test("a message without a number is named", async (t) => {
  const sources = [
    (async function* () {
      yield [message(undefined)];
    })(),
  ];
  await t.throwsAsync(mergeByLine(sources).next(), {
    code: "MILLRACE_MESSAGE_ILLEGAL",
    message: /message 7 of queue 3 has no line number/,
  });
});
