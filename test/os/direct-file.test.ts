// Goal: a write by the bare system call puts the same bytes there as Node's, and what goes wrong is told in the same words.
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "ava";
import { loadDrive } from "../../src/os/choose.ts";

const isThere = process.platform === "linux" && process.env["MILLRACE_DRIVE"] !== "native-free";

(isThere ? test : test.skip)("writes from shared memory and from other", async (t) => {
  const { DirectFile } = await import("../../src/os/direct-file.ts");
  await loadDrive("ffi");
  const directory = mkdtempSync(join(tmpdir(), "direct-file-"));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  const path = join(directory, "f");
  const file = DirectFile.open(path, { size: 64, writable: true });
  const first = Buffer.from(new SharedArrayBuffer(32));
  first.fill(1);
  const second = Buffer.from(new SharedArrayBuffer(48), 8, 32);
  second.fill(2);
  file.write(0, first, 4, 20);
  file.write(20, second, 0, 32);
  file.write(52, Buffer.alloc(8, 3), 2, 6);
  file.write(60, first, 31, 32);
  file.write(61, first, 5, 5);
  const expected = Buffer.concat([
    Buffer.alloc(16, 1),
    Buffer.alloc(4),
    Buffer.alloc(32, 2),
    Buffer.alloc(4, 3),
    Buffer.alloc(4),
  ]);
  expected.fill(3, 52, 56);
  expected[60] = 1;
  t.deepEqual(readFileSync(path).subarray(0, 56), expected.subarray(0, 56));
  t.is(readFileSync(path)[60], 1);
  t.throws(() => file.write(0, first, 20, 40), { code: "MILLRACE_STORE_IO" }, "beyond its source nothing is read");
  t.throws(() => file.write(0, first, -1, 4), { code: "MILLRACE_STORE_IO" });
  file.close();
});

(isThere ? test : test.skip)("a write that fails says so", async (t) => {
  const { DirectFile } = await import("../../src/os/direct-file.ts");
  const directory = mkdtempSync(join(tmpdir(), "direct-file-"));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  const path = join(directory, "f");
  DirectFile.open(path, { size: 64, writable: true }).close();
  const fd = openSync(path, "r");
  const source = Buffer.from(new SharedArrayBuffer(32));
  t.throws(() => new DirectFile(path, 64, fd).write(0, source, 0, 32), { message: /f/ });
  closeSync(fd);
  // /dev/full takes nothing: a full disk.
  const full = openSync("/dev/full", "w");
  t.throws(() => new DirectFile("/dev/full", 64, full).write(0, source, 0, 32), { code: "MILLRACE_STORE_FULL" });
  closeSync(full);
});
