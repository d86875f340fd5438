import assert from "node:assert/strict";
import type { Socket } from "node:net";
import test from "ava";
import fc from "fast-check";
import { SystemClock } from "../../../src/base/clock.ts";
import { encodeHost } from "../../../src/format/record/message.ts";
import { keyNoteOffset, NOTE_KEY_COUNT, NOTED_KEYS_MAX } from "../../../src/format/record/record-notes.ts";
import { MEMO_COUNT } from "../../../src/format/remoting/header-memo.ts";
import { HeaderScan } from "../../../src/format/remoting/header-scan.ts";
import { encodeCommand, request } from "../../../src/format/remoting/remoting-command.ts";
import { SERIALIZE_JSON, SERIALIZE_ROCKETMQ } from "../../../src/format/remoting/remoting-frame.ts";
import * as shared from "../../../src/format/shared/shared-words.ts";
import { FRAME_DONE, IoConnection } from "../../../src/remoting/io-connection.ts";
import { IoTables } from "../../../src/remoting/io-tables.ts";
import { TOPIC_PROBES, topicCell, topicNameHash } from "../../../src/remoting/send/kernel-topics.ts";
import { SendAnswers } from "../../../src/remoting/send/send-answers.ts";
import { SendKernel, sendKernelSize } from "../../../src/remoting/send/send-kernel.ts";
import { SEND_TAKEN, SendPath } from "../../../src/remoting/send/send-path.ts";
import { SendTickets } from "../../../src/remoting/send/send-tickets.ts";
import { StreamReads } from "../../../src/remoting/transport/stream-reads.ts";
import {
  ACK_DUPLICATE,
  ACK_OK,
  ACK_STORE_FULL,
  APPEND_ONCE,
  createLaneMemory,
  LaneConsumer,
  LaneProducer,
  laneScratch,
} from "../../../src/ring/lane.ts";
import { SharedLog } from "../../../src/store/shared-log.ts";

// Goal: what the kernel makes of a read (records, descriptors, order, answers) is what JavaScript makes of it frame by frame,
// byte for byte.
// Method: the same bytes, cut at the same places, to a worker with it and to one without, which scans each header anew.
const QUEUES = 12;
const ENTRIES = 64;
const BODY_MAX = 2000;
const STORE_HOST = "10.1.2.3:10911";
/** A connection whose headers are remembered where those of connection 0 are. */
const SAME_PLACE = MEMO_COUNT;
/** Room for the topics of a worker whose table often begins anew. */
const TOPICS_MAX_SMALL = 1200;

/** Of one size with T-one, and more of them in one cell than there may be. */
const CROWD: string[] = (() => {
  const byCell = new Map<number, string[]>();
  for (let i = 0; ; i++) {
    const name = `c${i.toString(36).padStart(4, "0")}`;
    const cell = topicCell(topicNameHash(Buffer.from(name)));
    const names = byCell.get(cell) ?? [];
    byCell.set(cell, names);
    if (names.push(name) > TOPIC_PROBES + 2) return names;
  }
})();
const MANY: string[] = [...CROWD, ...Array.from({ length: 12 }, (_, i) => `T-1${String(i).padStart(2, "0")}`)];
const TOPICS: string[] = ["T-one", "T-two", "T-longer", "T-öne", ...MANY];

class Worker {
  readonly tables = new IoTables();
  readonly #seen: string[] = [];
  readonly #kernel: SendKernel | undefined;
  readonly #lane: LaneProducer;
  readonly #writer: LaneConsumer;
  readonly #answers: SendAnswers;
  readonly #path: SendPath;
  readonly #connections: ReadonlyMap<number, IoConnection>;
  readonly #memoScan = new HeaderScan();
  #physicalOffset = 4_294_967_000; // The upper half of the ids' offsets changes soon.
  #firstSlot = 0;
  /** Runs of sends that the kernel has taken. */
  taken = 0;
  takenSends = 0;

  constructor(withKernel: boolean, isSyncFlush: boolean, dedupWindowS: number, topicsMax?: number) {
    const scratchSize = withKernel ? sendKernelSize(ENTRIES, topicsMax) : 0;
    const memory = createLaneMemory({ entryCount: ENTRIES, dataSize: 262_144 }, scratchSize);
    this.#kernel = SendKernel.over(laneScratch(memory), 0, topicsMax);
    assert.equal(this.#kernel !== undefined, withKernel);
    const lane = new LaneProducer(memory);
    this.#lane = lane;
    this.#writer = new LaneConsumer(memory);
    const { tables } = this;
    for (const topic of TOPICS) this.addTopic(topic, QUEUES, topic === "T-two" ? dedupWindowS : 0);
    const tickets = new SendTickets(ENTRIES, this.#kernel?.tickets);
    const storeHost = encodeHost(STORE_HOST);
    this.#path = new SendPath({
      lane,
      tickets,
      tables,
      storeHost,
      addedProperties: Buffer.from("CLUSTER\u0001C\u0002"),
      maxMessageSize: BODY_MAX,
      batchSizeMax: 60_000,
      tailSize: 0,
      newUniqueKey: () => "MADE",
      sendKernel: this.#kernel,
    });
    const log = new SharedLog();
    log.setOffset(shared.FLUSHED_OFFSET, Number.MAX_SAFE_INTEGER);
    const clock = new SystemClock();
    const plain = { lane, tickets, log, storeHost, regionId: "R", traceOn: true, isSyncFlush, syncFlushTimeoutMs: 1e9, clock };
    this.#answers = new SendAnswers({ ...plain, kernel: this.#kernel });
    this.#connections = new Map([0, 1, SAME_PLACE].map((id) => [id, this.#connection(id, withKernel)]));
  }

  #connection(id: number, withKernel: boolean): IoConnection {
    const connection = new IoConnection(
      id,
      { remoteAddress: "10.1.2.4", remotePort: 50_000 + id } as Socket,
      (from, bytes, start, size) => {
        const scan = withKernel ? this.#memoScan : new HeaderScan();
        const isScanned = scan.scan(bytes, start, from.id);
        const outcome = isScanned ? this.#path.take(from, bytes, start, size, scan) : SEND_TAKEN + 100;
        if (outcome !== SEND_TAKEN) this.#seen.push(`outcome ${outcome}`);
        return FRAME_DONE;
      },
      () => {},
      undefined,
      new StreamReads(1, 0, () => {}),
      [],
    );
    if (withKernel) connection.onRun = this.#onRun;
    return connection;
  }

  readonly #onRun = (connection: IoConnection, bytes: Buffer, start: number, end: number): number => {
    const stoppedAt = this.#path.takeRun(connection, bytes, start, end);
    this.taken += stoppedAt > start ? 1 : 0;
    this.takenSends += this.#path.runCount;
    return stoppedAt;
  };

  addTopic(topic: string, queueNums: number, dedupWindowS: number): void {
    this.#firstSlot += 1000;
    this.tables.slotsChanged({ topic, slots: Array.from({ length: queueNums }, (_, queue) => this.#firstSlot + queue) });
    this.setTopic(topic, queueNums, dedupWindowS);
  }

  setTopic(topic: string, queueNums: number, dedupWindowS: number, refusesSends = false): void {
    this.tables.topicChanged({
      topic,
      readQueueNums: queueNums,
      writeQueueNums: queueNums,
      perm: refusesSends ? 4 : 6,
      order: false,
      refusesSends,
      topicSysFlag: 0,
      topicFilterType: "SINGLE_TAG",
      attributes: dedupWindowS > 0 ? { "dedup.window.seconds": String(dedupWindowS) } : {},
    });
  }

  /** @returns what became of the bytes: outcomes, records in their order, the answers */
  receive(bytes: Buffer, status: number, who: number): string[] {
    const connection = this.#connections.get(who)!;
    const input = this.#kernel?.input ?? bytes;
    if (input !== bytes) bytes.copy(input);
    assert.ok(connection.receive(input, bytes.length));
    this.#lane.publish();
    const writer = this.#writer;
    while (writer.next()) {
      const { size, slot, count, flags, ticket, dataStart, hashLow, hashHigh } = writer;
      const record = Buffer.from(writer.data.subarray(dataStart, dataStart + size));
      // Places of key hashes that there are none for hold anything.
      for (let i = Math.max(0, record.readInt32BE(NOTE_KEY_COUNT)); i < NOTED_KEYS_MAX; i++)
        record.writeInt32BE(0, keyNoteOffset(0, i));
      this.#seen.push(
        `${record.toString("hex")} ${slot} ${count} ${flags} ${(flags & APPEND_ONCE) === 0 ? 0 : `${hashLow} ${hashHigh}`}`,
      );
      writer.ack(
        ticket,
        status,
        this.#physicalOffset % 7 === 0 ? 5_000_000_000 : this.#physicalOffset & 0xffff,
        this.#physicalOffset,
        1,
      );
      this.#physicalOffset += size;
    }
    writer.publish();
    this.#answers.drain();
    const answered = connection.stage.toString("latin1", 0, connection.staged);
    connection.staged = 0;
    return [...this.#seen.splice(0), answered, String(this.#answers.inFlight)];
  }
}

const word = fc.stringMatching(/^[A-Za-z0-9]{4}$/);
const kinds = fc.record({
  topic: fc.constantFrom("T-one", "T-one", "T-one", "T-two", "T-longer", "T-öne", "T-none"),
  words: fc.constantFrom("", "w", "a b", "a bc d e f"),
  tags: fc.constantFrom("", "TagA", "TagB", "Täg"),
  wait: fc.constantFrom("true", "true", "false"),
  more: fc.constantFrom<string>("", "", "", "", "DELAY\u00013\u0002", "UNIQ_KEY\u0001late\u0002", "A\u0001B\u0002"),
  bodySize: fc.constantFrom(1, 2, 15, 16, 17, 100, 300, 639, 640, 1500),
  code: fc.constantFrom(310, 310, 310, 10),
  type: fc.constantFrom(SERIALIZE_JSON, SERIALIZE_ROCKETMQ),
  isOneway: fc.constantFrom(false, false, false, true),
  who: fc.constantFrom(0, 0, 1, SAME_PLACE),
  /** Sends that differ in what a kernel does not look for, or must not take. */
  messages: fc.array(
    fc.record({
      key: fc.oneof(
        { weight: 20, arbitrary: word },
        fc.constantFrom("12\\4", "ABÄD", 'AB"D', "AB\u007fD", "AB\u0001D", "A\u0002\u0001D", ""),
      ),
      word: fc.oneof({ weight: 20, arbitrary: word }, fc.constantFrom("x  y", "   z", "    ")),
      queueId: fc.oneof({ weight: 20, arbitrary: fc.constantFrom(0, 1, 2, 9, 10, 11) }, fc.constantFrom(12, -1)),
      bornTimestamp: fc.constantFrom(1_795_103_125_571, 1_795_103_999_999, 1_000_000_000_000),
      opaque: fc.oneof({ weight: 20, arbitrary: fc.integer({ min: 1_000_000_000, max: 2_147_483_647 }) }, fc.integer()),
      bodySize: fc.oneof({ weight: 5, arbitrary: fc.constant(0) }, fc.constantFrom(1, 7, BODY_MAX + 1)),
      topic: fc.oneof(
        { weight: 20, arbitrary: fc.constant("") },
        { weight: 15, arbitrary: fc.constantFrom(...MANY) },
        { weight: 5, arbitrary: fc.constantFrom("T-longer", "T-öne") },
        fc.constantFrom("T-two", "T-off"),
      ),
    }),
    { minLength: 1, maxLength: 24 },
  ),
});
type Kind = typeof kinds extends fc.Arbitrary<infer T> ? T : never;

function framesOf(kind: Kind): Buffer {
  const names = kind.code === 10 ? LONG_NAMES : "abcdefghijklm".split("");
  return Buffer.concat(
    kind.messages.map((message) => {
      const pair = (name: string, text: string): string => (text === "" ? "" : `${name}\u0001${text}\u0002`);
      const words = kind.words === "w" ? message.word : kind.words;
      const properties = `${pair("KEYS", words)}${pair("UNIQ_KEY", message.key)}WAIT\u0001${kind.wait}\u0002${kind.more}${pair("TAGS", kind.tags)}`;
      const texts = [
        "pg", message.topic || kind.topic, "TBW102", "4", String(message.queueId), "0", String(message.bornTimestamp), "0",
        properties, "0", "false", "", "false",
      ]; // biome-ignore format: one thing.
      const extFields = Object.fromEntries(names.map((name, i) => [name, texts[i]!]).filter(([, text]) => text !== ""));
      const body = Buffer.alloc(message.bodySize || kind.bodySize, `${message.opaque} is its number.`);
      return encodeCommand({ ...request(kind.code, message.opaque, extFields, body), flag: kind.isOneway ? 2 : 0 }, kind.type);
    }),
  );
}

const LONG_NAMES =
  "producerGroup topic defaultTopic defaultTopicQueueNums queueId sysFlag bornTimestamp flag properties reconsumeTimes unitMode maxReconsumeTimes batch".split(
    " ",
  );

const PLAIN: Kind["messages"][0] = {
  key: "abcd",
  word: "efgh",
  queueId: 1,
  bornTimestamp: 1_795_103_125_571,
  opaque: 1_000_000_001,
  bodySize: 0,
  topic: "",
};
const PLAIN_KIND: Kind = {
  topic: "T-one",
  words: "",
  tags: "",
  wait: "true",
  more: "",
  bodySize: 16,
  code: 310,
  type: SERIALIZE_JSON,
  isOneway: false,
  who: 0,
  messages: [PLAIN],
};

for (const isSyncFlush of [false, true]) {
  test(`what the kernel takes is stored and answered as without it, ${isSyncFlush ? "SYNC" : "ASYNC"}_FLUSH`, (t) => {
    let taken = 0;
    const reads = fc.record({ kind: kinds, repeats: fc.integer({ min: 1, max: 4 }), cut: fc.nat(), status: fc.constantFrom(ACK_OK, ACK_OK, ACK_OK, ACK_OK, ACK_STORE_FULL, ACK_DUPLICATE), news: fc.constantFrom("", "", "", "narrow", "once", "wide", "refuses", "gone", "back"), whose: fc.constantFrom("T-one", ...MANY) }); // biome-ignore format: one thing.
    const lists = fc.array(reads, { minLength: 10, maxLength: 30 });
    const rooms = fc.constantFrom(undefined, TOPICS_MAX_SMALL);
    const property = fc.property(lists, fc.constantFrom(0, 60), rooms, (all, window, topicsMax) => {
      const withIt = new Worker(true, isSyncFlush, window, topicsMax);
      const without = new Worker(false, isSyncFlush, window);
      for (const { kind, repeats, cut, status, news, whose } of all) {
        // The first sends of a kind are scanned, then recognised, then known to the kernel.
        for (let i = 0; i < repeats; i++) {
          const bytes = framesOf(kind);
          const at = cut % (bytes.length + 1);
          for (const piece of [bytes.subarray(0, at), bytes.subarray(at)]) {
            const seen = withIt.receive(piece, status, kind.who);
            assert.deepEqual(seen, without.receive(piece, status, kind.who));
          }
        }
        for (const worker of [withIt, without]) {
          if (news === "narrow") worker.setTopic(whose, 8, 0);
          if (news === "once") worker.setTopic(whose, 8, 60);
          if (news === "wide") worker.addTopic(whose, 150, 0);
          if (news === "refuses") worker.setTopic(whose, 8, 0, true);
          if (news === "gone") worker.tables.topicRemoved(whose);
          if (news === "back") for (const topic of ["T-one", ...MANY]) worker.addTopic(topic, QUEUES, 0);
        }
      }
      taken += withIt.taken;
    });
    fc.assert(property, { numRuns: 40 });
    t.true(taken > 100);
  });
}

test("sends are the kernel's again when another connection has had their place", (t) => {
  const worker = new Worker(true, false, 0);
  for (let round = 0; round < 3; round++) {
    for (const [who, tags] of [
      [0, "TagA"],
      [SAME_PLACE, "TagB"],
    ] as const) {
      const bytes = framesOf({ ...PLAIN_KIND, tags, messages: [PLAIN] });
      worker.takenSends = 0;
      for (let i = 0; i < 500; i++) worker.receive(bytes, ACK_OK, who);
      t.true(worker.takenSends > 400, `${worker.takenSends} of 500`);
    }
  }
});

test("sends with binary headers are the kernel's, whatever their request numbers", (t) => {
  const withIt = new Worker(true, false, 0);
  const without = new Worker(false, false, 0);
  const opaques = [0, 1, 9, 0x5c22_0102, 0x7fff_ffff, -1, -0x8000_0000, 0x0a0d_0000];
  const messages = opaques.map((opaque, i) => ({ ...PLAIN, opaque, key: `key${i}` }));
  const bytes = framesOf({ ...PLAIN_KIND, type: SERIALIZE_ROCKETMQ, words: "w", tags: "TagA", messages });
  for (let round = 0; round < 8; round++) {
    withIt.taken = 0;
    withIt.takenSends = 0;
    t.deepEqual(withIt.receive(bytes, ACK_OK, 0), without.receive(bytes, ACK_OK, 0));
  }
  t.deepEqual([withIt.taken, withIt.takenSends], [1, opaques.length]);
});

test("sends with JSON and with binary headers are one run", (t) => {
  const withIt = new Worker(true, false, 0);
  const without = new Worker(false, false, 0);
  const of = (type: Kind["type"], topic: Kind["topic"]): Buffer => framesOf({ ...PLAIN_KIND, type, topic });
  const bytes = Buffer.concat([
    of(SERIALIZE_JSON, "T-one"),
    of(SERIALIZE_ROCKETMQ, "T-one"),
    of(SERIALIZE_JSON, "T-longer"),
    of(SERIALIZE_ROCKETMQ, "T-longer"),
    of(SERIALIZE_ROCKETMQ, "T-one"),
  ]);
  for (let round = 0; round < 8; round++) {
    withIt.taken = 0;
    withIt.takenSends = 0;
    t.deepEqual(withIt.receive(bytes, ACK_OK, 0), without.receive(bytes, ACK_OK, 0));
  }
  t.deepEqual([withIt.taken, withIt.takenSends], [1, 5]);
});

test("a header of the other kind that has the same size is not taken for one", (t) => {
  const withIt = new Worker(true, false, 0);
  const without = new Worker(false, false, 0);
  const json = framesOf(PLAIN_KIND);
  const small = framesOf({ ...PLAIN_KIND, type: SERIALIZE_ROCKETMQ });
  const more = (json.readUInt32BE(4) & 0xffffff) - (small.readUInt32BE(4) & 0xffffff);
  const binary = framesOf({ ...PLAIN_KIND, type: SERIALIZE_ROCKETMQ, more: `${"x".repeat(more - 3)}\u0001y\u0002` });
  t.is(binary.readUInt32BE(4) & 0xffffff, json.readUInt32BE(4));
  const swapped = [json, binary].map((frame) => {
    const other = Buffer.from(frame);
    other[4]! ^= 1;
    return other;
  });
  for (const read of [json, json, json, json, binary, json, ...swapped, binary, binary, binary, binary, ...swapped, json, binary])
    t.deepEqual(withIt.receive(read, ACK_OK, 0), without.receive(read, ACK_OK, 0));
  t.true(withIt.taken > 0);
});

// Goal: a binary header whose sizes lie is never taken by the kernel for more than it is.
// Method: each size field of a header that the kernel knows gets hostile values, each in a read between good ones, and cut short.
test("sizes in binary headers that are beyond the header, zero or negative, are met as without the kernel", (t) => {
  const withIt = new Worker(true, false, 0);
  const without = new Worker(false, false, 0);
  const good = framesOf({ ...PLAIN_KIND, type: SERIALIZE_ROCKETMQ, words: "w", tags: "TagA" });
  const headerSize = good.readUInt32BE(4) & 0xffffff;
  const places = binarySizes(good);
  t.is(places.length, 2 + 2 * 12);
  for (let i = 0; i < 4; i++) t.deepEqual(withIt.receive(good, ACK_OK, 0), without.receive(good, ACK_OK, 0));
  withIt.taken = 0;
  for (const { at, size } of places) {
    const present = good.readUIntBE(at, size);
    for (const value of [0, 1, present - 1, present + 1, headerSize, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff]) {
      const bad = Buffer.from(good);
      bad.writeUIntBE(size === 2 ? value & 0xffff : value >>> 0, at, size);
      const read = Buffer.concat([good, bad, good]);
      t.deepEqual(withIt.receive(read, ACK_OK, 0), without.receive(read, ACK_OK, 0), `${value} at ${at}`);
    }
  }
  t.true(withIt.taken > 100);
  for (let size = 8; size < headerSize; size++) {
    const short = Buffer.concat([good, good.subarray(0, 8 + size), good]);
    short.writeUInt32BE(4 + size, good.length);
    short.writeUInt32BE((SERIALIZE_ROCKETMQ << 24) | size, good.length + 4);
    t.deepEqual(withIt.receive(short, ACK_OK, 0), without.receive(short, ACK_OK, 0), `cut at ${size}`);
  }
});

/** Where the sizes stand in a frame with a binary header: of the fields together, and of each field's name and value; of the remark. */
function binarySizes(frame: Buffer): { at: number; size: number }[] {
  const found = [
    { at: 8 + 13, size: 4 },
    { at: 8 + 17, size: 4 },
  ];
  const end = 8 + (frame.readUInt32BE(4) & 0xffffff);
  for (let at = 8 + 21; at < end; ) {
    const valueAt = at + 2 + frame.readUInt16BE(at);
    found.push({ at, size: 2 }, { at: valueAt, size: 4 });
    at = valueAt + 4 + frame.readUInt32BE(valueAt);
  }
  return found;
}

test("sends of all sizes of headers are one run", (t) => {
  const worker = new Worker(true, false, 0);
  const without = new Worker(false, false, 0);
  const topics = ["R", "R-2", "R-03", "R-long-name", "R-an-even-longer-name"];
  for (const each of [worker, without]) for (const topic of topics) each.addTopic(topic, QUEUES, 0);
  const bytes = framesOf({
    ...PLAIN_KIND,
    messages: Array.from({ length: 40 }, (_, i) => ({
      ...PLAIN,
      topic: topics[(i * i) % 5]!,
      queueId: i % 2 === 0 ? 1 : 11,
      bodySize: i % 3 === 0 ? 1 + i : 600 + 2 * i,
    })),
  });
  for (let round = 0; round < 8; round++) {
    worker.taken = 0;
    worker.takenSends = 0;
    t.deepEqual(worker.receive(bytes, ACK_OK, 0), without.receive(bytes, ACK_OK, 0));
  }
  t.deepEqual([worker.taken, worker.takenSends], [1, 40]);
});

for (const [name, topicsMax, share] of [
  ["all of them", undefined, 0.95],
  ["where there is room for a quarter, some of them", 2400, 0.1],
] as const) {
  test(`sends to topics that take turns are the kernel's: ${name}`, (t) => {
    const worker = new Worker(true, false, 0, topicsMax);
    const topics = Array.from({ length: 200 }, (_, i) => `R-${String(i).padStart(3, "0")}`);
    for (const topic of topics) worker.addTopic(topic, 1, 0);
    // 7 and 200 have no divisor in common: each topic comes in its turn.
    const bytes = (round: number): Buffer =>
      framesOf({
        ...PLAIN_KIND,
        messages: Array.from({ length: 20 }, (_, i) => ({ ...PLAIN, queueId: 0, topic: topics[(7 * (20 * round + i)) % 200]! })),
      });
    for (let round = 0; round < 12; round++) worker.receive(bytes(round), ACK_OK, 0);
    worker.takenSends = 0;
    for (let round = 0; round < 50; round++) worker.receive(bytes(round), ACK_OK, 0);
    t.true(worker.takenSends >= share * 1000, `${worker.takenSends} of 1000`);
  });
}

test("headers whose bytes were changed are stored and answered as without the kernel", (t) => {
  let taken = 0;
  const bytes = fc.oneof(fc.constantFrom(...Buffer.from('"\\0-+ ,}\u0001\u0002\u007f'), 0x80, 0xc3), fc.nat(255));
  const changes = fc.array(fc.record({ at: fc.nat(), to: bytes }), { maxLength: 3 });
  const property = fc.property(kinds, fc.array(changes, { minLength: 10, maxLength: 30 }), (kind, all) => {
    const good = framesOf({ ...kind, topic: "T-one", more: "", messages: [PLAIN] });
    const headerSize = good.readUInt32BE(4) & 0xffffff;
    const frames = all.flatMap((each) => {
      const frame = Buffer.from(good);
      for (const { at, to } of each) frame[8 + (at % headerSize)] = to;
      return [frame, good];
    });
    const withIt = new Worker(true, false, 0);
    const without = new Worker(false, false, 0);
    for (const read of [good, good, good, good, Buffer.concat(frames)])
      assert.deepEqual(withIt.receive(read, ACK_OK, 0), without.receive(read, ACK_OK, 0));
    taken += withIt.taken;
  });
  fc.assert(property, { numRuns: 100 });
  t.true(taken > 100);
});

test("a second key under an escaped name counts, as without the kernel", (t) => {
  const frame = (key: string): Buffer => {
    const more = "UNIQXKEY\u0001abcd\u0002";
    const plain = framesOf({ ...PLAIN_KIND, more, messages: [{ ...PLAIN, key }] });
    const bodyAt = 8 + plain.readUInt32BE(4);
    const header = plain.toString("latin1", 8, bodyAt).replace("UNIQXKEY", "UNIQ\\u005fKEY");
    const sizes = Buffer.alloc(8);
    sizes.writeUInt32BE(4 + header.length + plain.length - bodyAt, 0);
    sizes.writeUInt32BE(header.length, 4);
    return Buffer.concat([sizes, Buffer.from(header, "latin1"), plain.subarray(bodyAt)]);
  };
  const withIt = new Worker(true, false, 0);
  const without = new Worker(false, false, 0);
  for (const key of ["abcd", "abcd", "abcd", "abcd", "wxyz", "wxyz"])
    t.deepEqual(withIt.receive(frame(key), ACK_OK, 0), without.receive(frame(key), ACK_OK, 0));
});
