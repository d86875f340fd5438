// Goal: a thread that naps between batches sleeps longer while they come steadily, and not where one comes now and then.
import test from "ava";
import * as shared from "../../src/format/shared/shared-words.ts";
import type { Doorbell } from "../../src/ring/doorbell.ts";
import { runDuty, STOP_INDEXERS } from "../../src/runtime/duty.ts";
import type { SharedLog } from "../../src/store/shared-log.ts";

/** Runs a duty that has work in the rounds of `plan` that say "w". @returns its naps ("n", ms) and parks ("p") */
function sleepsOf(plan: string, naps: { napMs: number; napMsMax?: number; napCount: number }): string[] {
  const words = new Int32Array(shared.STOPPING + 1);
  const sleeps: string[] = [];
  const doorbell = {
    seen: () => 0,
    nap: (_seen: number, ms: number) => sleeps.push(`n${ms}`),
    park: () => sleeps.push("p"),
  } as unknown as Doorbell;
  let round = 0;
  const duty = {
    work: () => {
      if (round === plan.length - 1) words[shared.STOPPING] = STOP_INDEXERS;
      return plan[round++] === "w";
    },
    rest: () => sleeps.push("rest"),
    close: () => sleeps.push("closed"),
  };
  runDuty(duty, doorbell, { words } as unknown as SharedLog, STOP_INDEXERS, 1000, naps);
  return sleeps;
}

test("naps grow while each is followed by work, and begin anew after one that was not", (t) => {
  const naps = { napMs: 1, napMsMax: 4, napCount: 3 };
  t.deepEqual(sleepsOf("w-w-w-w--w--", naps), ["n1", "n2", "n4", "n4", "n4", "n1", "n2", "closed"]);
  t.deepEqual(sleepsOf("-w-----", naps), ["p", "n1", "n2", "n1", "p", "p", "rest", "closed"]);
  t.deepEqual(sleepsOf("w-w-w--", { napMs: 1, napCount: 9 }), ["n1", "n1", "n1", "n1", "closed"]);
});

test("a thread that was not rung for three seconds lets go of memory, once until it is rung again", (t) => {
  t.deepEqual(sleepsOf("------", { napMs: 0, napCount: 0 }), ["p", "p", "p", "rest", "p", "p", "p", "closed"]);
});
