// Goal: only pages that the system can read again as they were are let go of.
// Method: a made-up /proc/self/smaps with what must be left alone beside what may go; then the real one, in this process.
import { readFileSync } from "node:fs";
import test from "ava";
import { dropProgramPages, unwrittenRanges } from "../../src/os/program-pages.ts";

const mapping = (range: string, rights: string, path: string, anonymous: number): string =>
  `${range} ${rights} 00000000 fe:00 ${path === "" ? 0 : 17}                  ${path}\nRss: 64 kB\nAnonymous: ${anonymous} kB\n`;

test("takes what cannot be written and was not, of the program as it was loaded", (t) => {
  const smaps =
    mapping("00400000-00402000", "r--p", "/bin/node", 0) +
    mapping("00402000-00406000", "r-xp", "/bin/node", 0) +
    mapping("00406000-00407000", "r--p", "/bin/node", 4) + // Relocated by the loader.
    mapping("00407000-00408000", "rw-p", "/bin/node", 0) +
    mapping("00500000-00501000", "rw-p", "", 4) +
    mapping("7f0000000000-7f0000002000", "r-xp", "/bin/node", 0) + // V8's, of a thread that may end.
    mapping("7f0000010000-7f0000012000", "r-xp", "/lib/libc.so", 0);
  t.deepEqual(unwrittenRanges("/bin/node", smaps), [
    { start: 0x400000, size: 0x2000 },
    { start: 0x402000, size: 0x4000 },
  ]);
});

if (process.platform === "linux") {
  test("the process goes on, and has less in memory", (t) => {
    const fileKb = (): number => Number(/^RssFile:\s+(\d+)/m.exec(readFileSync("/proc/self/status", "latin1"))![1]);
    const before = fileKb();
    dropProgramPages();
    t.true(fileKb() < before);
    t.is(JSON.parse(JSON.stringify({ text: "x".repeat(1000) })).text.length, 1000);
  });
}
