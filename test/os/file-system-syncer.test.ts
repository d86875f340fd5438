// A whole file system brought to its disk: works, reports nothing where nothing failed, and holds one descriptor while open.
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "ava";
import { chooseDrive } from "../../src/os/choose.ts";

const onLinux = process.platform === "linux" ? test : test.skip;

onLinux("syncs as often as asked, and gives its descriptor back", async (t) => {
  const root = mkdtempSync(join(tmpdir(), "millrace-"));
  t.teardown(() => rmSync(root, { recursive: true, force: true }));
  const { drive } = await chooseDrive(false);
  if (drive.fileSystemSyncer === undefined) return t.is(drive.name, "native-free");
  const before = readdirSync("/proc/self/fd").length;
  const syncer = drive.fileSystemSyncer(root);
  for (let i = 0; i < 3; i++) {
    writeFileSync(join(root, `${i}`), "text");
    t.notThrows(() => syncer.sync());
  }
  syncer.close();
  t.is(readdirSync("/proc/self/fd").length, before);
  t.throws(() => drive.fileSystemSyncer!(join(root, "nosuch")));
});
