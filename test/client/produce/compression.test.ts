import zlib from "node:zlib";
import test from "ava";
import fc from "fast-check";
import { MillraceError } from "../../../src/base/errors.ts";
import { COMPRESSIONS, compressorOf, decompressBody } from "../../../src/client/produce/compression.ts";

const kinds = COMPRESSIONS.filter((kind) => kind !== "none" && (kind !== "zstd" || typeof zlib.zstdCompressSync === "function"));

for (const kind of kinds) {
  test(`${kind}: bodies come back, and never more than allowed`, (t) => {
    const compressor = compressorOf(kind)!;
    t.is(compressor.sysFlag & 1, 1);
    t.is(compressor.sysFlag >> 8, { zlib: 3, lz4: 1, zstd: 2 }[kind as "zlib" | "lz4" | "zstd"]);
    const bodies = fc.oneof(
      fc.uint8Array({ minLength: 1, maxLength: 5_000 }),
      fc.nat(300_000).map((size) => Buffer.alloc(size + 1, "some text, over and over; ")),
    );
    const property = fc.property(bodies, (bytes) => {
      const body = Buffer.from(bytes);
      const packed = compressor.compress(body);
      return decompressBody(packed, compressor.sysFlag, Math.max(body.length, 4_194_304)).equals(body);
    });
    t.notThrows(() => fc.assert(property, { numRuns: 30 }));
    // 64 MiB in a few kilobytes.
    const bomb = compressor.compress(Buffer.alloc(67_108_864));
    const tooMuch = t.throws(() => decompressBody(bomb, compressor.sysFlag, 8_388_608), { instanceOf: MillraceError });
    t.is(tooMuch.code, "MILLRACE_MESSAGE_ILLEGAL");
    const packed = compressor.compress(Buffer.alloc(10_000, "abc"));
    for (const broken of [packed.subarray(0, packed.length >> 1), Buffer.from("nonsense, not a frame"), Buffer.alloc(0)]) {
      t.throws(() => decompressBody(broken, compressor.sysFlag, 1_000_000), { instanceOf: MillraceError });
    }
  });
}

test("what is not compressed stays, old clients' bit means zlib, an unknown kind is told", (t) => {
  const body = Buffer.from("plain");
  t.is(decompressBody(body, 0, 10), body);
  t.true(decompressBody(zlib.deflateSync(body), 1, 10).equals(body));
  const unknown = t.throws(() => decompressBody(body, 0x401, 10), { instanceOf: MillraceError });
  t.regex(unknown.message, /type 4/);
  t.is(compressorOf("none"), undefined);
});
