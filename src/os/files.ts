import fs from "node:fs";
import path from "node:path";
import { MillraceError } from "../base/errors.ts";
import type { FileNames } from "./api.ts";

/** Turns a Node file-system error into ours: no space is told apart from all other failures. */
export function storeError(error: unknown, action: string, file: string): MillraceError {
  const code = (error as NodeJS.ErrnoException).code ?? "";
  const text = error instanceof Error ? error.message : String(error);
  if (code === "ENOSPC" || code === "EDQUOT") {
    return new MillraceError("MILLRACE_STORE_FULL", `disk full: ${action} ${file}: ${text}`, { file }, error);
  }
  if (code === "EACCES" || code === "EROFS" || code === "EPERM") {
    return new MillraceError("MILLRACE_STORE_UNWRITABLE", `store not writable: ${action} ${file}: ${text}`, { file }, error);
  }
  return new MillraceError("MILLRACE_STORE_IO", `${action} ${file}: ${text}`, { file }, error);
}

/** Opens the file at exactly `size` bytes: creates it, or grows an empty one. */
export function openSized(file: string, size: number, writable: boolean): number {
  let fd = -1;
  try {
    fd = fs.openSync(file, writable ? fs.constants.O_RDWR | fs.constants.O_CREAT : fs.constants.O_RDONLY, 0o644);
    const found = fs.fstatSync(fd).size;
    if (found !== size) {
      if (found !== 0 || !writable) {
        throw new MillraceError("MILLRACE_STORE_CORRUPT", `${file} has ${found} bytes, expected ${size}`, { file, found, size });
      }
      fs.ftruncateSync(fd, size);
    }
    return fd;
  } catch (error) {
    if (fd >= 0) fs.closeSync(fd);
    throw error instanceof MillraceError ? error : storeError(error, "open", file);
  }
}

/** Creates the directory, and those above it that are missing. @param isDurable the new names shall be on the disk on return */
export function makeDirectory(directory: string, isDurable = true): void {
  if (fs.existsSync(directory)) return;
  try {
    const first = fs.mkdirSync(directory, { recursive: true });
    if (first === undefined || !isDurable) return; // Or another thread was faster.
    for (let made = path.resolve(directory); made.length >= path.resolve(first).length; made = path.dirname(made))
      syncDirectory(path.dirname(made));
  } catch (error) {
    throw storeError(error, "create directory", directory);
  }
}

/** fsync of a directory: makes created, renamed and removed names durable. */
export function syncDirectory(directory: string): void {
  const fd = fs.openSync(directory, fs.constants.O_RDONLY);
  try {
    fs.fsyncSync(fd);
  } finally {
    fs.closeSync(fd);
  }
}

/** Names in `directory`, sorted; empty when it does not exist. */
export function listDirectory(directory: string): string[] {
  try {
    return fs.readdirSync(directory).sort();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw storeError(error, "list", directory);
  }
}

export function fileSize(file: string): number {
  return fs.statSync(file).size;
}

/** How much of it is on the disk at most, without its holes, bytes. */
export function writtenSize(file: string): number {
  const { size, blocks } = fs.statSync(file);
  return Math.min(size, 512 * blocks);
}

export function fileExists(file: string): boolean {
  return fs.existsSync(file);
}

/** Gives a whole, synced file its final name, durably. @throws MillraceError MILLRACE_STORE_… */
export function renameFile(from: string, to: string): void {
  try {
    fs.renameSync(from, to);
    syncDirectory(path.dirname(to));
  } catch (error) {
    throw storeError(error, "rename", from);
  }
}

export function removeFile(file: string): void {
  fs.rmSync(file, { force: true });
}

/** Removes a file, which may be large, without blocking the thread. @throws MillraceError MILLRACE_STORE_… */
export async function removeFileLater(file: string): Promise<void> {
  try {
    await fs.promises.rm(file, { force: true });
  } catch (error) {
    throw storeError(error, "remove", file);
  }
}

export function removeTree(directory: string): void {
  fs.rmSync(directory, { recursive: true, force: true });
}

/** Last-modified time, ms since the epoch. */
export function modifiedMs(file: string): number {
  return fs.statSync(file).mtimeMs;
}

export function isSparseFile(file: string): boolean {
  const { blocks, size } = fs.statSync(file);
  return blocks * 512 < size;
}

export function readSmallFile(file: string): Buffer | undefined {
  try {
    return fs.readFileSync(file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw storeError(error, "read", file);
  }
}

/** Writes a small file in place and waits for the disk. */
export function writeSmallFile(file: string, bytes: Buffer): void {
  try {
    // Not emptied first: a crash in between must not leave less than there was.
    const fd = fs.openSync(file, fs.constants.O_RDWR | fs.constants.O_CREAT, 0o644);
    try {
      fs.writeSync(fd, bytes, 0, bytes.length, 0);
      fs.ftruncateSync(fd, bytes.length);
      fs.fsyncSync(fd);
    } finally {
      fs.closeSync(fd);
    }
  } catch (error) {
    throw storeError(error, "write", file);
  }
}

/** Descriptors that this process may hold; Infinity where the system does not tell. */
export function openFilesLimit(): number {
  try {
    const found = /^Max open files\s+(\d+)/m.exec(fs.readFileSync("/proc/self/limits", "latin1"));
    return found === null ? Number.POSITIVE_INFINITY : Number(found[1]);
  } catch {
    return Number.POSITIVE_INFINITY;
  }
}

/** Used share of the file system that holds `directory`, 0..1, and its free bytes. */
export function diskUse(directory: string): { usedRatio: number; freeBytes: number; totalBytes: number } {
  const { blocks, bavail, bfree, bsize } = fs.statfsSync(directory);
  const usable = blocks - bfree + bavail;
  return { usedRatio: usable === 0 ? 0 : (blocks - bfree) / usable, freeBytes: bavail * bsize, totalBytes: blocks * bsize };
}

export function syncFd(fd: number, file: string): void {
  try {
    fs.fdatasyncSync(fd);
  } catch (error) {
    throw storeError(error, "fdatasync", file);
  }
}

export function closeFd(fd: number): void {
  fs.closeSync(fd);
}

/** Cuts or grows a file; what is grown reads as zeros. Nobody may have it mapped. */
export function resizeFile(file: string, size: number): void {
  try {
    fs.truncateSync(file, size);
  } catch (error) {
    throw storeError(error, "resize", file);
  }
}

/** Whole or not at all when the process dies. When the machine dies it may be old, new or garbage: what is written has a checksum. */
function replaceSmallFile(file: string, bytes: Buffer): void {
  const temporary = `${file}.tmp`;
  try {
    fs.writeFileSync(temporary, bytes);
    fs.renameSync(temporary, file);
  } catch (error) {
    throw storeError(error, "replace", file);
  }
}

function syncFile(file: string): boolean {
  let fd: number;
  try {
    fd = fs.openSync(file, fs.constants.O_RDONLY);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return false;
    throw storeError(error, "open", file);
  }
  try {
    syncFd(fd, file);
  } finally {
    fs.closeSync(fd);
  }
  return true;
}

/** The real file system; both drives use it. */
export const realFileNames: FileNames = {
  exists: fileExists,
  size: fileSize,
  modifiedMs,
  isSparse: isSparseFile,
  list: listDirectory,
  makeDirectory,
  syncDirectory,
  syncFile,
  remove: removeFile,
  removeTree,
  resize: resizeFile,
  readSmall: readSmallFile,
  writeSmall: writeSmallFile,
  replaceSmall: replaceSmallFile,
};
