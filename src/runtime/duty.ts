import { saveCompileCache } from "../base/compile-cache.ts";
import { shrinkHeap } from "../base/heap.ts";
import * as shared from "../format/shared/shared-words.ts";
import type { Doorbell } from "../ring/doorbell.ts";
import type { SharedLog } from "../store/shared-log.ts";

/** The work of one thread that parks between rounds. */
export interface Duty {
  /** One round. @returns true if more is to be done at once */
  work(): boolean;
  /** Nothing has happened for a while: memory that only makes work faster is let go of. */
  rest?(): void;
  /** After the last round. */
  close(): void;
}

/** Threads stop in this order, each when STOPPING has reached its number and nothing is left for it. */
export const STOP_WRITER = 1;
export const STOP_INDEXERS = 2;
export const STOP_FLUSHER = 3;

/** A thread that naps is not rung for every batch; it is for one that somebody waits for (`wake`). */
export interface NapPlan {
  /** Length of one nap, ms. */
  napMs: number;
  /** While each nap is followed by work the next is twice as long, up to this: a nap costs more than what is done after it. Default: napMs. */
  napMsMax?: number;
  /** Naps without work after which the thread parks for good. */
  napCount: number;
}

const NO_NAPS: NapPlan = { napMs: 0, napCount: 0 };
/** A thread that was not rung for so long gives its garbage back, ms. */
const QUIET_MS = 3000;

/**
 * Runs the duty until the engine stops. The thread serves nothing else meanwhile: messages posted to it are
 * read by the duty itself, and worker.terminate() still ends it.
 * @param idleMs longest park; rounds that depend on time alone come this often
 */
export function runDuty(
  duty: Duty,
  doorbell: Doorbell,
  log: SharedLog,
  stopStage: number,
  idleMs: number,
  naps: NapPlan = NO_NAPS,
): void {
  saveCompileCache();
  let napsLeft = 0;
  let { napMs } = naps;
  const napMsMax = naps.napMsMax ?? napMs;
  let hasWorked = false;
  let quietMs = 0;
  for (;;) {
    const seen = doorbell.seen();
    const isStopping = Atomics.load(log.words, shared.STOPPING) >= stopStage;
    if (duty.work()) {
      napsLeft = naps.napCount;
      hasWorked = true;
      continue;
    }
    if (isStopping) break;
    if (napsLeft-- > 0) {
      doorbell.nap(seen, napMs);
      napMs = hasWorked ? Math.min(2 * napMs, napMsMax) : naps.napMs;
      hasWorked = false;
    } else {
      doorbell.park(seen, idleMs);
      const wasQuiet = quietMs >= QUIET_MS;
      quietMs = doorbell.seen() === seen ? quietMs + idleMs : 0;
      if (!wasQuiet && quietMs >= QUIET_MS) {
        duty.rest?.();
        shrinkHeap();
      }
    }
  }
  duty.close();
}
