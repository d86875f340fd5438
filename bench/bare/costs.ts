import { closeSync, fdatasyncSync, openSync, rmSync, writeSync } from "node:fs";
import { join } from "node:path";
import type { Table } from "../report/html.ts";
import { spreadOf, spreadText } from "../report/median.ts";

/** What nobody on this machine can go below. CPU of this process, user and system. */
export interface Costs {
  /** Copying memory that is in no cache. */
  copySecondsPerGigabyte: number;
  /** Writes of 64 KiB into new pages of the page cache. */
  pageCacheSecondsPerGigabyte: number;
  /** Appends of 4 KiB, each with its fdatasync, by the second of wall-clock time. */
  flushesPerSecond: number;
}

const COPY_SIZE = 67_108_864;
const WRITE_SIZE = 65_536;
const PAGE_SIZE = 4096;

export function measureCosts(directory: string, isSmoke: boolean): Costs {
  const goal = isSmoke ? 2 * COPY_SIZE : 8 * COPY_SIZE;
  const source = Buffer.alloc(COPY_SIZE, "s");
  const target = Buffer.alloc(COPY_SIZE, "t");
  const copy = cpuSecondsOf(() => {
    for (let done = 0; done < goal; done += COPY_SIZE) source.copy(target);
  });
  const path = join(directory, "cost");
  const fd = openSync(path, "w");
  const block = source.subarray(0, WRITE_SIZE);
  const write = cpuSecondsOf(() => {
    for (let done = 0; done < goal; done += WRITE_SIZE) writeSync(fd, block);
  });
  closeSync(fd);
  rmSync(path);
  return {
    copySecondsPerGigabyte: (1e9 * copy) / goal,
    pageCacheSecondsPerGigabyte: (1e9 * write) / goal,
    flushesPerSecond: flushRate(path, isSmoke ? 50 : 1000),
  };
}

export function costTable(costs: readonly Costs[]): Table {
  const row = (title: string, of: (cost: Costs) => number): string[] => [title, spreadText(spreadOf(costs.map(of)))];
  return {
    head: ["", ""],
    rows: [
      row("copy in memory, CPU-s/GB", ({ copySecondsPerGigabyte }) => copySecondsPerGigabyte),
      row("write to the page cache, CPU-s/GB", ({ pageCacheSecondsPerGigabyte }) => pageCacheSecondsPerGigabyte),
      row("append 4 KiB and fdatasync, by the second", ({ flushesPerSecond }) => flushesPerSecond),
    ],
  };
}

function cpuSecondsOf(work: () => void): number {
  const before = process.cpuUsage();
  work();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1e6;
}

function flushRate(path: string, ms: number): number {
  const fd = openSync(path, "w");
  const page = Buffer.alloc(PAGE_SIZE, "x");
  const started = performance.now();
  let count = 0;
  while (performance.now() - started < ms) {
    writeSync(fd, page);
    fdatasyncSync(fd);
    count++;
  }
  const elapsed = performance.now() - started;
  closeSync(fd);
  rmSync(path);
  return (1000 * count) / elapsed;
}
