import { SystemClock, type Timer } from "../base/clock.ts";
import { shrinkHeap } from "../base/heap.ts";
import type { DriveName } from "../os/api.ts";

const LOOK_MS = 1000;
/** Below this share of a core nothing happens. */
const IDLE_SHARE = 0.1;
/** Looks, all idle, after which it is done: at once, and again, since a start that had to share its cores seems over before it is. */
const ROUNDS: readonly number[] = [1, 6];
/** Looks after which what this did itself is over, and does not count as work. */
const OWN_LOOKS = 2;

/**
 * Gives memory of an idle process back to the system: twice after the start, and twice after each time of work. Heaps keep
 * what they grew by, and every page of a mapped file that was ever touched counts, Node's own program before all.
 */
export class IdleMemory {
  readonly #ticker: Timer;
  readonly #shrinkOthers: () => void;
  readonly #dropPages: () => void;
  #usage = process.cpuUsage();
  #ownLooks = 0;
  #idleLooks = 0;

  /** @param shrinkOthers tells the other threads that run an event loop; those that park see to themselves */
  static async start(drive: DriveName, shrinkOthers: () => void): Promise<IdleMemory> {
    if (drive !== "ffi") return new IdleMemory(shrinkOthers, () => {});
    const { dropProgramPages } = await import("../os/program-pages.ts");
    return new IdleMemory(shrinkOthers, dropProgramPages);
  }

  private constructor(shrinkOthers: () => void, dropPages: () => void) {
    this.#shrinkOthers = shrinkOthers;
    this.#dropPages = dropPages;
    this.#ticker = new SystemClock(false).setTicker(() => this.#look(), LOOK_MS);
  }

  #look(): void {
    const { user, system } = process.cpuUsage(this.#usage);
    this.#usage = process.cpuUsage();
    const isIdle = user + system < IDLE_SHARE * LOOK_MS * 1000;
    if (this.#ownLooks > 0) {
      if (--this.#ownLooks === 0) this.#dropPages(); // The collectors' own code was needed until now.
      return;
    }
    this.#idleLooks = isIdle ? this.#idleLooks + 1 : 0;
    if (ROUNDS.includes(this.#idleLooks)) {
      this.#ownLooks = OWN_LOOKS;
      this.#shrinkOthers();
      shrinkHeap();
    }
  }

  stop(): void {
    this.#ticker.cancel();
  }
}
