// Goal: a file that is closed, and deleted, under somebody who still holds a view of it costs zeros, not the process.
// Method: keep views past the close, of far more files than ranges are kept; read the latest ones.
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import test from "ava";
import { loadDrive } from "../../src/os/choose.ts";

const SIZE = 65_536;

test("a view of a closed file reads zeros, those of other files are untouched", async (t) => {
  const drive = await loadDrive("ffi");
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), "millrace-retired-"));
  t.teardown(() => fs.rmSync(directory, { recursive: true, force: true }));
  const open = (name: number) => {
    const file = drive.openFile(path.join(directory, String(name)), { size: SIZE, writable: true });
    file.reserve();
    file.write(0, Buffer.alloc(SIZE, 1 + (name % 200)), 0, SIZE);
    return file;
  };
  const kept = open(0);
  const views: Buffer[] = [];
  for (let name = 1; name <= 200; name++) {
    const file = open(name);
    t.is(file.mapped![SIZE - 1], 1 + (name % 200));
    views.push(file.mapped!);
    file.close();
    fs.rmSync(file.path);
  }
  for (const view of views.slice(-60)) t.true(view.every((byte) => byte === 0));
  t.true(kept.mapped!.every((byte) => byte === 1));
  kept.close();
});
