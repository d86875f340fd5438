import path from "node:path";
import { MillraceError } from "../../base/errors.ts";
import type { FileNames } from "../../os/api.ts";

/** Name of a log-like file: 20 decimal digits, the offset of its first byte. Source: Apache `UtilAll.offset2FileName`. */
export function fileName(base: number): string {
  return String(base).padStart(20, "0");
}

export function basePath(directory: string, base: number): string {
  return path.join(directory, fileName(base));
}

const NAME = /^\d{20}$/;
/** Most files in a row that are taken for lost, and not for a log of somebody else. */
const MISSING_MAX = 64;

function sizeError(file: string, found: number, size: number): MillraceError {
  const text = `${file} has ${found} bytes, but the configured file size is ${size}`;
  return new MillraceError("MILLRACE_STORE_CORRUPT", text, { file, found, size });
}

/**
 * First offsets of the files in `directory`, ascending. An empty last file, left by a crash, is removed.
 * @throws MillraceError MILLRACE_STORE_CORRUPT on a file of another size, or a gap
 */
export function listBases(names: FileNames, directory: string, size: number): number[] {
  const found = names.list(directory).filter((name) => NAME.test(name));
  const bases: number[] = [];
  for (const [i, name] of found.entries()) {
    const file = path.join(directory, name);
    const actual = names.size(file);
    if (actual === 0 && i === found.length - 1) {
      names.remove(file);
      continue;
    }
    if (actual !== size) throw sizeError(file, actual, size);
    const base = Number(name);
    const before = bases.at(-1);
    if (before !== undefined && base !== before + size) {
      throw new MillraceError("MILLRACE_STORE_CORRUPT", `files are missing before ${file}`, { file, before });
    }
    bases.push(base);
  }
  return bases;
}

/**
 * As `listBases`, and makes whole what a power cut may leave: files that are short, and files that are missing between
 * others, become zeros where nothing is. What follows them stays. Nothing else runs.
 * @throws MillraceError MILLRACE_STORE_CORRUPT on a file that is too long, or does not begin at a multiple of `size`:
 *   the configured size is not that of this log
 */
export function repairBases(names: FileNames, directory: string, size: number): number[] {
  const found = names.list(directory).filter((name) => NAME.test(name));
  while (found.length > 0 && names.size(path.join(directory, found.at(-1)!)) === 0)
    names.remove(path.join(directory, found.pop()!));
  const bases: number[] = [];
  for (const name of found) {
    const file = path.join(directory, name);
    const base = Number(name);
    const actual = names.size(file);
    if (actual > size || base % size !== 0) throw sizeError(file, actual, size);
    if (actual < size) names.resize(file, size);
    const before = bases.at(-1) ?? base;
    if (base - before > MISSING_MAX * size) {
      const text = `more than ${MISSING_MAX} files are missing before ${file}`;
      throw new MillraceError("MILLRACE_STORE_CORRUPT", text, { file, before });
    }
    for (let missing = bases.length === 0 ? base : bases.at(-1)! + size; missing < base; missing += size) {
      names.writeSmall(basePath(directory, missing), Buffer.alloc(0));
      names.resize(basePath(directory, missing), size);
      bases.push(missing);
    }
    bases.push(base);
  }
  return bases;
}
