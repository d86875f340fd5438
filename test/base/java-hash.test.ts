import test from "ava";
import fc from "fast-check";
import { javaHash, javaHashOfBytes } from "../../src/base/java-hash.ts";

test("gives Java's own values", (t) => {
  const cases: [string, number][] = [
    ["", 0],
    ["a", 97],
    ["TagA", 2_598_919],
    ["hello", 99_162_322],
    ["polygenelubricants", -2_147_483_648],
    ["中文", 646_394],
    ["😀", 1_772_899],
  ]; // prettier-ignore
  for (const [text, hash] of cases) {
    t.is(javaHash(text), hash, text);
    const bytes = Buffer.from(`<${text}>`);
    t.is(javaHashOfBytes(bytes, 1, bytes.length - 1), hash, text);
  }
});

test("is the same over UTF-8 bytes as over UTF-16 units, also in pieces", (t) => {
  const texts = fc.oneof(fc.string({ unit: "binary" }), fc.string({ unit: "grapheme" }), fc.string());
  const property = fc.property(texts, texts, (head, tail) => {
    const first = Buffer.from(head);
    const second = Buffer.from(tail);
    const whole = Buffer.concat([first, second]);
    const hash = javaHash(head.toWellFormed() + tail.toWellFormed());
    const inPieces = javaHashOfBytes(second, 0, second.length, javaHashOfBytes(first, 0, first.length));
    return javaHashOfBytes(whole, 0, whole.length) === hash && inPieces === hash;
  });
  t.notThrows(() => fc.assert(property));
});
