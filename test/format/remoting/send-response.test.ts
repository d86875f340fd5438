import test from "ava";
import fc from "fast-check";
import { encodeHost } from "../../../src/format/record/message.ts";
import { offsetMessageId } from "../../../src/format/record/message-id.ts";
import {
  decodeCommand,
  FLAG_RESPONSE,
  REMOTING_VERSION,
  type RemotingCommand,
} from "../../../src/format/remoting/remoting-command.ts";
import { frameSize } from "../../../src/format/remoting/remoting-frame.ts";
import {
  EMPTY_RESPONSE_SIZE_MAX,
  ERROR_RESPONSE_SIZE_MAX,
  PULL_RESPONSE_SIZE_MAX,
  REMARK_LENGTH_MAX,
  SendResponseWriter,
  UNIQUE_KEY_SIZE_MAX,
  writeEmptyResponse,
  writeErrorResponse,
  writePullResponse,
} from "../../../src/format/remoting/send-response.ts";

const START = 3;
const FILL = 0x7e;

/** Writes into exactly the room that is promised to suffice, and decodes what came out. */
function written(sizeMax: number, bodySize: number, write: (target: Buffer, start: number) => number): RemotingCommand {
  const target = Buffer.alloc(START + sizeMax + bodySize, FILL);
  const end = write(target.subarray(0, START + sizeMax), START);
  if (target.subarray(0, START).some((byte) => byte !== FILL) || target.subarray(end).some((byte) => byte !== FILL))
    throw new Error("wrote beside");
  if (frameSize(target, START, target.length) !== end - START + bodySize) throw new Error("the frame's size is wrong");
  const command = decodeCommand(target.subarray(START, end + bodySize));
  if (command.flag !== FLAG_RESPONSE || command.version !== REMOTING_VERSION || command.language !== "JAVA")
    throw new Error("flag, version or language");
  return command;
}

const int32 = fc.integer();
const offset = fc.oneof(
  fc.maxSafeNat(),
  fc.nat(),
  fc.constantFrom(0, 9, 10, 999_999_999, 1_000_000_000, 2 ** 32 - 1, 2 ** 32, Number.MAX_SAFE_INTEGER),
);
const host = fc.constantFrom("10.1.2.3:10911", "[2001:db8::7]:65535");

const viewOf = (bytes: Buffer): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.length);

test("a success without fields carries only the opaque", (t) => {
  const property = fc.property(int32, (opaque) => {
    const command = written(EMPTY_RESPONSE_SIZE_MAX, 0, (target, start) => writeEmptyResponse(target, start, opaque));
    return (
      command.code === 0 &&
      command.opaque === opaque &&
      command.remark === undefined &&
      Object.keys(command.extFields).length === 0
    );
  });
  t.notThrows(() => fc.assert(property));
});

test("an error's remark comes back as it was, cut at its limit", (t) => {
  const remarks = fc.oneof(
    fc.string({ unit: "binary", maxLength: 60 }),
    fc.constantFrom('"\\\u0000\u001f', "x".repeat(600), "\u{1f600}\u4e2d".repeat(300)),
  );
  const property = fc.property(int32, int32, remarks, (opaque, code, remark) => {
    const command = written(ERROR_RESPONSE_SIZE_MAX, 0, (target, start) =>
      writeErrorResponse(target, start, opaque, code, remark),
    );
    return command.code === code && command.opaque === opaque && (command.remark ?? "") === remark.slice(0, REMARK_LENGTH_MAX);
  });
  t.notThrows(() => fc.assert(property));
});

test("a pull's header counts the body in, and holds the offsets", (t) => {
  const property = fc.property(
    int32,
    fc.constantFrom(0, 19, 20, 21),
    offset,
    offset,
    offset,
    fc.nat(70_000),
    (opaque, code, next, min, max, bodySize) => {
      const command = written(PULL_RESPONSE_SIZE_MAX, bodySize, (target, start) =>
        writePullResponse(target, start, code, opaque, "OFFSET_TOO_SMALL", 1, next, min, max, 3, 7, bodySize),
      );
      const expected = {
        suggestWhichBrokerId: "1",
        nextBeginOffset: `${next}`,
        minOffset: `${min}`,
        maxOffset: `${max}`,
        topicSysFlag: "3",
        groupSysFlag: "7",
      };
      return (
        command.code === code &&
        command.opaque === opaque &&
        command.remark === "OFFSET_TOO_SMALL" &&
        command.body.length === bodySize &&
        JSON.stringify(command.extFields) === JSON.stringify(expected)
      );
    },
  );
  t.notThrows(() => fc.assert(property));
  t.notThrows(() =>
    written(PULL_RESPONSE_SIZE_MAX, 0, (target, start) =>
      writePullResponse(target, start, 1, -(2 ** 31), "\u0001".repeat(9999), -1, -1, -1, -1, -1, -1, 0),
    ),
  );
});

test("a send's answer names host and offset in its id", (t) => {
  const keys = fc.oneof(
    fc.string({ unit: "grapheme", maxLength: 30 }),
    fc.constantFrom("", "\u0000".repeat(UNIQUE_KEY_SIZE_MAX), "é".repeat(64)),
  );
  const property = fc.property(
    int32,
    host,
    fc.nat(),
    offset,
    offset,
    keys,
    fc.boolean(),
    (opaque, storeHost, queueId, queueOffset, physical, key, traceOn) => {
      const writer = new SendResponseWriter(encodeHost(storeHost), 'Region "1"', traceOn);
      const memory = Buffer.concat([Buffer.from("ab"), Buffer.from(key), Buffer.from("cd")]);
      fc.pre(memory.length - 4 <= UNIQUE_KEY_SIZE_MAX);
      const command = written(writer.sizeMax(1), 0, (target, start) =>
        writer.single(
          target,
          viewOf(target),
          start,
          10,
          opaque,
          queueId,
          queueOffset,
          physical,
          viewOf(memory),
          2,
          memory.length - 2,
        ),
      );
      const expected = {
        MSG_REGION: 'Region "1"',
        TRACE_ON: `${traceOn}`,
        msgId: offsetMessageId(storeHost, physical),
        queueId: `${queueId}`,
        queueOffset: `${queueOffset}`,
      };
      const fields = key === "" ? expected : { ...expected, transactionId: key };
      return command.code === 10 && command.opaque === opaque && JSON.stringify(command.extFields) === JSON.stringify(fields);
    },
  );
  t.notThrows(() => fc.assert(property));
});

test("writes the golden message id", (t) => {
  const writer = new SendResponseWriter(encodeHost("10.1.2.3:10911"), "DefaultRegion", true);
  const command = written(writer.sizeMax(1), 0, (target, start) =>
    writer.single(target, viewOf(target), start, 0, 5, 2, 7, 4096, viewOf(Buffer.alloc(0)), 0, 0),
  );
  t.is(command.extFields["msgId"], "0A01020300002A9F0000000000001000");
});

test("a batch's answer lists the ids of all its records", (t) => {
  const property = fc.property(
    host,
    fc.oneof(
      fc.nat(2 ** 50),
      fc.nat(10_000_000).map((distance) => 2 ** 32 - distance),
    ),
    fc.array(fc.oneof(fc.integer({ min: 91, max: 5_000_000 }), fc.integer({ min: 91, max: 3000 })), {
      minLength: 1,
      maxLength: 50,
    }),
    (storeHost, first, sizes) => {
      const writer = new SendResponseWriter(encodeHost(storeHost), "DefaultRegion", false);
      const command = written(writer.sizeMax(sizes.length), 0, (target, start) =>
        writer.batch(target, viewOf(target), start, 0, 9, 1, 100, first, Int32Array.from(sizes), sizes.length),
      );
      let physical = first;
      const ids = sizes.map((size) => {
        const id = offsetMessageId(storeHost, physical);
        physical += size;
        return id;
      });
      return (
        command.extFields["msgId"] === ids.join(",") &&
        command.extFields["queueOffset"] === "100" &&
        command.extFields["transactionId"] === undefined
      );
    },
  );
  t.notThrows(() => fc.assert(property));
});
