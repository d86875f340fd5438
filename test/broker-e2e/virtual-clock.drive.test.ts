// Goal: a virtual clock takes a broker through weeks in a moment, and what is due on the way happens in order.
import { performance } from "node:perf_hooks";
import test from "ava";
import { VirtualClock } from "../../src/base/clock.ts";
import { decodeMessages } from "../../src/format/record/message.ts";
import { Lab } from "./lab.ts";
import type { RawClient } from "./raw-client.ts";
import * as ask from "./requests.ts";

const TOPIC = "Virtual";
const GROUP = "virtual-g";
/** Well below 1000 on a machine that does nothing else. */
const REAL_MS_MAX = 20_000;
const STEPS_MAX = 200;
/** Of the delay levels 3 to 18, s. */
const LEVELS_S = [10, 30, 60, 120, 180, 240, 300, 360, 420, 480, 540, 600, 1200, 1800, 3600, 7200];
const GIVEN_UP_TOPIC = "TRANS_CHECK_MAX_TIME_TOPIC";
/** Between two tries. */
const STEP_S = 7201;

/** How many instants virtual clocks stop at meanwhile. */
async function stepsOf(work: () => Promise<void>): Promise<number> {
  let steps = 0;
  const { step } = VirtualClock.prototype;
  VirtualClock.prototype.step = function (this: VirtualClock, ...args) {
    steps++;
    return step.apply(this, args);
  };
  try {
    await work();
  } finally {
    VirtualClock.prototype.step = step;
  }
  return steps;
}

async function stored(client: RawClient, topic: string): Promise<number> {
  return Number((await client.ask(ask.MAX_OFFSET, { topic, queueId: 0 })).extFields["offset"] ?? 0);
}

function send(client: RawClient, body: string, properties: Record<string, string>): Promise<unknown> {
  return client.ask(
    ask.SEND_V2,
    ask.sendHeaderV2({ topic: TOPIC, properties: { UNIQ_KEY: body, ...properties } }),
    Buffer.from(body),
  );
}

test.serial("a delay of 30 days is over in a moment", async (t) => {
  const lab = new Lab(t);
  const broker = await lab.start({ clock: "virtual", config: { timerMaxDelaySec: 40 * 86_400 } });
  const client = await lab.raw();
  await client.ask(ask.CREATE_TOPIC, ask.topicHeader(TOPIC, 1));
  await send(client, "month", { TIMER_DELAY_SEC: String(30 * 86_400) });
  await send(client, "day", { TIMER_DELAY_SEC: "86400" });
  await send(client, "level", { DELAY: "18" });
  await send(client, "second", { TIMER_DELAY_MS: "1000" });
  t.is(await stored(client, TOPIC), 0);
  await broker.advance("1h59m59s");
  t.is(await stored(client, TOPIC), 1);
  await broker.advance("2s");
  t.is(await stored(client, TOPIC), 2);
  const start = performance.now();
  const steps = await stepsOf(() => broker.advance("30d"));
  const elapsedMs = performance.now() - start;
  t.true(elapsedMs < REAL_MS_MAX, `${elapsedMs} ms`);
  // What happens on the way, not what might: every 5 s something to save, for one, would be half a million.
  t.true(steps < STEPS_MAX, `${steps} steps`);
  const answer = await client.ask(ask.PULL, ask.pullHeader({ group: GROUP, topic: TOPIC }));
  const messages = decodeMessages(answer.body);
  t.deepEqual(messages.map(({ body }) => body.toString()), ["second", "level", "day", "month"]); // biome-ignore format: one claim.
  const [second, , , month] = messages.map(({ storeTimestamp }) => storeTimestamp);
  t.true(Math.abs(month! - second! - 30 * 86_400_000) <= 2000, "stored at its own instant");
});

test("16 retries, each later than the one before, and then the dead letters, in a moment", async (t) => {
  const lab = new Lab(t);
  const broker = await lab.start({ clock: "virtual" });
  const client = await lab.raw();
  await client.ask(ask.CREATE_TOPIC, ask.topicHeader(TOPIC, 1));
  await send(client, "poison", {});
  const start = performance.now();
  const waits: number[] = [];
  let topic = TOPIC;
  let offset = 0;
  let last = 0;
  for (let attempt = 0; attempt <= 16; attempt++) {
    await broker.advance(0);
    const answer = await client.ask(ask.PULL, ask.pullHeader({ group: GROUP, topic, offset }));
    const [message] = decodeMessages(answer.body);
    t.is(message?.reconsumeTimes, attempt, answer.remark ?? "");
    if (attempt > 0) waits.push(Math.round((message!.storeTimestamp - last) / 1000));
    last = message!.storeTimestamp;
    const back = { group: GROUP, offset: message!.physicalOffset, delayLevel: 0, originMsgId: "poison", originTopic: TOPIC };
    t.is((await client.ask(ask.SEND_BACK, back)).code, 0);
    topic = `%RETRY%${GROUP}`;
    offset = attempt;
    if (attempt < 16) await broker.advance("2h1s");
  }
  const elapsedMs = performance.now() - start;
  t.true(elapsedMs < REAL_MS_MAX, `${elapsedMs} ms`);
  const wanted = LEVELS_S.map((level, i) => (i === 0 ? level : STEP_S - LEVELS_S[i - 1]! + level));
  for (const [i, wait] of waits.entries()) t.true(Math.abs(wait - wanted[i]!) <= 1, `retry ${i + 1} after ${wait} s`);
  t.is(waits.length, 16);
  await broker.advance(0);
  t.is(await stored(client, `%DLQ%${GROUP}`), 1);
});

test("15 questions about a transaction that nobody decides, and then it is given up, in a moment", async (t) => {
  const lab = new Lab(t);
  const broker = await lab.start({ clock: "virtual" });
  const client = await lab.raw();
  await client.ask(ask.CREATE_TOPIC, ask.topicHeader(TOPIC, 1));
  const start = performance.now();
  const half = ask.sendHeaderV2({ topic: TOPIC, properties: { UNIQ_KEY: "half", TRAN_MSG: "true", PGROUP: "undecided" } });
  // Born now: what is older than fileReservedTime is given up without a question.
  t.is((await client.ask(ask.SEND_V2, { ...half, g: Date.now() }, Buffer.from("half"))).code, 0);
  await broker.advance("7m30s");
  t.is(await stored(client, GIVEN_UP_TOPIC), 0, "15 rounds of 30 s: it has been asked about each time");
  await broker.advance("1m");
  const elapsedMs = performance.now() - start;
  t.true(elapsedMs < REAL_MS_MAX, `${elapsedMs} ms`);
  t.log(`${Math.round(elapsedMs)} ms`);
  const answer = await client.ask(ask.PULL, ask.pullHeader({ group: GROUP, topic: GIVEN_UP_TOPIC }));
  const given = decodeMessages(answer.body);
  t.is(given.length, 1);
  t.is(given[0]!.properties.get("TRANSACTION_CHECK_TIMES"), "15");
  t.is(await stored(client, TOPIC), 0);
});

test("what is no length of time, or no virtual clock, is refused", async (t) => {
  const lab = new Lab(t);
  const virtual = await lab.start({ clock: "virtual" });
  for (const wrong of ["soon", "", "-1s", "1w", -1, Number.NaN]) {
    await t.throwsAsync(virtual.advance(wrong), { code: "MILLRACE_CONFIG_INVALID" });
  }
  const real = await lab.start();
  await t.throwsAsync(real.advance("1s"), { code: "MILLRACE_CONFIG_INVALID" });
});
