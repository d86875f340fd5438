// Goal: whatever the input and wherever it is cut into chunks, the lines joined again are the input, byte for byte.
import test from "ava";
import fc from "fast-check";
import { isLineFeedAfter, messageOfLine } from "../../src/cli/line-message.ts";
import { type Line, LineSplitter } from "../../src/cli/line-splitter.ts";

const LINE_FEED = Buffer.from("\n");

function split(chunks: readonly Uint8Array[], sizeMax: number, splitsLong: boolean): Line[] {
  const splitter = new LineSplitter(sizeMax, splitsLong);
  const lines: Line[] = [];
  const keep = ({ bytes, isEnded }: Line) => lines.push({ bytes: Buffer.from(bytes), isEnded });
  for (const chunk of chunks) for (const line of splitter.push(Buffer.from(chunk))) keep(line);
  for (const line of splitter.end()) keep(line);
  return lines;
}

// Line feeds, carriage returns and bytes that are no UTF-8 are much more frequent here than in life.
const byte = fc.oneof({ weight: 2, arbitrary: fc.constantFrom(0x0a, 0x0d, 0xff, 0x00) }, { weight: 3, arbitrary: fc.nat(255) });
const chunks = fc.array(
  fc.array(byte, { maxLength: 40 }).map((bytes) => Uint8Array.from(bytes)),
  { maxLength: 8 },
);

test("lines joined again are the input", (t) => {
  const property = fc.property(chunks, fc.integer({ min: 1, max: 50 }), (input, sizeMax) => {
    const lines = split(input, sizeMax, true);
    const joined = Buffer.concat(lines.flatMap(({ bytes, isEnded }) => (isEnded ? [bytes, LINE_FEED] : [bytes])));
    return joined.equals(Buffer.concat(input)) && lines.every(({ bytes }) => bytes.length <= sizeMax);
  });
  t.notThrows(() => fc.assert(property));
});

test("as messages, bodies are never empty, and bring the input back", (t) => {
  const property = fc.property(chunks, (input) => {
    const messages = split(input, 30, true).map(messageOfLine);
    const joined = messages.flatMap(({ body, properties }) =>
      isLineFeedAfter(new Map(Object.entries(properties ?? {}))) ? [body, LINE_FEED] : [body],
    );
    return messages.every(({ body }) => body.length > 0) && Buffer.concat(joined).equals(Buffer.concat(input));
  });
  t.notThrows(() => fc.assert(property));
});

test("where the chunks are cut changes nothing", (t) => {
  const input = Buffer.from("one\r\n\n\nfour \xff\nlast", "latin1");
  const whole = split([input], 100, false);
  t.deepEqual(
    whole.map(({ bytes, isEnded }) => [bytes.toString("latin1"), isEnded]),
    [
      ["one\r", true],
      ["", true],
      ["", true],
      ["four \xff", true],
      ["last", false],
    ],
  );
  for (let cut = 0; cut <= input.length; cut++) {
    t.deepEqual(split([input.subarray(0, cut), input.subarray(cut)], 100, false), whole, `cut at ${cut}`);
  }
});

test("a line that is too long is named, wherever it begins", (t) => {
  const input = Buffer.from(`a\n${"b".repeat(10)}\n${"c".repeat(11)}\n`);
  for (let cut = 0; cut < input.length; cut++) {
    t.throws(() => split([input.subarray(0, cut), input.subarray(cut)], 10, false), {
      code: "MILLRACE_MESSAGE_ILLEGAL",
      message: /^line 3 is longer than 10 bytes.*--split/,
    });
  }
});
