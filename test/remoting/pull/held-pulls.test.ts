import test from "ava";
import { HeldPulls } from "../../../src/remoting/pull/held-pulls.ts";
import type { PullRequest } from "../../../src/remoting/pull/pull-path.ts";

// Goal: a held pull is given out by its slot or by its deadline, once, and nothing of it is left behind then.
const TICK_MS = 100;
const START_MS = 1_000_000;

function pull(slot: number, deadlineMs: number): PullRequest {
  return { slot, deadlineMs, tick: 0, tickAt: 0, nextHeld: undefined } as PullRequest;
}

function areSame(left: PullRequest[], right: PullRequest[]): boolean {
  const known = new Set(left);
  return left.length === right.length && right.every((request) => known.has(request));
}

test("pulls leave by their slots or by their deadlines, as a plain list has it", (t) => {
  let seed = 7;
  const random = (below: number): number => {
    seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0;
    return Math.floor((seed / 2 ** 32) * below);
  };
  const held = new HeldPulls();
  const model = new Set<PullRequest>();
  let nowMs = START_MS;
  held.takeExpired(nowMs, () => t.fail());
  for (let step = 0; step < 20_000; step++) {
    const choice = random(10);
    if (choice < 5) {
      const request = pull(random(8), nowMs + TICK_MS + random(3000));
      held.add(request);
      model.add(request);
    } else if (choice < 9) {
      const slot = random(8);
      const expected = [...model].filter((request) => request.slot === slot);
      const taken: PullRequest[] = [];
      for (let at = held.takeSlot(slot); at !== undefined; at = at.nextHeld) taken.push(at);
      t.true(areSame(taken, expected));
      for (const request of taken) {
        request.nextHeld = undefined;
        if (random(3) === 0) held.add(request);
        else {
          held.settle(request);
          model.delete(request);
        }
      }
    } else {
      nowMs += random(20) === 0 ? 60_000 : random(250);
      const tickMs = Math.floor(nowMs / TICK_MS) * TICK_MS;
      const expected = [...model].filter(({ deadlineMs }) => deadlineMs <= tickMs);
      const expired: PullRequest[] = [];
      held.takeExpired(nowMs, (request) => expired.push(request));
      t.true(areSame(expired, expected));
      for (const request of expired) model.delete(request);
    }
    if (held.size !== model.size || held.timedCount !== model.size) t.fail(`${held.size}, ${held.timedCount} of ${model.size}`);
  }
});
