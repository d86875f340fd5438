import { spawnSync } from "node:child_process";
import { closeSync, fsyncSync, globSync, openSync, statSync } from "node:fs";
import { join } from "node:path";
import { ffiDrive } from "../../src/os/ffi.ts";

/** What is asked about at once, bytes. */
const SAMPLE_SIZE = 65_536;
/** Every so many of them. */
const SAMPLE_EVERY = 8;

/**
 * Makes the system forget the files of these directories, as far as nobody has them mapped: they are on the disk alone then. Needs
 * no rights but those of their owner, and dd, which knows posix_fadvise.
 * @returns share of them that is in memory still
 * @throws Error where dd cannot
 */
export function dropFromMemory(...directories: readonly string[]): number {
  let asked = 0;
  let resident = 0;
  for (const path of directories.flatMap((directory) => globSync(join(directory, "**/*")))) {
    const stat = statSync(path);
    if (!stat.isFile() || stat.blocks === 0) continue;
    const fd = openSync(path, "r");
    fsyncSync(fd);
    closeSync(fd);
    const { status, stderr } = spawnSync("dd", [`if=${path}`, "iflag=nocache", "count=0", "status=none"], { encoding: "utf8" });
    if (status !== 0) throw new Error(`dd, which is to drop ${path} from memory: ${stderr}`);
    const file = ffiDrive.openFile(path, { size: stat.size, writable: false });
    for (let at = 0; at + SAMPLE_SIZE <= stat.size; at += SAMPLE_SIZE * SAMPLE_EVERY) {
      asked++;
      if (file.isResident(at, SAMPLE_SIZE)) resident++;
    }
    file.close();
  }
  return asked === 0 ? 0 : resident / asked;
}
