import test from "ava";
import fc from "fast-check";
import { VirtualClock } from "../../../src/base/clock.ts";
import { MillraceError } from "../../../src/base/errors.ts";
import { Batch } from "../../../src/client/produce/batch.ts";
import { type OutgoingMessage, propertiesSizeMax } from "../../../src/client/produce/outgoing-message.ts";
import { createSendHeader } from "../../../src/client/produce/send-header.ts";
import { UniqueIds } from "../../../src/client/produce/unique-id.ts";
import { decodeProperties } from "../../../src/format/record/properties.ts";
import { decodeCommand } from "../../../src/format/remoting/remoting-command.ts";
import { frameSize, SERIALIZE_JSON, SERIALIZE_ROCKETMQ } from "../../../src/format/remoting/remoting-frame.ts";
import { batchMessages } from "../fake-cluster.ts";

// Text that is hard to write: quotes, escapes, control characters, all lengths of UTF-8, lone surrogates.
// Not the two separators: those are refused (a test of its own).
const text = fc
  .oneof(
    fc.string({ minLength: 1 }),
    fc.string({ unit: "binary", minLength: 1 }),
    fc.string({ unit: fc.constantFrom("a", '"', "\\", "\n", "\u0000", "\u001f", "é", "漢", "😀", "\ud800"), minLength: 1 }),
  )
  .map((value) => value.replaceAll(/[\u0001\u0002]/g, "_"));
const name = text.filter(
  (value) => !["KEYS", "TAGS", "DELAY", "UNIQ_KEY", "TRAN_MSG", "REAL_TOPIC", "REAL_QID", "POP_CK"].includes(value),
);

const message: fc.Arbitrary<OutgoingMessage> = fc.record(
  {
    topic: fc.constant("T"),
    body: fc.uint8Array({ minLength: 1, maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
    tags: text,
    keys: fc.oneof(text, fc.array(text, { minLength: 1, maxLength: 3 })),
    properties: fc.dictionary(name, text, { maxKeys: 5, noNullPrototype: true }),
    delayLevel: fc.nat(18),
    flag: fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }),
  },
  { requiredKeys: ["topic", "body"] },
);

/** What the properties must be, written the slow way. */
function expectedProperties(sent: OutgoingMessage): Map<string, string> {
  const pairs = new Map<string, string>();
  if (sent.tags !== undefined) pairs.set("TAGS", sent.tags);
  if (sent.keys !== undefined) pairs.set("KEYS", typeof sent.keys === "string" ? sent.keys : sent.keys.join(" "));
  if (sent.delayLevel !== undefined && sent.delayLevel !== 0) pairs.set("DELAY", String(sent.delayLevel));
  for (const [key, value] of Object.entries(sent.properties ?? {})) pairs.set(key, value);
  // A lone surrogate has no UTF-8; it becomes U+FFFD.
  return new Map([...pairs].map(([key, value]) => [key.toWellFormed(), value.toWellFormed()]));
}

function sameProperties(
  t: { deepEqual(a: unknown, b: unknown): void },
  sent: OutgoingMessage,
  written: string,
): string | undefined {
  const properties = decodeProperties(written);
  const id = properties.get("UNIQ_KEY");
  properties.delete("UNIQ_KEY");
  t.deepEqual(properties, expectedProperties(sent));
  return id;
}

// Goal: a header written from a template is read back as the fields it was made from.
// Method: write random messages at a random place, decode the frame whole, compare field by field.
for (const header of ["json", "binary"] as const) {
  test(`a ${header} send header reads back`, (t) => {
    const ids = new UniqueIds(new VirtualClock(1_700_000_000_000));
    const property = fc.property(
      message,
      fc.constantFrom("single", "oneway", "batch"),
      fc.nat(0x7fff_ffff),
      fc.nat(0x7ff),
      fc.nat(2 ** 53 - 1),
      fc.nat(20),
      fc.nat(40),
      text,
      (sent, kind, opaque, sysFlag, born, queueId, before, brokerName) => {
        const template = createSendHeader(
          { producerGroup: "pg", topic: "T", brokerName: brokerName.toWellFormed(), queueId, defaultTopicQueueNums: 4, kind },
          header,
        );
        const properties = kind === "batch" ? undefined : sent;
        const room = template.sizeMax + propertiesSizeMax(properties ?? { topic: "", body: "" }, true);
        const bytes = Buffer.alloc(before + room, 0xee);
        const id = ids.next();
        const end = template.write(bytes, before, opaque, sysFlag, born, properties, id, sent.body.length);
        const frame = Buffer.concat([bytes.subarray(before, end), sent.body as Buffer]);
        t.is(frameSize(frame, 0, frame.length), frame.length);
        t.is(frame[4], header === "json" ? SERIALIZE_JSON : SERIALIZE_ROCKETMQ);
        const command = decodeCommand(frame);
        const { i, ...fields } = command.extFields;
        t.is(command.code, kind === "batch" ? 320 : 310);
        t.is(command.opaque, opaque);
        t.is(command.flag, kind === "oneway" ? 2 : 0);
        t.is(command.language, "NODE_JS");
        t.is(command.version, 513);
        t.deepEqual(
          { ...fields },
          {
            a: "pg",
            b: "T",
            c: "TBW102",
            d: "4",
            e: String(queueId),
            f: String(sysFlag),
            g: String(born),
            h: String(properties?.flag ?? 0),
            j: "0",
            k: "false",
            m: String(kind === "batch"),
            n: brokerName.toWellFormed(),
          },
        );
        t.is(sameProperties(t, properties ?? { topic: "", body: "" }, i!), id);
        t.true(command.body.equals(sent.body as Buffer));
      },
    );
    t.notThrows(() => fc.assert(property, { numRuns: 300 }));
  });
}

// Goal: the body of a batch holds each message as it was handed in, and no message is put where it does not fit.
test("a batch reads back", (t) => {
  const ids = new UniqueIds(new VirtualClock(1_700_000_000_000));
  const property = fc.property(
    fc.array(message, { minLength: 1, maxLength: 12 }),
    fc.integer({ min: 200, max: 8_000 }),
    (sent, capacity) => {
      const batch = new Batch(Buffer.alloc(capacity), "ID", 0);
      const taken = sent.filter((one) => {
        if (!batch.fits(Batch.sizeMax(one, one.body.length))) return false;
        batch.add(one, one.body as Buffer, ids, undefined);
        return true;
      });
      const read = batchMessages(batch.body);
      t.is(batch.count, taken.length);
      t.is(read.length, taken.length);
      const uniqueIds = read.map((one, index) => {
        t.is(one.flag, taken[index]!.flag ?? 0);
        t.true(one.body.equals(taken[index]!.body as Buffer));
        return sameProperties(t, taken[index]!, one.properties);
      });
      t.is(new Set(uniqueIds).size, taken.length);
    },
  );
  t.notThrows(() => fc.assert(property, { numRuns: 300 }));
});

test("what cannot be sent is refused by name", (t) => {
  const ids = new UniqueIds(new VirtualClock(0));
  const template = createSendHeader(
    { producerGroup: "pg", topic: "T", brokerName: "b", queueId: 0, defaultTopicQueueNums: 4, kind: "single" },
    "json",
  );
  const refused = (sent: Partial<Record<keyof OutgoingMessage, unknown>>, expected: RegExp): void => {
    const whole = { topic: "T", body: "x", ...sent } as OutgoingMessage;
    const error = t.throws(
      () => {
        const bytes = Buffer.alloc(template.sizeMax + propertiesSizeMax(whole, true));
        template.write(bytes, 0, 1, 0, 0, whole, ids.next(), 1);
      },
      { instanceOf: MillraceError },
    );
    t.is(error.code, "MILLRACE_MESSAGE_ILLEGAL");
    t.regex(error.message, expected);
  };
  refused({ tags: "a\u0001b" }, /U\+0001/);
  refused({ keys: "ä\u0002" }, /U\+0001/);
  refused({ tags: "" }, /tags/);
  refused({ properties: { TAGS: "x" } }, /TAGS is reserved/);
  refused({ properties: { "": "x" } }, /empty/);
  refused({ properties: { n: 5 } }, /"n".*text/);
  refused({ delayLevel: 19 }, /delayLevel 19/);
  refused({ delayLevel: 1.5 }, /delayLevel 1.5/);
});

test("properties beyond the field's size are refused in a batch", (t) => {
  const ids = new UniqueIds(new VirtualClock(0));
  const batch = new Batch(Buffer.alloc(1_000_000), "ID", 0);
  const large = { topic: "T", body: "x", properties: { p: "x".repeat(40_000) } };
  t.throws(() => batch.add(large, Buffer.from("x"), ids, undefined), { message: /at most 32767/ });
  t.is(batch.count, 0);
});

test("unique ids are unique, also while the clock stands, and tell machine and time", (t) => {
  const clock = new VirtualClock(new Date(2026, 10, 15, 12).getTime());
  const ids = new UniqueIds(clock, 0xabcdef01);
  const seen = new Set<string>();
  const write = Buffer.alloc(32);
  for (let count = 0; count < 200_000; count++) {
    if (count % 1_000 === 0) ids.stamp();
    ids.write(write, 0);
    seen.add(write.toString("latin1"));
  }
  t.is(seen.size, 200_000);
  const first = [...seen][0]!;
  t.regex(first, /^[0-9A-F]{32}$/);
  t.is(first.slice(12, 20), "ABCDEF01");
  t.is(Number.parseInt(first.slice(20, 28), 16), clock.now() - new Date(2026, 10, 1).getTime());
  t.not(new UniqueIds(clock).next().slice(0, 20), new UniqueIds(clock).next().slice(0, 20));
});

test("unique ids survive the turn of the month", (t) => {
  const clock = new VirtualClock(new Date(2026, 11, 31, 23, 59, 59, 999).getTime());
  const ids = new UniqueIds(clock, 1);
  const before = Number.parseInt(ids.next().slice(20, 28), 16);
  clock.advance(1);
  ids.stamp();
  t.is(before, new Date(2026, 11, 31, 23, 59, 59, 999).getTime() - new Date(2026, 11, 1).getTime());
  t.is(Number.parseInt(ids.next().slice(20, 28), 16), 0);
});
