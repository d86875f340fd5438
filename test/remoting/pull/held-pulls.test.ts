import test from "ava";
import { HeldPulls } from "../../../src/remoting/pull/held-pulls.ts";
import type { PullRequest } from "../../../src/remoting/pull/pull-path.ts";

// Goal: a held pull is given out by its slot or by its deadline, once, and nothing of it is left behind then.
const TICK_MS = 100;
const START_MS = 1_000_000;

function pull(slot: number, deadlineMs: number): PullRequest {
  return { slot, deadlineMs, tick: 0, tickAt: 0, nextHeld: undefined, previousHeld: undefined } as PullRequest;
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

test("pulls of one slot whose deadlines are in the other order cost no more than those in order", (t) => {
  const held = new HeldPulls();
  const count = 100_000;
  const steps = { next: 0 };
  const counted = (deadlineMs: number): PullRequest => {
    const request = pull(1, deadlineMs);
    let next: PullRequest | undefined;
    Object.defineProperty(request, "nextHeld", {
      get: () => {
        steps.next++;
        return next;
      },
      set: (to: PullRequest | undefined) => {
        next = to;
      },
    });
    return request;
  };
  held.takeExpired(START_MS, () => t.fail());
  for (let i = 0; i < count; i++) held.add(counted(START_MS + 1000 + 15_000 - Math.floor((15_000 * i) / count)));
  let expired = 0;
  for (let nowMs = START_MS; nowMs <= START_MS + 17_000; nowMs += TICK_MS) held.takeExpired(nowMs, () => expired++);
  t.is(expired, count);
  t.is(held.size, 0);
  t.true(steps.next <= 4 * count, `${steps.next} looks at what comes next`);
});

test("a pull that is held before the first look at the deadlines, and was due by then, is given out by it", (t) => {
  const held = new HeldPulls();
  const request = pull(1, START_MS + 1);
  held.add(request);
  const expired: PullRequest[] = [];
  held.takeExpired(START_MS + 5 * TICK_MS, (due) => expired.push(due));
  t.deepEqual(expired, [request]);
});
