import type { HeaderValues } from "../../../src/format/remoting/remoting-command.ts";
import { Recorder } from "../recorder.ts";
import { beat, consumer, subscription } from "./clients.ts";
import { makeTopic, pull, readable, send } from "./messages.ts";

const TOPIC = "fi-T";
const GROUP = "fi-g";

/** Filters by SQL92 expressions: which are refused, which messages they let pass, and when. */
export async function filters(r: Recorder): Promise<void> {
  await makeTopic(r, TOPIC, 2);
  const sent: Readonly<Record<string, string>>[] = [
    { a: "1", b: "x" },
    { a: "5", b: "it's", TAGS: "A" },
    { a: "+5", c: "true" },
    { a: "5.0", b: "é" },
    { b: "xyz", c: "TRUE" },
    { a: "9007199254740993" },
  ];
  for (const properties of sent)
    await send(r, TOPIC, JSON.stringify(properties), { properties: { UNIQ_KEY: "U", ...properties } });
  await readable(r, TOPIC, 0, sent.length);
  await r.ask("admin", 25, {}, { body: "enablePropertyFilter=true" });

  await checks(r);
  r.note("in the request");
  for (const expression of EXPRESSIONS) await sql(r, expression);
  await sql(r, "a > 1", { maxMsgNums: 1 });
  await sql(r, "a > 1", { queueOffset: 3 });
  await sql(r, "");
  await sql(r, "a >");
  await sql(r, "TRUE", { expressionType: "OTHER" });
  await sql(r, "TRUE", { expressionType: "" });

  await registered(r);
  await held(r);
  await retried(r);

  r.note("not enabled");
  await r.ask("admin", 25, {}, { body: "enablePropertyFilter=false" });
  await sql(r, "a > 1");
  await sql(r, "");
  await sql(r, "a >");
}

const EXPRESSIONS = [
  "a > 1",
  "a >= 5 AND a <= 5",
  "a > 1.5 OR c = TRUE",
  "a = 5",
  "a <> 5",
  "a BETWEEN 1 AND 5",
  "a NOT BETWEEN 2 AND 7",
  "b IN ('x', 'it''s')",
  "b NOT IN ('x')",
  "b IS NULL",
  "b IS NOT NULL AND NOT (a = 1)",
  "b CONTAINS 'y'",
  "b NOT STARTSWITH 'x'",
  "b ENDSWITH 'é'",
  "TAGS = 'A'",
  "UNIQ_KEY = 'U'",
  "a = 9007199254740993",
  "a = 9007199254740992",
  "a = b",
  "c",
  "TRUE",
  "NULL",
];

function sql(r: Recorder, expression: string, more: HeaderValues = {}): Promise<unknown> {
  return pull(r, GROUP, TOPIC, { expressionType: "SQL92", subscription: expression, ...more });
}

async function checks(r: Recorder): Promise<void> {
  r.note("asked before");
  const check = (subscriptionData?: object): Promise<unknown> =>
    r.ask(
      "x",
      46,
      {},
      { body: { clientId: "x", group: GROUP, ...(subscriptionData === undefined ? {} : { subscriptionData }) } },
    );
  for (const subString of ["a > 1", "a >", "a > 'x'", "a = #", "", "a > 1 b", "a = 99999999999999999999", "(a = 1"])
    await check(subscription({ topic: TOPIC, subString, expressionType: "SQL92" }));
  await check(subscription({ topic: TOPIC, subString: "a > 1", expressionType: "OTHER" }));
  await check(subscription({ topic: TOPIC, subString: "A", expressionType: "" }));
  await check();
}

async function registered(r: Recorder): Promise<void> {
  r.note("by the heart-beat's subscription");
  const known = { sysFlag: 0, subscription: undefined, expressionType: undefined, subVersion: 5 };
  const beats = (subString: string, subVersion: number, expressionType = "SQL92"): Promise<unknown> =>
    beat(r, "f1", [consumer(GROUP, [subscription({ topic: TOPIC, subString, subVersion, expressionType })])]);
  await beats("a = 5", 5);
  await r.settle();
  await pull(r, GROUP, TOPIC, known);
  await pull(r, GROUP, TOPIC, { ...known, subVersion: 4 });
  await pull(r, GROUP, TOPIC, { ...known, subVersion: 6 });
  await beats("a = 1", 5);
  await pull(r, GROUP, TOPIC, known);
  await beats("a = 1", 7);
  await pull(r, GROUP, TOPIC, { ...known, subVersion: 7 });
  await beats("a =", 8);
  await pull(r, GROUP, TOPIC, { ...known, subVersion: 8 });
  await beats("b IS NULL", 9);
  await pull(r, GROUP, TOPIC, { ...known, subVersion: 9 });
  await beats("A", 10, "TAG");
  await pull(r, GROUP, TOPIC, { ...known, subVersion: 10 });
  await r.hangUp("f1");
  await pull(r, GROUP, TOPIC, { ...known, subVersion: 9 });
}

async function held(r: Recorder): Promise<void> {
  r.note("held");
  const waits = { queueId: 1, sysFlag: 6, suspendTimeoutMillis: 10_000 };
  const waiting = sql(r, "a > 1", waits);
  await r.wait(100);
  const other = new Recorder(r.address, 0);
  await send(other, TOPIC, "does not wake", { header: { queueId: 1 }, properties: { UNIQ_KEY: "U", a: "1" } });
  await other.wait(200);
  await send(other, TOPIC, "wakes", { header: { queueId: 1 }, properties: { UNIQ_KEY: "U", a: "2" } });
  await other.close();
  await waiting;
  await r.wait(200); // Millrace hands a message out before its queue has the entry.
  await sql(r, "a > 2", { queueId: 1, sysFlag: 6, suspendTimeoutMillis: 300 });
}

/** The retry topic, with the expression that the group has for the topic which the messages came from. */
async function retried(r: Recorder): Promise<void> {
  r.note("retry topics");
  const group = "fi-r";
  const retry = `%RETRY%${group}`;
  await beat(r, "f2", [
    consumer(group, [
      subscription({ topic: TOPIC, subString: "a = 5", subVersion: 5, expressionType: "SQL92" }),
      subscription({ topic: retry, subString: "a = 1", subVersion: 5, expressionType: "SQL92" }),
    ]),
  ]);
  await r.settle();
  for (const a of ["1", "5"]) await send(r, retry, `again ${a}`, { properties: { UNIQ_KEY: "U", RETRY_TOPIC: TOPIC, a } });
  await send(r, retry, "of another", { properties: { UNIQ_KEY: "U", RETRY_TOPIC: "fi-U", a: "7" } });
  await readable(r, retry, 0, 3);
  const known = { sysFlag: 0, subscription: undefined, expressionType: undefined, subVersion: 5 };
  await pull(r, group, retry, known);
  await r.ask("admin", 25, {}, { body: "filterSupportRetry=true" });
  await pull(r, group, retry, known);
  await r.ask("admin", 25, {}, { body: "filterSupportRetry=false" });
  await r.hangUp("f2");
}
