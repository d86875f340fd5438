import path from "node:path";
import { MillraceError } from "../base/errors.ts";
import { fileSize, listDirectory, removeFile } from "../os/files.ts";

/** Name of a log-like file: 20 decimal digits, the offset of its first byte. Source: Apache `UtilAll.offset2FileName`. */
export function fileName(base: number): string {
  return String(base).padStart(20, "0");
}

export function basePath(directory: string, base: number): string {
  return path.join(directory, fileName(base));
}

/**
 * First offsets of the files in `directory`, ascending. An empty last file, left by a crash, is removed.
 * @throws MillraceError MILLRACE_STORE_CORRUPT on a file of another size, or a gap
 */
export function listBases(directory: string, size: number): number[] {
  const names = listDirectory(directory).filter((name) => /^\d{20}$/.test(name));
  const bases: number[] = [];
  for (const [i, name] of names.entries()) {
    const file = path.join(directory, name);
    const found = fileSize(file);
    if (found === 0 && i === names.length - 1) {
      removeFile(file);
      continue;
    }
    if (found !== size) {
      const text = `${file} has ${found} bytes, but the configured file size is ${size}`;
      throw new MillraceError("MILLRACE_STORE_CORRUPT", text, { file, found, size });
    }
    const base = Number(name);
    const before = bases.at(-1);
    if (before !== undefined && base !== before + size) {
      throw new MillraceError("MILLRACE_STORE_CORRUPT", `files are missing before ${file}`, { file, before });
    }
    bases.push(base);
  }
  return bases;
}
