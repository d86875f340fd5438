import test from "ava";
import fc from "fast-check";
import { javaHash } from "../../../src/base/java-hash.ts";
import {
  INDEX_FILE_NAME,
  INDEX_SHAPE_DEFAULT,
  indexFileName,
  indexFileSize,
  indexFileTime,
  keyHashFrom,
  keyHashOf,
  keyHashOfBytes,
  tagsHashOfBytes,
  tagsHashParts,
  topicHashOfBytes,
} from "../../../src/format/files/index-file.ts";

test("a file of Apache's default shape has Apache's size", (t) => {
  t.is(indexFileSize(INDEX_SHAPE_DEFAULT), 420_000_040);
});

test("hashes are Java's, made positive", (t) => {
  t.is(keyHashOf("TopicA", "AC1100010000100002A9F00000000000000001".slice(0, 0)), Math.abs(javaHash("TopicA#")));
  t.is(keyHashOf("TopicA", "k1"), Math.abs(javaHash("TopicA#k1")));
  t.is(keyHashOf("TopicA", "TagA", "T"), Math.abs(javaHash("TopicA#T#TagA")));
  // "polygenelubricants" hashes to the smallest int, which Math.abs leaves negative in Java: 0 there.
  const topic = "polygenelubricants";
  t.is(javaHash(topic), -2_147_483_648);
  const smallest = findKey((key) => javaHash(`T#${key}`) === -2_147_483_648);
  if (smallest !== undefined) t.is(keyHashOf("T", smallest), 0);
});

/** A key of 7 letters with the wanted property, by meeting in the middle of the hash. */
function findKey(isWanted: (key: string) => boolean): string | undefined {
  // Solve for the last characters: hash = h * 31^2 + 31 * a + b for printable a, b.
  for (let i = 0; i < 2_000_000; i++) {
    const head = i.toString(36).padStart(5, "x");
    const rest = (-2_147_483_648 - Math.imul(javaHash(`T#${head}`), 961)) | 0;
    const a = Math.floor((rest - 64) / 31);
    const b = rest - 31 * a;
    if (a >= 33 && a < 127 && b >= 33 && b < 127) {
      const key = head + String.fromCharCode(a, b);
      if (isWanted(key)) return key;
    }
  }
  return undefined;
}

test("hashes over record bytes are those of the key strings", (t) => {
  const texts = fc.oneof(fc.string({ unit: "grapheme" }), fc.string());
  const property = fc.property(texts, texts, (topic, key) => {
    const bytes = Buffer.from(`${topic}|${key}|`);
    const topicEnd = Buffer.byteLength(topic);
    const topicHash = topicHashOfBytes(bytes, 0, topicEnd);
    const isKey = keyHashOfBytes(topicHash, bytes, topicEnd + 1, bytes.length - 1) === keyHashOf(topic, key, "U");
    const { factor, rest } = tagsHashParts(bytes, topicEnd + 1, bytes.length - 1);
    const tagsHash = keyHashOf(topic, key, "T");
    if (keyHashFrom((Math.imul(topicHash, factor) + rest) | 0) !== tagsHash) return false;
    return isKey && tagsHashOfBytes(topicHash, bytes, topicEnd + 1, bytes.length - 1) === tagsHash;
  });
  t.notThrows(() => fc.assert(property));
});

test("a file's name is its time of creation to the millisecond, and sorts by it", (t) => {
  t.is(indexFileName(new Date(2026, 10, 21, 5, 24, 13, 390).getTime()), "20261121052413390");
  t.is(indexFileName(new Date(2026, 0, 2, 3, 4, 5, 6).getTime()), "20260102030405006");
  t.regex(indexFileName(0), INDEX_FILE_NAME);
  for (const time of [0, 1_795_103_125_571, Date.now()]) t.is(indexFileTime(indexFileName(time)), time);
});
