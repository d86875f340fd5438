/** How long a rest is, µs. The system adds some 50. */
export const REST_US = 250;
/** Length of a window in which work is counted, with or without rests, ms. */
const WINDOW_MS = 4;
/** A window that took longer was disturbed by others; so is the one behind it, which catches up. */
const WINDOW_MS_MAX = 8;
/** After such a window it is not known any more who sends, ms. */
const QUIET_MS = 100;
/** So many windows in a row that tell nothing end the rests: they may be what disturbs, where others take the processor meanwhile. */
const DISTURBED_MAX = 8;
/** How often the clock is looked at without rests, turns. */
const LOOK_TURNS = 64;
/** Resting pays where so many pieces of work would come during one rest, at least ... */
const WORK_PER_REST_MIN = 3;
/** ... and not where so many come together without. */
const WORK_PER_TURN_MAX = 12;
/** Pairs of windows that a trial takes, and after which a clear loss ends it. */
const TRIAL_PAIRS = 12;
const TRIAL_PAIRS_MIN = 2;
/** Work with rests, as a share of that without: below it a trial has failed, at once or at its end, and later. */
const CLEAR_LOSS = 0.75;
const SHARE_MIN = 0.94;
const SHARE_MIN_LATER = 0.9;
/** Without so much less turns for the same work rests are no use. */
const TURNS_SHARE_MAX = 0.8;
/** Rested windows for each one without rests, once rests are found to be harmless. */
const RESTED_WINDOWS = 15;
/** What was counted counts so much less with each pair. */
const FADING = 0.9;
/** Time to the next trial after one that has failed: twice the one before, ms. */
const PAUSE_MS_MIN = 250;
const PAUSE_MS_MAX = 4000;

/**
 * Whether an I/O worker rests before it waits for its sockets again, so that requests gather: one turn then serves several,
 * and most of what a request costs that comes alone is the turn. Clients that wait for their answers would send less for it,
 * clients that send by a clock of their own would not, and nothing in their bytes tells them apart. So it is tried: short
 * windows with rests and without by turns, and the work done in them is compared. Rests go on only while no work is lost
 * by them, and a window without tells ever again.
 */
export class TurnPace {
  readonly #work: () => number;
  readonly #now: () => number;
  #isResting = false;
  #isTrial = false;
  /** Of the present window. */
  #hasRests = false;
  #wasDisturbed = false;
  /** Windows in a row that were not counted. */
  #disturbed = 0;
  #windowMs: number;
  #windowWork: number;
  #turns = 0;
  /** Since the last window without rests. */
  #restedWindows = 0;
  #pairs = 0;
  readonly #with = { ms: 0, work: 0, turns: 0 };
  readonly #without = { ms: 0, work: 0, turns: 0 };
  #pauseMs = PAUSE_MS_MIN;
  #nextTrialMs: number;

  /**
   * @param work  pieces of work done so far: requests taken, messages handed out
   * @param now  ms, with fractions
   */
  constructor(work: () => number, now: () => number) {
    this.#work = work;
    this.#now = now;
    this.#windowMs = now();
    this.#windowWork = work();
    this.#nextTrialMs = this.#windowMs + PAUSE_MS_MIN;
  }

  /** At the end of each turn. @returns how long to rest, µs; 0: not at all */
  restUs(): number {
    this.#turns++;
    if (!this.#isResting) {
      if (this.#turns >= LOOK_TURNS) this.#look();
      return this.#hasRests ? REST_US : 0;
    }
    const nowMs = this.#now();
    if (nowMs - this.#windowMs >= WINDOW_MS) this.#endWindow(nowMs);
    return this.#hasRests ? REST_US : 0;
  }

  /** Whether a trial is worth its while. */
  #look(): void {
    const nowMs = this.#now();
    const work = this.#work() - this.#windowWork;
    const workPerRest = (work / (nowMs - this.#windowMs)) * (REST_US / 1000);
    const isWorthwhile = workPerRest >= WORK_PER_REST_MIN && work <= WORK_PER_TURN_MAX * this.#turns;
    this.#begin(nowMs);
    if (!isWorthwhile || nowMs < this.#nextTrialMs) return;
    this.#isResting = true;
    this.#isTrial = true;
    this.#wasDisturbed = false;
    this.#disturbed = 0;
    this.#restedWindows = 0;
    this.#pairs = 0;
    clear(this.#with);
    clear(this.#without);
  }

  #begin(nowMs: number): void {
    this.#windowMs = nowMs;
    this.#windowWork = this.#work();
    this.#turns = 0;
  }

  #endWindow(nowMs: number): void {
    const ms = nowMs - this.#windowMs;
    const isDisturbed = ms > WINDOW_MS_MAX;
    if (ms > QUIET_MS)
      this.#leave(nowMs, PAUSE_MS_MIN); // Who comes now is another.
    else if (!isDisturbed && !this.#wasDisturbed) {
      this.#disturbed = 0;
      this.#count(nowMs, ms);
    } else if (++this.#disturbed >= DISTURBED_MAX) this.#giveUp(nowMs);
    this.#wasDisturbed = isDisturbed;
    this.#begin(nowMs);
  }

  #count(nowMs: number, ms: number): void {
    const hadRests = this.#hasRests;
    const sum = hadRests ? this.#with : this.#without;
    sum.ms += ms;
    sum.work += this.#work() - this.#windowWork;
    sum.turns += this.#turns;
    this.#restedWindows = hadRests ? this.#restedWindows + 1 : 0;
    this.#hasRests = this.#restedWindows < (this.#isTrial ? 1 : RESTED_WINDOWS);
    // A trial begins with a window without rests, what comes after it with one that has them.
    if (hadRests === this.#isTrial) this.#judge(nowMs);
  }

  #judge(nowMs: number): void {
    this.#pairs++;
    const rested = this.#with;
    const plain = this.#without;
    const share = rested.work / rested.ms / (plain.work / plain.ms);
    if (this.#isTrial) {
      if (this.#pairs >= TRIAL_PAIRS_MIN && share < CLEAR_LOSS) this.#giveUp(nowMs);
      else if (this.#pairs >= TRIAL_PAIRS) {
        const turnsShare = rested.turns / rested.work / (plain.turns / plain.work);
        if (share < SHARE_MIN || turnsShare > TURNS_SHARE_MAX) this.#giveUp(nowMs);
        else this.#accept();
      }
      return;
    }
    const isIdle = (rested.work / rested.ms) * (REST_US / 1000) < WORK_PER_REST_MIN;
    if (isIdle || !(share >= SHARE_MIN_LATER)) this.#giveUp(nowMs);
    fade(rested);
    fade(plain);
  }

  #accept(): void {
    this.#isTrial = false;
    this.#pauseMs = PAUSE_MS_MIN;
  }

  #giveUp(nowMs: number): void {
    this.#leave(nowMs, this.#pauseMs);
    this.#pauseMs = Math.min(2 * this.#pauseMs, PAUSE_MS_MAX);
  }

  #leave(nowMs: number, pauseMs: number): void {
    this.#isResting = false;
    this.#hasRests = false;
    this.#nextTrialMs = nowMs + pauseMs;
  }
}

interface Sum {
  ms: number;
  work: number;
  turns: number;
}

function clear(sum: Sum): void {
  sum.ms = 0;
  sum.work = 0;
  sum.turns = 0;
}

function fade(sum: Sum): void {
  sum.ms *= FADING;
  sum.work *= FADING;
  sum.turns *= FADING;
}
