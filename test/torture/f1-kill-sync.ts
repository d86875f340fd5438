import { killLoop } from "./kill-loop.ts";
import type { Scenario } from "./scenario.ts";

export const scenario: Scenario = {
  id: "F1",
  title: "kill -9 under 64 producers, SYNC_FLUSH: nothing acknowledged is lost, torn or out of order",
  run: (torture) => killLoop(torture, { flushDiskType: "SYNC_FLUSH", kills: 200, killsShort: 2 }),
};
