import zlib from "node:zlib";
import test from "ava";
import fc from "fast-check";
import { crc32, crc32ByTable, nativeCrc32 } from "../../src/base/crc32.ts";

test("gives the known check values", (t) => {
  t.is(crc32(Buffer.from("123456789"), 0, 9), 0xcbf4_3926);
  t.is(crc32(Buffer.alloc(0), 0, 0), 0);
  t.is(crc32(Buffer.from("hello"), 0, 5) & 0x7fff_ffff, 0x3610_a686); // As RocketMQ stored it for this body.
});

test("all ways agree with zlib on every size and place", (t) => {
  const bytes = fc.uint8Array({ maxLength: 600 });
  const property = fc.property(bytes, fc.nat(20), fc.nat(20), (content, before, after) => {
    const memory = Buffer.concat([Buffer.alloc(before, 1), content, Buffer.alloc(after, 2)]);
    const expected =
      typeof zlib.crc32 === "function" ? zlib.crc32(content) : crc32ByTable(Buffer.from(content), 0, content.length);
    const end = before + content.length;
    return [crc32, crc32ByTable, nativeCrc32].every((way) => way(memory, before, end) === expected);
  });
  t.notThrows(() => fc.assert(property));
});
