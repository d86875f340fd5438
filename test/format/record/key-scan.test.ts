// Goal: one walk over a properties text finds what separate searches find, and calls plain only what is a list of properties.
// Method: random texts over the few bytes that matter, against PropertyScan and the reader that names faults.
import test from "ava";
import fc from "fast-check";
import { KeyScan } from "../../../src/format/record/key-scan.ts";
import { PropertyScan } from "../../../src/format/record/property-scan.ts";
import { propertiesFault } from "../../../src/store/log/record-fault.ts";

const PIECES = ["UNIQ_KEY", "KEYS", "TAGS", "KEY", "a", "\u0001", "\u0001", "\u0002", "\u0002", " ", "\u0000", "é"];
const text = fc.array(fc.constantFrom(...PIECES), { maxLength: 14 }).map((pieces) => pieces.join(""));

test("the scan agrees with a search for each name", (t) => {
  const scan = new KeyScan();
  const search = new PropertyScan();
  fc.assert(
    fc.property(text, text, (before, properties) => {
      const from = Buffer.byteLength(before);
      const bytes = Buffer.from(`${before}${properties}TAGS\u0001behind\u0002`);
      const to = from + Buffer.byteLength(properties);
      scan.scan(bytes, from, to);
      const found = { UNIQ_KEY: scan.uniqueKeyStart, KEYS: scan.keysStart, TAGS: scan.tagsStart };
      const ends = { UNIQ_KEY: scan.uniqueKeyEnd, KEYS: scan.keysEnd, TAGS: scan.tagsEnd };
      for (const name of ["UNIQ_KEY", "KEYS", "TAGS"] as const) {
        const isFound = search.find(bytes, from, to, Buffer.from(name));
        if (isFound !== found[name] >= 0) return false;
        if (isFound && (search.start !== found[name] || search.end !== ends[name])) return false;
      }
      return !scan.isPlain || propertiesFault(bytes, from, to) === undefined;
    }),
    { numRuns: 3000 },
  );
  t.pass();
});

test("what clients write is plain", (t) => {
  const scan = new KeyScan();
  for (const properties of ["", "KEYS\u0001a b\u0002", "KEYS\u0001a\u0002TAGS\u0001t", "a\u0001\u0002"]) {
    const bytes = Buffer.from(properties);
    scan.scan(bytes, 0, bytes.length);
    t.true(scan.isPlain, properties);
  }
});
