import test from "ava";
import { TurnPace } from "../../../src/remoting/transport/turn-pace.ts";

// Goal: an I/O worker rests between turns while that costs its clients no work, and only then.
/** Tells when requests come, ms: the times up to now, and, for clients that wait, what answers bring about. */
interface Clients {
  /** Takes those that have come. @returns how many */
  take(nowMs: number): number;
  nextMs(): number;
  answered(count: number, nowMs: number): void;
}

const TURN_MS = 0.02;
const REQUEST_MS = 0.005;
const CLIENT_MS = 0.008;
/** What the system adds to a rest. */
const SLACK_MS = 0.05;

/** They send by the clock. */
function byClock(perMs: number): Clients {
  let sent = 0;
  return {
    take(nowMs) {
      const due = Math.floor(nowMs * perMs);
      const count = due - sent;
      sent = due;
      return count;
    },
    nextMs: () => (sent + 1) / perMs,
    answered: () => {},
  };
}

/** Each sends when it has its answer; they share a processor. */
function waiting(count: number): Clients {
  const times = Array.from({ length: count }, (_, i) => i * CLIENT_MS);
  return {
    take(nowMs) {
      const from = times.findIndex((time) => time > nowMs);
      return times.splice(0, from < 0 ? times.length : from).length;
    },
    nextMs: () => times[0] ?? Number.POSITIVE_INFINITY,
    answered(answers, nowMs) {
      let at = Math.max(nowMs, times.at(-1) ?? 0);
      for (let i = 0; i < answers; i++) times.push((at += CLIENT_MS));
    },
  };
}

interface Outcome {
  work: number;
  turns: number;
  rests: number;
}

/** @param stallMs  how long another takes the processor, every 23 ms */
function run(clients: Clients, ms: number, isPaced: boolean, stallMs = 0, fromMs = 0): Outcome {
  let nowMs = fromMs;
  let stallAtMs = fromMs + 23;
  const outcome = { work: 0, turns: 0, rests: 0 };
  const pace = new TurnPace(
    () => outcome.work,
    () => nowMs,
  );
  while (nowMs < fromMs + ms) {
    const restUs = isPaced ? pace.restUs() : 0;
    if (restUs > 0) {
      nowMs += restUs / 1000 + SLACK_MS;
      outcome.rests++;
    }
    nowMs = Math.max(nowMs, clients.nextMs() + 1e-9);
    if (nowMs > stallAtMs) {
      nowMs += stallMs;
      stallAtMs = nowMs + 23;
    }
    const count = clients.take(nowMs);
    nowMs += TURN_MS + count * REQUEST_MS;
    outcome.work += count;
    outcome.turns++;
    clients.answered(count, nowMs);
  }
  return outcome;
}

for (const stallMs of [0, 5]) {
  test(`requests that come by the clock are gathered, stalls of ${stallMs} ms`, (t) => {
    const plain = run(byClock(40), 4000, false, stallMs);
    const paced = run(byClock(40), 4000, true, stallMs);
    t.true(paced.turns < 0.5 * plain.turns, `${paced.turns} turns for ${plain.turns}`);
    t.true(Math.abs(paced.work - plain.work) <= 300);
  });

  for (const count of [1, 2, 4, 8, 16]) {
    test(`${count} clients that wait for their answers are not held up, stalls of ${stallMs} ms`, (t) => {
      const plain = run(waiting(count), 20_000, false, stallMs);
      const paced = run(waiting(count), 20_000, true, stallMs);
      t.true(paced.work >= 0.98 * plain.work, `${paced.work} for ${plain.work}, with ${paced.rests} rests`);
    });
  }
}

test("few requests are not gathered", (t) => {
  t.is(run(byClock(2), 5000, true).rests, 0);
});

test("when clients that wait come in place of those that do not, rests end soon", (t) => {
  const clock = byClock(40);
  const waiters = waiting(1);
  const isClock = (): boolean => nowMs < 1000;
  let nowMs = 0;
  const both: Clients = {
    take(now) {
      nowMs = now;
      return isClock() ? clock.take(now) : waiters.take(now);
    },
    nextMs: () => (isClock() ? clock.nextMs() : waiters.nextMs()),
    answered: (count, now) => (isClock() ? undefined : waiters.answered(count, now)),
  };
  const paced = run(both, 3000, true);
  const plain = run(waiting(1), 2000, false);
  t.true(paced.rests > 1000);
  t.true(paced.work - 40_000 > 0.85 * plain.work, `${paced.work - 40_000} for ${plain.work}`);
});

test("rests end where others take the processor during each, so that no window with rests can be compared", (t) => {
  let nowMs = 0;
  let work = 0;
  const pace = new TurnPace(
    () => work,
    () => nowMs,
  );
  let rests = 0;
  while (nowMs < 20_000) {
    if (pace.restUs() > 0) {
      rests++;
      nowMs += 9;
    }
    nowMs += 0.05;
    work++;
  }
  t.true(rests > 0);
  t.true(9 * rests < 0.2 * 20_000, `${rests} rests of 9 ms`);
});
