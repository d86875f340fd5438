// Goal: the system reads nothing ahead by itself for a file that is opened as scattered: an I/O worker that touched the end of
// such a stretch would wait until the next one is ordered.
// Method: smaps says what the system was told of a mapping ("rr": random reads).
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import test from "ava";
import { ffiDrive } from "../../src/os/ffi.ts";

const SIZE = 1_048_576;

function flagsOf(file: string): string[] {
  const lines = fs.readFileSync("/proc/self/smaps", "latin1").split("\n");
  const at = lines.findIndex((line) => line.endsWith(file));
  return lines
    .slice(at)
    .find((line) => line.startsWith("VmFlags:"))!
    .split(/\s+/);
}

const isLinux = process.platform === "linux";
(isLinux ? test : test.skip)("a scattered file is mapped without read-ahead, any other with it", (t) => {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), "millrace-scattered-"));
  t.teardown(() => fs.rmSync(directory, { recursive: true, force: true }));
  for (const isScattered of [true, false]) {
    const name = path.join(directory, `file-${isScattered}`);
    fs.writeFileSync(name, Buffer.alloc(SIZE, 7));
    const file = ffiDrive.openFile(name, { size: SIZE, writable: false, isScattered });
    t.teardown(() => file.close());
    t.is(flagsOf(name).includes("rr"), isScattered);
    const bytes = Buffer.alloc(8);
    file.read(SIZE - 8, bytes, 0, 8);
    t.is(bytes[7], 7);
  }
});
