import fsSync from "node:fs";
import fs from "node:fs/promises";
import path from "node:path";
import { readSmallFile, storeError, syncDirectory as syncDirectoryNow, writeSmallFile } from "./files.ts";

/**
 * Replaces a small file so that after a crash at any instant either the old or the new content is whole
 * under its name, and keeps the old one as `<file>.bak`. Resolves once the disk has it. Does not block the
 * thread. One call at a time for a file.
 * @throws MillraceError MILLRACE_STORE_IO, MILLRACE_STORE_FULL, MILLRACE_STORE_UNWRITABLE
 */
export async function replaceFile(file: string, bytes: Buffer): Promise<void> {
  const temporary = `${file}.tmp`;
  const backup = `${file}.bak`;
  try {
    await fs.mkdir(path.dirname(file), { recursive: true });
    await writeAndSync(temporary, bytes);
    await keepAs(file, backup);
    await fs.rename(temporary, file);
    await syncDirectory(path.dirname(file));
  } catch (error) {
    throw storeError(error, "replace", file);
  }
}

/**
 * As `replaceFile`, but blocks the thread until the disk has it; for the end of a process, when nobody waits any more.
 * May run beside a `replaceFile` of the same file.
 * @throws MillraceError MILLRACE_STORE_IO, MILLRACE_STORE_FULL, MILLRACE_STORE_UNWRITABLE
 */
export function replaceFileNow(file: string, bytes: Buffer): void {
  const temporary = `${file}.now`;
  const backup = `${file}.bak`;
  try {
    fsSync.mkdirSync(path.dirname(file), { recursive: true });
    writeSmallFile(temporary, bytes);
    // As a second name: `file` keeps its own meanwhile, and a crash here loses nothing.
    if (fsSync.existsSync(file)) {
      fsSync.rmSync(backup, { force: true });
      try {
        fsSync.linkSync(file, backup);
      } catch {
        fsSync.copyFileSync(file, backup); // File systems without hard links.
      }
    }
    fsSync.renameSync(temporary, file);
    syncDirectoryNow(path.dirname(file));
  } catch (error) {
    throw storeError(error, "replace", file);
  }
}

/**
 * Reads what `replaceFile` wrote: `parse` of the file, or of its `.bak` where the file is missing or
 * `parse` throws. undefined when there is neither. `onFallback` hears why the backup was taken.
 * @throws what `parse` throws for the file, when the backup is no better
 */
export function readReplacedFile<T>(
  file: string,
  parse: (bytes: Buffer) => T,
  onFallback: (reason: string) => void,
): T | undefined {
  const bytes = readSmallFile(file);
  const backup = readSmallFile(`${file}.bak`);
  let fault: Error | undefined;
  if (bytes !== undefined) {
    try {
      return parse(bytes);
    } catch (error) {
      fault = error as Error;
    }
  }
  if (backup === undefined) {
    if (fault !== undefined) throw fault;
    return undefined;
  }
  let parsed: T;
  try {
    parsed = parse(backup);
  } catch (error) {
    throw fault ?? error;
  }
  onFallback(fault?.message ?? "the file is missing");
  return parsed;
}

async function writeAndSync(file: string, bytes: Buffer): Promise<void> {
  const handle = await fs.open(file, "w", 0o644);
  try {
    await handle.writeFile(bytes);
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** `file` keeps its name meanwhile: a crash here loses nothing. */
async function keepAs(file: string, backup: string): Promise<void> {
  await fs.rm(backup, { force: true });
  try {
    await fs.link(file, backup);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT") return;
    // File systems without hard links.
    await fs.copyFile(file, backup);
  }
}

async function syncDirectory(directory: string): Promise<void> {
  const handle = await fs.open(directory, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
