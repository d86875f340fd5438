/**
 * What the timer thread and the control thread tell each other: float64 cells, written by the timer thread only, and one word,
 * written by the control thread. A doorbell of either follows.
 */
export const TIMER_WORDS_SIZE = 256;
/** Cells. */
export const TIMER_READ_MS = 0;
export const TIMER_QUEUE_OFFSET = 1;
export const TIMER_WAITING = 2;
export const TIMER_ENQUEUED = 3;
export const TIMER_DELIVERED = 4;
export const TIMER_LATE_P50 = 5;
export const TIMER_LATE_P99 = 6;
export const TIMER_LATE_MAX = 7;
export const TIMER_EARLY = 8;
/** With a virtual clock: the time up to which all is delivered, and when the next slot is over (Infinity: none waits). */
export const TIMER_DONE_MS = 9;
export const TIMER_NEXT_MS = 10;
/** int32 index: 1 = finish. */
export const TIMER_STOP = 60;
