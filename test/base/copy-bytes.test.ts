import test from "ava";
import { copyBytes, useNativeCopy } from "../../src/base/copy-bytes.ts";
import { copyMemory } from "../../src/os/memory.ts";

const SIZE = 10_000;

function filled(buffer: Buffer): Buffer {
  for (let i = 0; i < buffer.length; i++) buffer[i] = (i * 7) >>> 2;
  return buffer;
}

// One after the other: the copier is the thread's.
for (const how of ["Buffer.copy", "native"]) {
  test.serial(`${how}: bytes arrive in shared memory and in views, whatever their alignment`, (t) => {
    if (how === "native") useNativeCopy(copyMemory);
    const sources = [
      Buffer.from(new SharedArrayBuffer(SIZE)),
      Buffer.allocUnsafeSlow(SIZE),
      Buffer.allocUnsafeSlow(SIZE + 13).subarray(13),
    ];
    const targets = [
      Buffer.from(new SharedArrayBuffer(2 * SIZE)),
      Buffer.from(new SharedArrayBuffer(3 * SIZE), 5, 2 * SIZE),
      Buffer.alloc(2 * SIZE),
    ];
    for (const from of sources.map(filled)) {
      for (const to of targets) {
        for (const [start, end, at] of [
          [0, SIZE, 0],
          [1, 5000, 8],
          [3, 2051, 17],
          [7, 8, 1],
          [4, 4, 4],
        ] as const) {
          to.fill(0xee);
          copyBytes(from, start, end, to, at);
          t.is(Buffer.compare(to.subarray(at, at + end - start), from.subarray(start, end)), 0);
          const rest = [...to.subarray(0, at), ...to.subarray(at + end - start)];
          t.true(rest.every((byte) => byte === 0xee));
        }
      }
    }
  });
}

test.serial("native: what is not within both buffers is refused", (t) => {
  useNativeCopy(copyMemory);
  const [from, to] = [Buffer.alloc(4096), Buffer.alloc(4096)];
  for (const [start, end, at] of [
    [0, 4097, 0],
    [0, 4096, 1],
    [-1, 4000, 0],
    [0, 3000, -1],
    [0, 3000, Number.NaN],
  ] as const) {
    t.throws(() => copyBytes(from, start, end, to, at), { instanceOf: RangeError });
  }
});
