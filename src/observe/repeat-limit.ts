import type { Clock } from "../base/clock.ts";

/** A line of one text may appear this often in one window; what is beyond is counted only. */
const REPEATS_PER_WINDOW = 10;
const WINDOW_MS = 10_000;
/** Texts are constants of the source; more than this many means that somebody built figures into them. */
const TEXTS_MAX = 1000;

interface Window {
  startMs: number;
  count: number;
}

/**
 * Keeps one failing connection or disk from filling the log: of equal texts, ten lines in ten seconds
 * pass. How many were held back is told with the next line that passes, and by `takeHeldBack`.
 */
export class RepeatLimit {
  readonly #clock: Clock;
  #windows = new Map<string, Window>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** @returns how many equal lines were held back since the last that passed, or -1: hold this one back */
  pass(text: string): number {
    const now = this.#clock.now();
    const window = this.#windows.get(text);
    if (window !== undefined && now - window.startMs < WINDOW_MS) {
      window.count++;
      return window.count > REPEATS_PER_WINDOW ? -1 : 0;
    }
    const heldBack = window === undefined ? 0 : heldBackOf(window);
    if (window === undefined && this.#windows.size >= TEXTS_MAX) this.#windows.clear();
    this.#windows.set(text, { startMs: now, count: 1 });
    return heldBack;
  }

  /** Texts with lines held back and not yet told, and how many; forgets them. */
  takeHeldBack(): [text: string, count: number][] {
    const told: [string, number][] = [];
    for (const [text, window] of this.#windows) if (heldBackOf(window) > 0) told.push([text, heldBackOf(window)]);
    this.#windows.clear();
    return told;
  }
}

function heldBackOf(window: Window): number {
  return Math.max(0, window.count - REPEATS_PER_WINDOW);
}
