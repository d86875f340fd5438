import type { Clock } from "../base/clock.ts";

/**
 * Waits for `promise`, but no longer than `limitMs`; leaves no timer behind, which would keep a process
 * from ending. Rejects if the promise does, in time.
 * @returns whether the promise was settled in time
 */
export function within(clock: Clock, promise: Promise<unknown>, limitMs: number): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const timer = clock.setTimer(() => resolve(false), limitMs);
    promise.then(
      () => {
        timer.cancel();
        resolve(true);
      },
      (error: unknown) => {
        timer.cancel();
        reject(error);
      },
    );
  });
}
