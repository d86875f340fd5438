import { setTimeout as sleep } from "node:timers/promises";

/** Long enough for a machine that is busy with others. */
const LIMIT_MS = 60_000;
const OFTEN_COUNT = 100;

/** Waits until `condition` holds. @throws with what `state` says when it does not within a minute */
export async function until(
  condition: () => boolean | Promise<boolean>,
  state: () => string = () => "condition not met",
): Promise<void> {
  const deadline = performance.now() + LIMIT_MS;
  for (let tries = 0; !(await condition()); tries++) {
    if (performance.now() > deadline) throw new Error(`${state()} (waited ${LIMIT_MS} ms)`);
    await sleep(tries < OFTEN_COUNT ? 1 : 20);
  }
}
