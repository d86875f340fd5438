import assert from "node:assert/strict";
import type { Socket } from "node:net";
import test from "ava";
import fc from "fast-check";
import { encodeHost } from "../../../src/format/record/message.ts";
import { keyNoteOffset, NOTE_KEY_COUNT, NOTED_KEYS_MAX } from "../../../src/format/record/record-notes.ts";
import { HeaderScan } from "../../../src/format/remoting/header-scan.ts";
import { encodeCommand, request } from "../../../src/format/remoting/remoting-command.ts";
import { IoConnection } from "../../../src/remoting/io-connection.ts";
import { IoTables } from "../../../src/remoting/io-tables.ts";
import { BATCH_KERNEL_SIZE, BatchKernel } from "../../../src/remoting/send/batch-kernel.ts";
import { SEND_TAKEN, SendPath } from "../../../src/remoting/send/send-path.ts";
import { SendTemplate } from "../../../src/remoting/send/send-template.ts";
import { SendTickets } from "../../../src/remoting/send/send-tickets.ts";
import { StreamReads } from "../../../src/remoting/transport/stream-reads.ts";
import { createLaneMemory, LaneConsumer, LaneProducer, laneScratch } from "../../../src/ring/lane.ts";

// Goal: a record made from a template is the record that would have been made without, byte for byte, notes included.
// Method: the same messages through a scan that remembers and one that has seen nothing.
const QUEUES = 4;
const INPUT_SIZE = 65_536;
const PEER = { remoteAddress: "10.1.2.4", remotePort: 50_000 } as Socket;
const OTHER_PEER = { remoteAddress: "10.1.2.5", remotePort: 50_001 } as Socket;

interface Sent {
  records: string[];
  sizes: number[] | undefined;
  [more: string]: unknown;
}

class Sender {
  readonly #scan: HeaderScan | undefined;
  readonly #path: SendPath;
  /** Where every other batch is read to; the kernel need not copy it then. */
  readonly #input: Buffer | undefined;
  #sent = 0;
  readonly #lane: LaneProducer;
  readonly #writer: LaneConsumer;
  readonly tickets = new SendTickets(16);
  readonly #connections = [PEER, OTHER_PEER].map(
    (peer) =>
      new IoConnection(
        0,
        peer,
        () => 0,
        () => {},
        undefined,
        new StreamReads(1, 0, () => {}),
        [],
      ),
  );
  templated = 0;
  /** Records that the kernel has made. */
  exploded = 0;
  /** Batches whose first record was one of them. */
  resumed = 0;

  /** @param withKernel batches are taken apart in WebAssembly */
  constructor(scan: HeaderScan | undefined, storeHost: string, dedupWindowS: number, withKernel = false, sizeMax = 1000) {
    this.#scan = scan;
    const memory = createLaneMemory({ entryCount: 16, dataSize: 262_144 }, withKernel ? BATCH_KERNEL_SIZE + INPUT_SIZE : 0);
    const scratch = laneScratch(memory);
    this.#input = scratch && Buffer.from(scratch.memory.buffer, scratch.at + BATCH_KERNEL_SIZE, INPUT_SIZE);
    const kernel = BatchKernel.over(scratch);
    assert.equal(kernel !== undefined, withKernel);
    if (kernel !== undefined) this.#countExploded(kernel);
    this.#lane = new LaneProducer(memory);
    this.#writer = new LaneConsumer(memory);
    const tables = new IoTables();
    for (const [i, topic] of ["T-one", "T-two", "T-longer"].entries()) {
      tables.slotsChanged({ topic, slots: [10 * i, 10 * i + 1, 10 * i + 2, 10 * i + 3] });
      tables.topicChanged({
        topic,
        readQueueNums: QUEUES,
        writeQueueNums: QUEUES,
        perm: 6,
        order: false,
        refusesSends: false,
        topicSysFlag: 0,
        topicFilterType: "SINGLE_TAG",
        attributes: i === 1 && dedupWindowS > 0 ? { "dedup.window.seconds": String(dedupWindowS) } : {},
      });
    }
    this.#path = new SendPath({
      lane: this.#lane,
      tickets: this.tickets,
      tables,
      storeHost: encodeHost(storeHost),
      addedProperties: Buffer.from("CLUSTER\u0001C\u0002"),
      maxMessageSize: sizeMax,
      batchSizeMax: 60_000,
      tailSize: 0,
      newUniqueKey: () => "MADE",
      kernel,
    });
  }

  #countExploded(kernel: BatchKernel): void {
    const explode = kernel.explode.bind(kernel);
    kernel.explode = (sub, end, record) => {
      const count = explode(sub, end, record);
      this.exploded += count;
      if (sub === 0 && count > 0) this.resumed++;
      return count;
    };
  }

  /** @returns all that is known of the record that it made, or the outcome */
  send(given: Buffer, connection = 0): Sent | string | number {
    let frame = given;
    if (this.#input !== undefined && this.#sent++ % 2 === 1) {
      given.copy(this.#input);
      frame = this.#input.subarray(0, given.length);
    }
    const scan = this.#scan ?? new HeaderScan();
    if (!scan.scan(frame, 0)) return "unusual header";
    if (scan.memo?.extra instanceof SendTemplate) this.templated++;
    const outcome = this.#path.take(this.#connections[connection]!, frame, 0, frame.length, scan);
    if (outcome !== SEND_TAKEN) return outcome;
    this.#lane.publish();
    const writer = this.#writer;
    if (!writer.next()) return "nothing in the lane";
    const { size, slot, count, flags, ticket, dataStart, hashLow, hashHigh } = writer;
    const { tickets } = this;
    const key = tickets.keys.toString("latin1", tickets.keyStart(ticket), tickets.keyStart(ticket) + tickets.keySizes[ticket]!);
    const rest = [tickets.opaques[ticket], tickets.queueIds[ticket], tickets.oneways[ticket], tickets.noWaits[ticket]];
    const bytes = Buffer.from(writer.data.subarray(dataStart, dataStart + size));
    const records: string[] = [];
    for (let at = 0; at < size; at += bytes.readUInt32BE(at)) {
      const one = bytes.subarray(at, at + bytes.readUInt32BE(at));
      // Places of key hashes that there are none for hold anything.
      const hashCount = one.readInt32BE(NOTE_KEY_COUNT);
      for (let i = Math.max(0, hashCount); i < NOTED_KEYS_MAX; i++) one.writeInt32BE(0, keyNoteOffset(0, i));
      records.push(one.toString("hex"));
    }
    const batchCount = tickets.batchCounts[ticket]!;
    const sizes = batchCount === 0 ? undefined : [...tickets.batchSizes[ticket]!.subarray(0, batchCount)];
    writer.ack(ticket, 0, 0, 0, 0);
    writer.publish();
    this.#lane.takeAck();
    this.#lane.releaseAcks();
    tickets.release(ticket);
    return { records, sizes, size, slot, count, flags, key, rest, hashLow, hashHigh };
  }
}

const word = fc.stringMatching(/^[A-Za-z0-9]{4}$/);
const messages: fc.Arbitrary<Message> = fc.record({
  topic: fc.constantFrom("T-one", "T-one", "T-two", "T-longer", "T-none"),
  queueId: fc.constantFrom(0, 1, 2, 3, 4, -1),
  bornTimestamp: fc.constantFrom(1_795_103_125_571, 1_795_103_999_999, 1_000_000_000_000),
  key: fc.oneof(word, fc.constantFrom("12\\4", "ABÄD", "")),
  words: fc.oneof(word, fc.constantFrom("", "a b", "a bc d e f", '"x"')),
  tags: fc.constantFrom("", "TagA", "TagB"),
  wait: fc.constantFrom("true", "false"),
  more: fc.constantFrom("", "", "", "", "DELAY\u00013\u0002", "UNIQ_KEY\u0001late\u0002", "A\u0001B\u0002"),
  bodySize: fc.constantFrom(1, 2, 100, 300, 999, 1001),
  opaque: fc.integer({ min: 1000, max: 9999 }),
  code: fc.constantFrom(310, 310, 310, 10),
  isOneway: fc.boolean(),
});
interface Message {
  topic: string;
  queueId: number;
  bornTimestamp: number;
  key: string;
  words: string;
  tags: string;
  wait: string;
  more: string;
  bodySize: number;
  opaque: number;
  code: number;
  isOneway: boolean;
}

function propertiesOf(message: Message): string {
  const value = (name: string, text: string): string => (text === "" ? "" : `${name}\u0001${text}\u0002`);
  const keys = `${value("KEYS", message.words)}${value("UNIQ_KEY", message.key)}`;
  return `${keys}WAIT\u0001${message.wait}\u0002${message.more}${value("TAGS", message.tags)}`;
}

/** @param inner sub messages, for a batch */
function frameOf(message: Message, inner?: Buffer): Buffer {
  const properties = propertiesOf(message);
  const isBatch = message.code === 320;
  const names = message.code !== 10 ? "abcdefghijklm".split("") : LONG_NAMES;
  const texts = [
    "pg",
    message.topic,
    "TBW102",
    "4",
    String(message.queueId),
    "0",
    String(message.bornTimestamp),
    "0",
    isBatch ? "" : properties,
    "0",
    "false",
    "",
    String(isBatch),
  ];
  const extFields = Object.fromEntries(names.map((name, i) => [name, texts[i]!]).filter(([, text]) => text !== ""));
  const body = Buffer.alloc(message.bodySize, message.opaque);
  const command = request(message.code, message.opaque, extFields, inner ?? body);
  return encodeCommand({ ...command, flag: message.isOneway ? 2 : 0 });
}

const LONG_NAMES =
  "producerGroup topic defaultTopic defaultTopicQueueNums queueId sysFlag bornTimestamp flag properties reconsumeTimes unitMode maxReconsumeTimes batch".split(
    " ",
  );

for (const storeHost of ["10.1.2.3:10911", "[2001:db8::1]:10911"]) {
  test(`a send like one before makes the record that it would make alone, store host ${storeHost}`, (t) => {
    let templated = 0;
    const property = fc.property(fc.array(messages, { minLength: 10, maxLength: 40 }), fc.constantFrom(0, 60), (all, window) => {
      const warm = new Sender(new HeaderScan(), storeHost, window);
      const cold = new Sender(undefined, storeHost, window);
      for (const message of all) {
        for (const opaque of [message.opaque, 1000, 1001, 9999]) {
          const changes: Partial<Message>[] = [{}, { key: "WXYZ", queueId: 2 }, { words: "9 87", topic: "T-two" }];
          for (const change of changes) {
            const frame = frameOf({ ...message, ...change, opaque });
            t.deepEqual(warm.send(frame), cold.send(frame));
          }
        }
      }
      templated += warm.templated;
    });
    t.notThrows(() => fc.assert(property, { numRuns: 60 }));
    t.is(templated > 1000, !storeHost.startsWith("["));
  });
}

function subMessage(message: Message, isClosed: boolean): Buffer {
  const text = propertiesOf(message);
  const properties = Buffer.from(isClosed ? text : text.slice(0, -1)); // 4.9 clients leave the last separator out.
  const body = Buffer.alloc(message.bodySize, message.opaque);
  const head = Buffer.alloc(20);
  head.writeUInt32BE(22 + body.length + properties.length, 0);
  head.writeInt32BE(message.opaque, 12);
  head.writeUInt32BE(body.length, 16);
  const size = Buffer.alloc(2);
  size.writeUInt16BE(properties.length);
  return Buffer.concat([head, body, size, properties]);
}

for (const storeHost of ["10.1.2.3:10911", "[2001:db8::1]:10911"]) {
  test(`messages of a batch make the records that each would make alone, store host ${storeHost}`, (t) => {
    const plain = messages.map((message) => ({
      ...message,
      code: 320,
      more: message.more.startsWith("DELAY") ? "" : message.more,
    }));
    const like = fc.record({
      key: word,
      words: fc.oneof({ weight: 4, arbitrary: word }, { weight: 1, arbitrary: fc.constantFrom("a  b", " x y", "1 2 ") }),
      tags: fc.constant("TagA"),
      wait: fc.constant("true"),
      more: fc.constantFrom("", "", "", "C\u0001D\u0002"),
    });
    const alike = fc.tuple(plain, like).map(([message, more]) => ({ ...message, ...more }));
    const one = fc.oneof({ weight: 3, arbitrary: alike }, { weight: 1, arbitrary: plain });
    // The kernel copies 16 bytes at a time, and the CRC has loops of 16, 4 and 1.
    const sized = fc.tuple(one, fc.integer({ min: 0, max: 70 })).map(([message, bodySize]) => ({ ...message, bodySize }));
    const inner = fc.array(fc.tuple(sized, fc.boolean()), { minLength: 1, maxLength: 12 });
    const outers = fc.record({ topic: fc.constantFrom("T-one", "T-one", "T-two"), queueId: fc.nat(QUEUES - 1), from: fc.nat(1) });
    let records = 0;
    let exploded = 0;
    let resumed = 0;
    const property = fc.property(fc.array(fc.tuple(plain, inner, outers), { minLength: 1, maxLength: 6 }), (batches) => {
      const whole = new Sender(undefined, storeHost, 0, false, 8000);
      const vectors = new Sender(undefined, storeHost, 0, true, 8000);
      for (const [header, all, { from, ...place }] of batches) {
        const outer = { ...header, ...place };
        const parts = all.map(([message, isClosed]) => subMessage(message, isClosed));
        const frame = frameOf(outer, Buffer.concat(parts));
        const sent = whole.send(frame, from);
        t.deepEqual(vectors.send(frame, from), sent);
        const alone = parts.map((part) => new Sender(undefined, storeHost, 0).send(frameOf(outer, part), from));
        const expected = alone.flatMap((one) => (typeof one === "object" ? one.records : [String(one)]));
        if (typeof sent !== "object") {
          t.true(expected.includes(String(sent)));
          continue;
        }
        t.deepEqual(sent.records, expected);
        t.deepEqual(
          sent.sizes,
          expected.map((record) => record.length / 2),
        );
        records += expected.length;
      }
      exploded += vectors.exploded;
      resumed += vectors.resumed;
    });
    t.notThrows(() => fc.assert(property, { numRuns: 100 }));
    t.true(records > 200);
    t.true(exploded > 10);
    t.true(resumed > 10, String(resumed));
  });
}
