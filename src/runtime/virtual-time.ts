import { type Clock, monotonicMs, SystemClock, sleep, VirtualClock } from "../base/clock.ts";
import { MillraceError } from "../base/errors.ts";
import { TIMER_TOPIC } from "../broker/topics/system-topics.ts";
import type { Engine } from "./engine.ts";
import type { EngineStore } from "./engine-store.ts";
import type { IoPool } from "./io-pool.ts";
import type { TimerThread } from "./timer-thread.ts";

export interface VirtualTimeParts {
  clock: Clock;
  engine: Engine;
  store: EngineStore;
  timer: TimerThread | undefined;
  pool: IoPool;
}

const UNIT_MS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };
/** Real time after which a step counts as stuck. */
const SETTLE_MS_MAX = 30_000;
/** So long a leap keeps the event loop at most, ms. */
const TURN_MS = 20;
/** Turns of the event loop in which other threads are waited for without a pause. */
const EAGER_TURNS = 200;

/** Moves a broker's virtual clock from one instant at which something is due to the next, over all its threads. */
export class VirtualTime {
  readonly #o: VirtualTimeParts;
  #last: Promise<void> = Promise.resolve();

  constructor(parts: VirtualTimeParts) {
    this.#o = parts;
  }

  /** One leap after the other. @throws MillraceError MILLRACE_CONFIG_INVALID, MILLRACE_TIMEOUT */
  advance(by: number | string): Promise<void> {
    const { clock } = this.#o;
    const ms = typeof by === "number" ? by : durationOf(by);
    if (!(clock instanceof VirtualClock))
      return Promise.reject(new MillraceError("MILLRACE_CONFIG_INVALID", "only a virtual clock can be advanced"));
    if (!(ms >= 0 && Number.isFinite(ms)))
      return Promise.reject(new MillraceError("MILLRACE_CONFIG_INVALID", `${by} is no length of time, such as 30d or 1h30m`));
    const leap = this.#last.then(() => this.#leap(clock, ms));
    this.#last = leap.catch(() => {});
    return leap;
  }

  async #leap(clock: VirtualClock, ms: number): Promise<void> {
    const { store, timer, pool } = this.#o;
    await this.#settle(clock);
    const target = clock.now() + ms;
    let seen = -1;
    let turnedMs = monotonicMs();
    for (;;) {
      const end = store.maxPhysicalOffset();
      if (!clock.step(target, timer?.nextMs() ?? Number.POSITIVE_INFINITY, end !== seen)) break;
      seen = end;
      if (!this.#isQuiet(clock)) await this.#settle(clock);
      else if (monotonicMs() - turnedMs > TURN_MS) {
        // Others live on this thread, too: a client whose answer waits in its socket would give up instead of reading it.
        await new Promise<void>((resolve) => setImmediate(resolve));
        turnedMs = monotonicMs();
      }
    }
    clock.finish(target);
    await this.#settle(clock);
    pool.tick();
  }

  /** Nothing that was begun is under way, nothing that is stored is unknown to those who deliver it. */
  #isQuiet(clock: VirtualClock): boolean {
    const { store, timer } = this.#o;
    if (clock.isBusy || store.lane.inFlight > 0 || store.dispatchedOffset() < store.maxPhysicalOffset()) return false;
    return timer === undefined || timer.isDone(store.maxQueueOffset(TIMER_TOPIC, 0));
  }

  async #settle(clock: VirtualClock): Promise<void> {
    const { timer } = this.#o;
    const system = new SystemClock();
    const start = monotonicMs();
    for (let turn = 0, quiet = 0; quiet < 2; turn++) {
      quiet = this.#isQuiet(clock) ? quiet + 1 : 0;
      if (quiet === 0) timer?.wake();
      if (turn > EAGER_TURNS) await sleep(system, 1);
      else await new Promise<void>((resolve) => setImmediate(resolve));
      if (monotonicMs() - start > SETTLE_MS_MAX)
        throw new MillraceError("MILLRACE_TIMEOUT", "virtual time cannot go on: something that is due now does not end");
    }
  }
}

/** ms; NaN: the text is no length of time. */
function durationOf(text: string): number {
  if (!/^(\d+(ms|[smhd]))+$/.test(text)) return Number.NaN;
  let sum = 0;
  for (const [, count, unit] of text.matchAll(/(\d+)(ms|[smhd])/g)) sum += Number(count) * UNIT_MS[unit!]!;
  return sum;
}
