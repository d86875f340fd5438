import { killLoop } from "./kill-loop.ts";
import type { Scenario } from "./scenario.ts";

export const scenario: Scenario = {
  id: "F2",
  title: "kill -9 under 64 producers, ASYNC_FLUSH: the page cache outlives the process",
  run: (torture) => killLoop(torture, { flushDiskType: "ASYNC_FLUSH", kills: 200, killsShort: 2 }),
};
