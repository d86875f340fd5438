// Files that share descriptors: more of them than a thread may hold, written and read in turns.
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "ava";
import { SharedDescriptorFile } from "../../src/os/shared-descriptor-file.ts";

const descriptors = (): number => readdirSync("/proc/self/fd").length;
const onLinux = process.platform === "linux" ? test : test.skip;

onLinux("more files than descriptors: all are written and read, and those that are closed hold none", (t) => {
  const root = mkdtempSync(join(tmpdir(), "millrace-"));
  t.teardown(() => rmSync(root, { recursive: true, force: true }));
  const before = descriptors();
  const count = 5000;
  const open = (i: number, writable = true): SharedDescriptorFile =>
    new SharedDescriptorFile(join(root, `${i}`), { size: 64, writable });
  const files = Array.from({ length: count }, (_, i) => open(i));
  for (let round = 0; round < 2; round++) {
    for (const [i, file] of files.entries()) file.write(4 * round, Buffer.from(`${i}`.padStart(4)), 0, 4);
    t.true(descriptors() - before <= 4096);
  }
  const bytes = Buffer.alloc(8);
  for (const [i, file] of files.entries()) {
    file.read(0, bytes, 0, 8);
    if (bytes.toString() !== `${i}`.padStart(4).repeat(2)) t.fail(`file ${i} has ${bytes.toString()}`);
  }
  const reader = open(7, false);
  reader.read(0, bytes, 0, 4);
  t.is(bytes.toString("latin1", 0, 4), "   7");
  for (const file of [reader, ...files]) file.close();
  t.is(descriptors(), before);
  t.is(readFileSync(join(root, "4999")).length, 64);
  // After its close a file opens again by itself.
  files[3]!.write(0, Buffer.from("last"), 0, 4);
  t.is(readFileSync(join(root, "3"), "latin1").slice(0, 4), "last");
  files[3]!.close();
  t.throws(() => open(9999, false), { code: "MILLRACE_STORE_IO" });
});
