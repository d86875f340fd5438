// Where the native CRC overtakes the table: what NATIVE_SIZE_MIN in base/crc32.ts should be.
import zlib from "node:zlib";
import { crc32ByTable, nativeCrc32 } from "../../src/base/crc32.ts";
import { runBench } from "./harness.ts";

const bytes = Buffer.alloc(70_000, "crc32 of a body ");
let work = 0;
const tasks: Record<string, () => void> = {};
for (const size of [64, 128, 256, 512, 1024, 4096, 65_536]) {
  tasks[`${size} B, table`] = () => {
    work += crc32ByTable(bytes, 100, 100 + size);
  };
  tasks[`${size} B, native`] = () => {
    work += nativeCrc32(bytes, 100, 100 + size);
  };
  tasks[`${size} B, zlib.crc32`] = () => {
    work += zlib.crc32(bytes.subarray(100, 100 + size));
  };
}
await runBench("CRC-32", tasks, () => work);
