import fs from "node:fs";
import koffi from "koffi";

const libc = koffi.load(null);
const madvise = libc.func("int madvise(uintptr_t addr, size_t length, int advice)");
const MADV_DONTNEED = 4;

interface Range {
  start: number;
  size: number;
}

let program: Range[] | undefined;
let trim: (() => number) | undefined;

/**
 * Lets go of the pages of Node's own program file (code and constants: some 60 MB after a start, most of it only needed
 * for that), and of free memory that malloc keeps. Pages that are used again come back from the page cache.
 */
export function dropProgramPages(): void {
  trim ??= mallocTrim();
  trim();
  program ??= unwrittenRanges(process.execPath, fs.readFileSync("/proc/self/smaps", "latin1"));
  for (const { start, size } of program) madvise(start, size, MADV_DONTNEED);
}

/** glibc's; other C libraries do without. */
function mallocTrim(): () => number {
  try {
    const call = libc.func("int malloc_trim(size_t pad)");
    return () => call(0) as number;
  } catch {
    return () => 0;
  }
}

/**
 * Where `file` is mapped as the loader did it, as far as it cannot be written and no page of it is our own copy: only there
 * what is dropped is read again as it was. V8 maps parts of it again for each thread; those go with their thread, and are left.
 */
export function unwrittenRanges(file: string, smaps: string): Range[] {
  const ranges: Range[] = [];
  let last: (Range & { isWritable: boolean }) | undefined;
  let hasBegun = false;
  for (const line of smaps.split("\n")) {
    const head = /^([0-9a-f]+)-([0-9a-f]+) (\S{4}) [0-9a-f]+ \S+ \d+\s+(.*)$/.exec(line);
    if (head !== null) {
      const [, from, to, rights, path] = head;
      const start = Number.parseInt(from!, 16);
      const isNext = path === file && (!hasBegun || (last !== undefined && last.start + last.size === start));
      last = isNext ? { start, size: Number.parseInt(to!, 16) - start, isWritable: rights![1] === "w" } : undefined;
      if (isNext) hasBegun = true;
    } else if (last !== undefined && !last.isWritable && /^Anonymous:\s+0 kB/.test(line)) {
      ranges.push({ start: last.start, size: last.size });
    }
  }
  return ranges;
}
