// Indexing the keys of log records, and asking for them, in files of the default shape; on both drives.
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { SystemClock } from "../../src/base/clock.ts";
import { INDEX_SHAPE_DEFAULT } from "../../src/format/files/index-file.ts";
import { encodeMessage, PHYSICAL_OFFSET_OFFSET, RECORD_SIZE_MIN, writeInt64 } from "../../src/format/record/message.ts";
import { chooseDrive } from "../../src/os/choose.ts";
import { KeyIndex } from "../../src/store/index/key-index.ts";
import { KeyIndexBuilder } from "../../src/store/index/key-index-builder.ts";
import { KeyIndexReader } from "../../src/store/index/key-index-reader.ts";
import { runBench } from "./harness.ts";

const KEY_DIGITS = 8;
const PUBLISH_EVERY = 1000;
const UNIQUE_KEY = "FD0000000000000000000000000000019C2D4E0E2F2A";
const record = encodeMessage({
  topic: "TopicTest",
  queueId: 0,
  flag: 0,
  sysFlag: 0,
  bornTimestamp: 1,
  bornHost: "127.0.0.1:1",
  storeHost: "127.0.0.1:2",
  reconsumeTimes: 0,
  preparedTransactionOffset: 0,
  properties: `KEYS\u0001${"0".repeat(KEY_DIGITS)}\u0002UNIQ_KEY\u0001${UNIQUE_KEY}\u0002WAIT\u0001true\u0002TAGS\u0001TagA\u0002`,
  body: Buffer.alloc(1024),
  bodyCrc: 0,
});
const keyAt = record.indexOf("KEYS\u0001") + 5;
const uniqueKeyAt = record.indexOf(UNIQUE_KEY);
writeInt64(record, Date.now(), RECORD_SIZE_MIN - 91 + 56);

const root = fs.mkdtempSync(path.join(os.tmpdir(), "millrace-bench-"));
const tasks: Record<string, () => void> = {};
const closers: (() => void)[] = [];
let work = 0;
for (const isNativeFree of [false, true]) {
  const { drive } = await chooseDrive(isNativeFree);
  const directory = path.join(root, drive.name + isNativeFree);
  const index = new KeyIndex({
    drive,
    directory,
    shape: INDEX_SHAPE_DEFAULT,
    clock: new SystemClock(),
    logEnd: Number.MAX_SAFE_INTEGER,
  });
  const builder = new KeyIndexBuilder(index);
  const reader = new KeyIndexReader(drive, directory, INDEX_SHAPE_DEFAULT);
  let count = 0;
  tasks[`${drive.name}: index one record, 3 keys`] = () => {
    count++;
    record.write(String(count).padStart(KEY_DIGITS, "0"), keyAt, "latin1");
    record.copy(record, uniqueKeyAt, keyAt, keyAt + KEY_DIGITS);
    writeInt64(record, count * record.length, PHYSICAL_OFFSET_OFFSET);
    builder.addRecord(record, 0);
    if (count % PUBLISH_EVERY === 0) index.publish();
    work += count;
  };
  tasks[`${drive.name}: query a key`] = () => {
    work += reader.query("TopicTest", "00000001", 32, 0, Number.MAX_SAFE_INTEGER).physicalOffsets.length;
  };
  closers.push(() => {
    reader.close();
    index.close();
  });
}
await runBench("key index", tasks, () => work);
for (const close of closers) close();
fs.rmSync(root, { recursive: true });
