import test from "ava";
import fc from "fast-check";
import {
  decodeKeyValueTable,
  decodeRegistration,
  encodeCompressedRegistration,
  encodeKeyValueTable,
  encodeRegistration,
  type RegistrationBody,
} from "../../../src/format/remoting/broker-registration.ts";
import { decodeTopicLine, encodeTopicLine } from "../../../src/format/topic-config.ts";

// Written by Apache 5.5.0's own classes (`RegisterBrokerBody.encode`).
const GOLDEN_PLAIN =
  '{"filterServerList":[],"topicConfigSerializeWrapper":{"dataVersion":{"counter":0,"stateVersion":0,"timestamp":1700000000000},"mappingDataVersion":{"counter":0,"stateVersion":0,"timestamp":3},"topicConfigTable":{"T":{"attributes":{"+message.type":"FIFO"},"order":false,"perm":6,"readQueueNums":16,"topicFilterType":"SINGLE_TAG","topicName":"T","topicSysFlag":0,"writeQueueNums":16}},"topicQueueMappingDetailMap":{},"topicQueueMappingInfoMap":{"S":{"bname":"b","currIdMap":{0:1,2:3},"dirty":false,"epoch":2,"scope":"__global__","topic":"S","totalQueues":8}}}}';
const GOLDEN_COMPRESSED =
  "78da458ecb0ac2301045a35f52666b945641253b172a051f48c58d4848e3a885b429792c4ae9bf9b16c161062e7738778610b26e416a5f3934c0620ad609873734b6d0d560b8a2c4609635b06415ffab23848cc24caf51b2ec7b1965e9697fd8f2eb661fb5300998156f9cb9a64660b04b7767e8a1f1fdf143550b7925ca7e9b0305e98d499f47112eb5314be89c2d3a0acfc2b806d84b288b14b0d6f2036c1e1e957ac8e5fcad742e14e721c2e9ba90c1cc06ed84ba78f46881adbb2f42bb422b";

const topic = {
  topicName: "T",
  readQueueNums: 16,
  writeQueueNums: 16,
  perm: 6,
  topicFilterType: "SINGLE_TAG",
  topicSysFlag: 0,
  order: false,
  attributes: { "+message.type": "FIFO" },
};
const mapping = {
  topic: "S",
  scope: "__global__",
  totalQueues: 8,
  brokerName: "b",
  epoch: 2,
  dirty: false,
  currentIds: new Map([
    [0, 1],
    [2, 3],
  ]),
};
const golden: RegistrationBody = {
  dataVersion: { counter: 0, stateVersion: 0, timestamp: 1_700_000_000_000 },
  topics: [topic],
  queueMappings: new Map([["S", mapping]]),
  filterServers: [],
};

test("reads what Apache's broker sends, plain and compressed", (t) => {
  t.deepEqual(decodeRegistration(Buffer.from(GOLDEN_PLAIN), false, 513), golden);
  t.deepEqual(decodeRegistration(Buffer.from(GOLDEN_COMPRESSED, "hex"), true, 513), golden);
  const older = decodeRegistration(Buffer.from(GOLDEN_COMPRESSED, "hex"), true, 399);
  t.is(older.queueMappings.size, 0, "senders before 5.0 write no mappings: what follows is not looked at");
  t.deepEqual(older.topics, [topic]);
});

test("writes the plain form as Apache does, member by member", (t) => {
  const ownMappingVersion = '"mappingDataVersion":{"counter":0,"stateVersion":0,"timestamp":1700000000000}';
  t.is(encodeRegistration(golden).toString(), GOLDEN_PLAIN.replace(/"mappingDataVersion":\{[^}]*\}/, ownMappingVersion));
});

test("no body means an empty table; old senders put the wrapper alone", (t) => {
  t.deepEqual(decodeRegistration(Buffer.alloc(0), false, 513).topics, []);
  const old =
    '{"topicConfigTable":{"T":{"topicName":"T","perm":6,"readQueueNums":4,"writeQueueNums":5}},"dataVersion":{"timestamp":7}}';
  const body = decodeRegistration(Buffer.from(old), false, 36);
  t.is(body.topics[0]!.writeQueueNums, 5);
  t.deepEqual(body.dataVersion, { counter: 0, stateVersion: 0, timestamp: 7 });
});

test("topic lines with and without attributes", (t) => {
  t.is(encodeTopicLine(topic), 'T 16 16 6 SINGLE_TAG {"+message.type":"FIFO"}');
  t.deepEqual(decodeTopicLine("N 1 2 6 SINGLE_TAG "), {
    ...topic,
    topicName: "N",
    readQueueNums: 1,
    writeQueueNums: 2,
    attributes: {},
  });
  t.deepEqual(decodeTopicLine("N 1 2 6 SINGLE_TAG").attributes, {}, "4.9 writes no attributes");
  t.deepEqual(decodeTopicLine('N 1 2 6 SINGLE_TAG {"a":"b c"}').attributes, { a: "b c" });
});

const refused: [string, Buffer, boolean, RegExp][] = [
  ["text that is no JSON", Buffer.from("{{"), false, /JSON/],
  ["a perm that is no number", Buffer.from(GOLDEN_PLAIN.replace('"perm":6', '"perm":"6"')), false, /T: perm is not an integer/],
  ["a mapping that is none", Buffer.from(GOLDEN_PLAIN.replace("{0:1", '{"x":1')), false, /mapping of S/],
  ["bytes that do not inflate", Buffer.from("hello"), true, /inflated/],
  ["a compressed body cut short", Buffer.from(GOLDEN_COMPRESSED, "hex").subarray(0, 60), true, /inflated/],
];
for (const [name, body, compressed, message] of refused) {
  test(`refuses ${name}`, (t) => {
    t.throws(() => decodeRegistration(body, compressed, 513), { code: "MILLRACE_PROTOCOL", message });
  });
}

const name = fc.stringMatching(/^[A-Za-z%][A-Za-z0-9_%-]{0,40}$/);
const topics = fc
  .uniqueArray(
    fc.record({
      topicName: name,
      readQueueNums: fc.nat(1024),
      writeQueueNums: fc.nat(1024),
      perm: fc.nat(15),
      topicFilterType: fc.constantFrom("SINGLE_TAG", "MULTI_TAG"),
      topicSysFlag: fc.constant(0),
      order: fc.constant(false),
      attributes: fc.dictionary(name, fc.string(), { maxKeys: 3 }),
    }),
    { maxLength: 20, selector: (config) => config.topicName },
  )
  // Their Object.prototype differs from fast-check's null prototypes.
  .map((list) => list.map((config) => ({ ...config, attributes: { ...config.attributes } })));

test("both forms read back as written", (t) => {
  fc.assert(
    fc.property(topics, fc.nat(), fc.array(fc.string(), { maxLength: 3 }), (list, counter, filterServers) => {
      const body = {
        dataVersion: { counter, stateVersion: 1, timestamp: 5 },
        topics: list,
        queueMappings: new Map(),
        filterServers,
      };
      t.deepEqual(decodeRegistration(encodeRegistration(body), false, 513), body);
      t.deepEqual(decodeRegistration(encodeCompressedRegistration(body), true, 513), body);
    }),
    { numRuns: 100 },
  );
});

test("key-value tables", (t) => {
  const table = new Map([
    ["T", "b:4"],
    ["0", "x"],
  ]);
  t.is(encodeKeyValueTable(table).toString(), '{"table":{"T":"b:4","0":"x"}}');
  t.deepEqual(decodeKeyValueTable(Buffer.from('{"table":{"T":"b:4","x":1}}')), new Map([["T", "b:4"]]));
  t.deepEqual(decodeKeyValueTable(Buffer.alloc(0)), new Map());
});
