import test from "ava";
import fc from "fast-check";
import { formatProperties, parseProperties } from "../../../src/format/text/java-properties.ts";

test("reads what java.util.Properties reads", (t) => {
  const text = [
    "# comment",
    "  ! comment too",
    "",
    "brokerName=broker-a",
    "  listenPort : 10911",
    "storePathRootDir  /data/my\\ store",
    "list = one, \\",
    "       two",
    "empty=",
    "alone",
    "a\\=b = c=d",
    "tab=\\tx\\u0041",
    "path=C\\:\\\\dir",
    "same=1",
    "same=2",
    "last=open\\",
  ].join("\r\n");
  t.deepEqual(
    [...parseProperties(text)],
    [
      ["brokerName", "broker-a"],
      ["listenPort", "10911"],
      ["storePathRootDir", "/data/my store"],
      ["list", "one, two"],
      ["empty", ""],
      ["alone", ""],
      ["a=b", "c=d"],
      ["tab", "\txA"],
      ["path", "C:\\dir"],
      ["same", "2"],
      ["last", "open"],
    ],
  );
});

test("a broken escape names its line", (t) => {
  t.throws(() => parseProperties("a=1\nb=\\u12"), { code: "MILLRACE_PROTOCOL", message: /line 2/ });
});

test("reads back what it writes", (t) => {
  const pairs = fc.uniqueArray(fc.tuple(fc.string({ minLength: 1 }), fc.string()), { selector: ([key]) => key });
  fc.assert(
    fc.property(pairs, (entries) => {
      t.deepEqual([...parseProperties(formatProperties(entries))], entries);
    }),
    { numRuns: 500 },
  );
});
