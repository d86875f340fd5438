import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "ava";
import { ENTRY_SIZE, writeEntry } from "../../../src/format/files/consume-queue.ts";
import { loadDrive } from "../../../src/os/choose.ts";
import { ConsumeQueue, queueDirectory } from "../../../src/store/queue/consume-queue.ts";
import { QueueEntries } from "../../../src/store/queue/queue-entries.ts";

const FILE_SIZE = 6_000_000;

// Goal: what was never written is stepped over in few reads, and nothing that was written with it.
for (const name of ["ffi", "native-free"] as const) {
  test(`${name}: the end of entries that were never written`, async (t) => {
    const store = { consumeQueue: mkdtempSync(join(tmpdir(), "queue-entries-")), queueFileSize: FILE_SIZE };
    t.teardown(() => rmSync(store.consumeQueue, { recursive: true, force: true }));
    const drive = await loadDrive(name);
    const queue = new ConsumeQueue(drive, queueDirectory(store.consumeQueue, "t", 0), FILE_SIZE, true);
    const entry = Buffer.alloc(ENTRY_SIZE);
    writeEntry(entry, 0, 4096, 200, 7);
    const written = [0, 1, 5, 255, 300, 9_000, 250_000, 299_999];
    for (const queueOffset of written) queue.write(queueOffset, entry, 0, ENTRY_SIZE);
    queue.close();
    const entries = new QueueEntries(drive, store, { topic: "t", queueId: 0, bases: [0] });
    const found: number[] = [];
    let loads = 0;
    for (let queueOffset = 0; queueOffset < entries.entriesPerFile; loads++) {
      t.true(entries.load(queueOffset));
      if (entries.isZero) queueOffset = entries.zerosEnd(queueOffset);
      else found.push(queueOffset++);
    }
    entries.close();
    t.deepEqual(found, written);
    t.true(loads < 30_000, `${loads} entries looked at`);
  });
}
