import test from "ava";
import fc from "fast-check";
import {
  entriesOf,
  JSON_DEPTH_MAX,
  JSON_SIZE_MAX,
  memberOf,
  parseJson,
  parseQueueTable,
  queueTable,
  writeJson,
} from "../../../src/format/text/fastjson.ts";

// Written by Apache 5.5.0's own classes (`RemotingSerializable.encode`).
const GOLDEN_OFFSETS =
  '{"offsetTable":{{"brokerName":"b","queueId":0,"topic":"T"}:5,{"brokerName":"b","queueId":1,"topic":"T"}:9223372036854775807}}';
const GOLDEN_CONSUME_STATS =
  '{"consumeTps":1.5,"offsetTable":{{"brokerName":"b","queueId":3,"topic":"T"}:{"brokerOffset":10,"consumerOffset":4,"lastTimestamp":6,"pullOffset":5}}}';
const GOLDEN_MEMBERS = '{"brokerMemberGroup":{"brokerAddrs":{0:"1.1.1.1:1"},"brokerName":"b","cluster":"c"}}';

test("reads object keys as a Map of message queues", (t) => {
  const table = parseQueueTable(memberOf(parseJson(GOLDEN_OFFSETS), "offsetTable"));
  t.deepEqual(table[0], { queue: { brokerName: "b", queueId: 0, topic: "T" }, value: 5 });
  t.is(table[1]!.queue.queueId, 1);
  t.is(table[1]!.value, 2 ** 63);
  t.deepEqual(parseQueueTable(parseJson("{}")), []);
  t.throws(() => parseQueueTable(parseJson('{{"topic":"T"}:1}')), { message: /message queue/ });
});

test("number keys read the same with and without quotes", (t) => {
  t.deepEqual(parseJson('{"a":{0:"x",-7:[1]}}'), parseJson('{"a":{"0":"x","-7":[1]}}'));
});

test("writes what Apache's classes write", (t) => {
  const key = (queueId: number) => ({ topic: "T", queueId, brokerName: "b" });
  t.is(
    writeJson({
      offsetTable: queueTable([
        [key(0), 5],
        [key(1), 2 ** 63],
      ]),
    }),
    GOLDEN_OFFSETS,
  );
  const stats = { brokerOffset: 10, consumerOffset: 4, lastTimestamp: 6, pullOffset: 5 };
  t.is(writeJson({ consumeTps: 1.5, offsetTable: queueTable([[key(3), stats]]) }), GOLDEN_CONSUME_STATS);
  const group = { brokerAddrs: new Map([[0, "1.1.1.1:1"]]), brokerName: "b", cluster: "c" };
  t.is(writeJson({ brokerMemberGroup: group }), GOLDEN_MEMBERS);
  t.is(writeJson({ addrs: new Map([[0, "x"]]) }, { quoteNumberKeys: true }), '{"addrs":{"0":"x"}}');
});

test("leaves out null members and keeps null items", (t) => {
  t.is(writeJson({ a: null, b: undefined, c: [null, undefined, 1], d: new Map([["x", null]]) }), '{"c":[null,null,1],"d":{}}');
  t.is(writeJson([1e21, -1e21, 123n, Number.NaN, 0.5]), "[9223372036854775807,-9223372036854775808,123,null,0.5]");
});

test("__proto__ and constructor are names like any other", (t) => {
  for (const text of ['{"__proto__":{"x":1}}', '{"__proto__":{"x":1},0:1}', '{{"__proto__":{"x":1}}:1,"__proto__":{"x":1}}']) {
    const value = parseJson(text);
    t.is(memberOf(value, "x"), undefined);
    t.deepEqual(memberOf(value, "__proto__"), { x: 1 });
    t.is((value as { x?: unknown }).x, undefined);
  }
  t.is(memberOf(parseJson("{}"), "constructor"), undefined);
  t.is(memberOf("text", "length"), undefined);
  t.deepEqual(entriesOf([1]), []);
});

test("errors name the position", (t) => {
  const cases: [string, number, RegExp][] = [
    ["", 0, /expected a value at position 0, found the end/],
    ["{0:1", 4, /',' or '}' at position 4, found the end/],
    ["{0 1}", 3, /':' at position 3, found "1"/],
    ["{0.5:1}", 2, /':' at position 2/],
    ["{a:1}", 1, /a key/],
    ["[1,]", 3, /a value/],
    ["{0:1} x", 6, /the end/],
    ['{0:"abc', 3, /begun at position 3/],
    ['{0:"a\\x"}', 3, /bad escape/],
    ["{0:-}", 3, /a number/],
    ["nul", 0, /a value/],
  ];
  for (const [text, position, message] of cases) {
    const error = t.throws(() => parseJson(text), { code: "MILLRACE_PROTOCOL", message }, text);
    t.is((error as unknown as { details: { position: number } }).details.position, position, text);
  }
});

test("depth and size are bounded, in both readers", (t) => {
  for (const [open, close] of [
    ["[", "]"],
    ['{"a":', "}"],
    ["{0:", "}"],
  ] as const) {
    const nested = (depth: number) => open.repeat(depth) + "1" + close.repeat(depth);
    t.notThrows(() => parseJson(nested(JSON_DEPTH_MAX)), open);
    t.throws(() => parseJson(nested(JSON_DEPTH_MAX + 1)), { message: /nested deeper/ }, open);
    t.throws(() => parseJson(nested(100_000)), { message: /nested deeper/ }, open);
  }
  t.throws(() => parseJson("{".repeat(100_000)), { message: /nested deeper/ });
  t.throws(() => parseJson(Buffer.alloc(JSON_SIZE_MAX + 1, 0x20)), { message: /over the limit/ });
  t.notThrows(() => parseJson('"[[[{{{\\"[[[' + "[".repeat(100) + '\\\\"'), "brackets in text do not count");
});

// Goal: reading is the inverse of writing, for every tree that bodies can hold, in the dialect too.
// Method: random trees with plain, number-keyed and object-keyed maps; -0 and what is no long apart.
const leaf = fc.oneof(
  fc.integer(),
  fc.maxSafeInteger().map((n) => n + 0),
  fc.string(),
  fc.boolean(),
  fc.constant(null),
  fc.double({ noNaN: true, noDefaultInfinity: true, min: -1e6, max: 1e6 }).map((n) => n + 0),
);
const tree = fc.letrec<{ value: unknown }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 4, withCrossShrink: true },
    leaf,
    fc.array(tie("value"), { maxLength: 4 }),
    fc.dictionary(fc.string(), tie("value"), { maxKeys: 4 }),
    fc.array(fc.tuple(fc.integer(), tie("value")), { maxLength: 3 }).map((entries) => new Map(entries)),
    fc
      .array(fc.tuple(fc.record({ brokerName: fc.string(), queueId: fc.nat(), topic: fc.string() }), tie("value")), {
        minLength: 1,
        maxLength: 3,
      })
      .map((entries) => new Map<unknown, unknown>(entries)),
  ),
})).value;

/** What reading gives for a written tree: null members gone, number keys as text. */
function expected(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(expected);
  if (typeof value !== "object" || value === null) return value;
  const members = [...(value instanceof Map ? value : Object.entries(value))].filter(([, member]) => member !== null);
  if (members.some(([key]) => typeof key === "object")) return new Map(members.map(([key, member]) => [key, expected(member)]));
  return Object.fromEntries(members.map(([key, member]) => [String(key), expected(member)]));
}

test("reads back what it writes", (t) => {
  fc.assert(
    fc.property(tree, (value) => {
      t.deepEqual(parseJson(writeJson({ root: value })), expected({ root: value }));
    }),
    { numRuns: 300 },
  );
});

test("the dialect reader agrees with JSON.parse on standard JSON", (t) => {
  fc.assert(
    fc.property(fc.json({ maxDepth: 5 }), fc.constantFrom("", " ", "\n\t"), (json, blank) => {
      // The number key sends the text to the dialect reader.
      const read = parseJson(`{0:${blank}${json}${blank},1:[]}`) as Record<string, unknown>;
      t.deepEqual(read["0"], JSON.parse(json));
    }),
    { numRuns: 300 },
  );
});

test("any text is read or refused with our error, never another", (t) => {
  const pieces = fc.array(
    fc.constantFrom("{", "}", "[", "]", ":", ",", '"', "\\", "0", "-", "1e5", "true", "nul", "a", " ", '{"k":1}'),
    { maxLength: 30 },
  );
  fc.assert(
    fc.property(pieces, (parts) => {
      try {
        parseJson(parts.join(""));
      } catch (error) {
        if ((error as { code?: string }).code !== "MILLRACE_PROTOCOL") throw error;
      }
    }),
    { numRuns: 1000 },
  );
  t.pass();
});
