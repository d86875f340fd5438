// Goal: what a killed broker leaves in memory is taken away by the next start, and nothing that anybody still has.
// Method: directories as brokers leave them, beside those of a live one and of others.
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import test from "ava";
import { nameHolder, openLockFile, releaseHolder } from "../../src/os/store-lock.ts";
import { makeMemoryDirectory } from "../../src/runtime/memory-store.ts";

test("directories of the dead go, those of the living and of strangers stay", (t) => {
  const root = fs.mkdtempSync(path.join(os.tmpdir(), "millrace-memory-"));
  t.teardown(() => fs.rmSync(root, { recursive: true, force: true }));
  const own = makeMemoryDirectory(root);
  const namespace = path.basename(own).split("-")[2]!;
  const dead = spawnSync(process.execPath, ["-e", ""]).pid;
  const make = (name: string, lock?: string): string => {
    const made = path.join(root, name);
    fs.mkdirSync(path.join(made, "commitlog"), { recursive: true });
    if (lock !== undefined) fs.writeFileSync(path.join(made, "lock"), lock);
    return made;
  };
  const gone = [
    make(`millrace-${dead}-${namespace}-aaaaaa`),
    make(`millrace-${dead}-${namespace}-bbbbbb`, `lock pid=${dead} start=12345\n`),
  ];
  const held = make(`millrace-${dead}-${namespace}-dddddd`);
  const lockFile = path.join(held, "lock");
  const fd = openLockFile(lockFile);
  nameHolder(lockFile, fd);
  const kept = [
    own,
    held,
    // Start times differ between time namespaces: a living process of that number may be its holder.
    make(`millrace-${process.pid}-${namespace}-cccccc`, `lock pid=${process.pid} start=1\n`),
    make(`millrace-${dead}-${namespace}-iiiiii`, `lock pid=${process.pid} start=1\n`),
    make(`millrace-${process.pid}-${namespace}-eeeeee`),
    make(`millrace-${dead}-${Number(namespace) + 1}-ffffff`),
    make("millrace-gggggg"),
    make(`else-${dead}-${namespace}-hhhhhh`),
  ];
  // A pipe that nobody writes to must not be waited for.
  const piped = make(`millrace-${dead}-${namespace}-jjjjjj`);
  spawnSync("mkfifo", [path.join(piped, "lock")]);
  gone.push(piped);
  const next = makeMemoryDirectory(root);
  t.deepEqual(gone.filter((directory) => fs.existsSync(directory)), []); // biome-ignore format: one claim.
  t.deepEqual(fs.readdirSync(root).toSorted(), [...kept, next].map((directory) => path.basename(directory)).toSorted());
  releaseHolder(lockFile, fd);
  makeMemoryDirectory(root);
  t.false(fs.existsSync(held), "once it is let go of");
});
