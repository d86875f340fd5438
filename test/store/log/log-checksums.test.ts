// Goal: every byte of the log that is on the disk gets into a checksum, none that is not; the work keeps to its budget; and
// whatever becomes of the files with the checksums, the log goes on and nothing that is right is called damaged.
// Method: a log on the model disk that grows by steps, looked at with zlib's own checksum.
import zlib from "node:zlib";
import test from "ava";
import { VirtualClock } from "../../../src/base/clock.ts";
import { MillraceError } from "../../../src/base/errors.ts";
import { CHECKSUM_BLOCK_SIZE, checksumsSize, LogChecksumTable } from "../../../src/format/files/log-checksums.ts";
import * as shared from "../../../src/format/shared/shared-words.ts";
import type { FileNames } from "../../../src/os/api.ts";
import { cutChecksums } from "../../../src/store/log/checksum-files.ts";
import { LogChecksums } from "../../../src/store/log/log-checksums.ts";
import { SharedLog } from "../../../src/store/shared-log.ts";
import { ModelDisk } from "../../torture/model-disk.ts";
import { Random } from "../../torture/random.ts";

const FILE_SIZE = 200_000; // Three blocks and a short one.
const RATE = 1_000_000;

class Lab {
  readonly disk = new ModelDisk(false, new Random(1));
  readonly log = new SharedLog();
  readonly clock = new VirtualClock(1_700_000_000_000);
  readonly #random = new Random(2);
  checksums = this.make();

  make(bytesPerSecond = RATE): LogChecksums {
    const { disk: drive, log, clock } = this;
    const where = { directory: "/checksums", commitLog: "/log", logFileSize: FILE_SIZE };
    return new LogChecksums({ drive, ...where, log, clock, bytesPerSecond });
  }

  static path(directory: string, base: number): string {
    return `/${directory}/${String(base).padStart(20, "0")}`;
  }

  append(size: number): void {
    let offset = this.log.offset(shared.APPENDED_OFFSET);
    for (const end = offset + size; offset < end; ) {
      const base = offset - (offset % FILE_SIZE);
      const file = this.disk.openFile(Lab.path("log", base), { size: FILE_SIZE, writable: true });
      const part = Math.min(end, base + FILE_SIZE) - offset;
      file.write(offset - base, Buffer.alloc(part, this.#random.between(1, 255)), 0, part);
      offset += part;
    }
    this.log.setOffset(shared.APPENDED_OFFSET, offset);
  }

  flush(): void {
    this.log.setOffset(shared.FLUSHED_OFFSET, this.log.offset(shared.APPENDED_OFFSET));
  }

  /** Some rounds. */
  work(rounds = 1): void {
    for (; rounds > 0; rounds--) {
      this.clock.advance(1000);
      while (this.checksums.work());
    }
  }

  table(base: number): LogChecksumTable | undefined {
    const path = Lab.path("checksums", base);
    const bytes = this.disk.names.exists(path) ? this.disk.names.readSmall(path) : undefined;
    return LogChecksumTable.decode(bytes, base, FILE_SIZE);
  }

  /** Bytes that are covered; all checksums are compared. */
  covered(): number {
    let size = 0;
    for (let base = 0; base < this.log.offset(shared.APPENDED_OFFSET); base += FILE_SIZE) {
      const table = this.table(base);
      const bytes = this.disk.bytesOf(Lab.path("log", base));
      for (let block = 0; table !== undefined && block < table.blockCount; block++) {
        const covered = table.coveredSize(block);
        const start = block * CHECKSUM_BLOCK_SIZE;
        if (covered > 0 && zlib.crc32(bytes.subarray(start, start + covered)) !== table.crc(block)) return -1;
        size += covered;
      }
    }
    return size;
  }
}

test("what is flushed is covered, to the byte, however it grows", (t) => {
  const lab = new Lab();
  const random = new Random(3);
  let flushed = 0;
  for (let i = 0; i < 60; i++) {
    lab.append(random.between(1, 30_000));
    if (random.chance(2)) {
      lab.flush();
      flushed = lab.log.offset(shared.FLUSHED_OFFSET);
    }
    lab.work();
    t.is(lab.covered(), flushed);
    if (random.chance(6)) lab.checksums = lab.make(); // Another process.
  }
  t.true(flushed > 2 * FILE_SIZE);
});

test("the budget is kept: what is beyond it waits, is caught up with at rest, and at the end of the process", (t) => {
  const lab = new Lab();
  lab.append(100);
  lab.flush();
  lab.work();
  lab.append(10 * RATE);
  lab.flush();
  lab.work();
  t.is(lab.covered(), 100 + RATE);
  lab.append(100);
  lab.flush();
  t.false(lab.checksums.work(), "no time has passed");
  lab.work();
  t.is(lab.covered(), 100 + 2 * RATE);
  lab.work();
  t.is(lab.covered(), 100 + 6 * RATE, "nothing was appended meanwhile");
  lab.checksums.close();
  t.is(lab.covered(), lab.log.offset(shared.APPENDED_OFFSET));
});

test("damaged, foreign and missing files with checksums are replaced; entries that do not check cover nothing", (t) => {
  const lab = new Lab();
  lab.append(150_000);
  lab.flush();
  lab.work();
  const path = Lab.path("checksums", 0);
  for (const damage of [
    () => lab.disk.names.remove(path),
    () => lab.disk.names.resize(path, 50),
    () => lab.disk.names.resize(path, 0),
    () => lab.disk.bytesOf(path).writeUInt8(1, 3),
    () => lab.disk.bytesOf(path).fill(0x55),
    () => lab.disk.bytesOf(path).writeUInt8(77, 32 + 16 + 5),
  ]) {
    damage();
    const table = lab.table(0);
    t.true(table === undefined || table.coveredSize(1) === 0);
    lab.checksums = lab.make();
    lab.work();
    t.is(lab.covered(), 150_000);
    t.is(lab.disk.names.size(path), checksumsSize(FILE_SIZE));
  }
});

test("a log that was never covered is from its present file on", (t) => {
  const lab = new Lab();
  lab.append(FILE_SIZE + 1000);
  lab.flush();
  lab.work();
  t.is(lab.table(0), undefined);
  t.is(lab.covered(), 1000);
});

test("a disk that takes no checksums is left alone for a while, then all is made good", (t) => {
  const lab = new Lab();
  lab.append(150_000);
  lab.flush();
  const { openFile } = lab.disk;
  let tries = 0;
  lab.disk.openFile = (path, options) => {
    if (!path.startsWith("/checksums")) return openFile.call(lab.disk, path, options);
    tries++;
    throw Object.assign(new Error("EMFILE"), { syscall: "open" });
  };
  lab.work(3);
  t.is(tries, 1);
  lab.disk.openFile = openFile;
  lab.work(5);
  t.is(lab.covered(), 150_000);
});

test("files of the log that were deleted meanwhile are passed over", (t) => {
  const lab = new Lab();
  lab.append(100_000);
  lab.flush();
  lab.work();
  lab.append(3 * FILE_SIZE);
  lab.flush();
  for (const base of [0, FILE_SIZE]) lab.disk.names.remove(Lab.path("log", base));
  lab.log.setOffset(shared.MIN_OFFSET, 2 * FILE_SIZE);
  lab.checksums = lab.make();
  lab.work();
  t.is(lab.table(FILE_SIZE), undefined);
  t.is(lab.table(2 * FILE_SIZE)?.coveredSize(3), FILE_SIZE - 3 * CHECKSUM_BLOCK_SIZE);
  t.is(lab.table(3 * FILE_SIZE)?.coveredSize(1), 100_000 - CHECKSUM_BLOCK_SIZE);
});

test("a cut of the log forgets what stands behind it, and says how much that is", (t) => {
  const lab = new Lab();
  lab.append(100_000);
  lab.flush();
  lab.work();
  lab.append(2 * FILE_SIZE);
  lab.flush();
  lab.work();
  const end = FILE_SIZE + 70_000;
  t.is(cutChecksums(lab.disk.names, "/checksums", FILE_SIZE, FILE_SIZE, 2 * FILE_SIZE + 100_000), 0);
  t.is(lab.table(0), undefined, "deleted with its log file");
  t.is(cutChecksums(lab.disk.names, "/checksums", FILE_SIZE, FILE_SIZE, end), FILE_SIZE + 30_000);
  t.is(lab.table(2 * FILE_SIZE), undefined);
  const table = lab.table(FILE_SIZE)!;
  t.deepEqual(
    Array.from({ length: table.blockCount }, (_, block) => table.coveredSize(block)),
    [CHECKSUM_BLOCK_SIZE, 0, 0, 0],
  );
  lab.log.setOffset(shared.APPENDED_OFFSET, end);
  lab.append(60_000);
  lab.flush();
  lab.checksums = lab.make();
  lab.work();
  t.is(lab.table(FILE_SIZE)!.coveredSize(1), 130_000 - CHECKSUM_BLOCK_SIZE);
  t.not(lab.covered(), -1);
});

test("a time that no clock can show, left by a damaged record, covers like any other", (t) => {
  const lab = new Lab();
  lab.append(70_000);
  lab.flush();
  lab.log.setOffset(shared.LAST_STORE_TIMESTAMP, 2 ** 50);
  lab.work();
  t.is(lab.covered(), 70_000);
  t.is(lab.table(0)!.coveredAt(1), 2 ** 32 - 1);
});

test("a block's time never goes back: what it had covered before would look younger, and so like another broker's writing", (t) => {
  const lab = new Lab();
  lab.append(10_000);
  lab.flush();
  lab.log.setOffset(shared.LAST_STORE_TIMESTAMP, 1_800_000_000_000);
  lab.work();
  lab.append(10_000);
  lab.flush();
  lab.log.setOffset(shared.LAST_STORE_TIMESTAMP, 1_700_000_000_000); // A start of today.
  lab.checksums = lab.make();
  lab.work();
  t.deepEqual([lab.table(0)!.coveredSize(0), lab.table(0)!.coveredAt(0)], [20_000, 1_800_000_000]);
});

test("a block that somebody else has written to anew is not continued: its old checksum would be given out as a new one", (t) => {
  const lab = new Lab();
  lab.append(10_000);
  lab.flush();
  lab.work();
  const [crc, coveredAt] = [lab.table(0)!.crc(0), lab.table(0)!.coveredAt(0)];
  lab.disk.bytesOf(Lab.path("log", 0)).fill(0x33, 5000, 10_000);
  lab.append(60_000);
  lab.flush();
  lab.checksums = lab.make();
  lab.work();
  const table = lab.table(0)!;
  t.deepEqual([table.coveredSize(0), table.crc(0), table.coveredAt(0)], [10_000, crc, coveredAt]);
  t.is(table.coveredSize(1), 70_000 - CHECKSUM_BLOCK_SIZE);
  lab.append(10_000);
  lab.flush();
  lab.work();
  t.is(lab.table(0)!.coveredSize(0), 10_000);
  t.is(lab.table(0)!.coveredSize(1), 80_000 - CHECKSUM_BLOCK_SIZE);
});

test("a file that is deleted while it is being covered is let go, and with it its disk space", (t) => {
  const lab = new Lab();
  lab.checksums = lab.make(10_000);
  lab.append(1);
  lab.flush();
  lab.work(1);
  lab.append(2 * FILE_SIZE);
  lab.flush();
  lab.work(2);
  t.true(lab.table(0)!.coveredSize(0) > 0 && lab.table(0)!.coveredSize(1) === 0);
  lab.log.setOffset(shared.MIN_OFFSET, FILE_SIZE);
  for (const directory of ["log", "checksums"]) lab.disk.names.remove(Lab.path(directory, 0));
  lab.work(1);
  t.true(lab.table(FILE_SIZE)!.coveredSize(0) > 0);
});

test("a start goes on where checksums can be neither read nor written: they are removed", (t) => {
  const lab = new Lab();
  lab.append(150_000);
  lab.flush();
  const cut = (names: FileNames): number => cutChecksums(names, "/checksums", FILE_SIZE, 0, 90_000);
  lab.work();
  const fail = (): never => {
    throw new MillraceError("MILLRACE_STORE_FULL", "no room");
  };
  t.is(cut({ ...lab.disk.names, writeSmall: fail }), 60_000);
  t.is(lab.table(0), undefined);
  lab.checksums = lab.make();
  lab.work();
  t.is(lab.covered(), 150_000);
  t.is(cut({ ...lab.disk.names, readSmall: fail }), 0);
  t.is(lab.table(0), undefined);
});
