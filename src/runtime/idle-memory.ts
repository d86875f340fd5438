import { SystemClock, type Timer } from "../base/clock.ts";
import { shrinkHeap } from "../base/heap.ts";
import type { DriveName } from "../os/api.ts";

const LOOK_MS = 1000;
/** Below this share of a core nothing happens. */
const IDLE_SHARE = 0.1;
/** Looks after which what this did itself is over, and does not count as work. */
const OWN_LOOKS = 2;

/**
 * Gives memory of an idle process back to the system: once after the start, and once after each time of work. Heaps keep
 * what they grew by, and every page of a mapped file that was ever touched counts, Node's own program before all.
 */
export class IdleMemory {
  readonly #ticker: Timer;
  readonly #shrinkOthers: () => void;
  readonly #dropPages: () => void;
  #usage = process.cpuUsage();
  #ownLooks = 0;
  #isDone = false;

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
    if (!isIdle) this.#isDone = false;
    else if (!this.#isDone) {
      this.#isDone = true;
      this.#ownLooks = OWN_LOOKS;
      this.#shrinkOthers();
      shrinkHeap();
    }
  }

  stop(): void {
    this.#ticker.cancel();
  }
}
