import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import test, { type ExecutionContext } from "ava";
import { startBroker } from "../../src/runtime/broker.ts";
import { DIFFERENCES } from "./differences.ts";
import { recordAll } from "./families.ts";
import type { HeaderForm } from "./recorder.ts";

/** What the broker of Apache RocketMQ 5.5.0 answered: a file for each family of requests. */
const RECORDED = path.join(import.meta.dirname, "apache-5.5.0");

const nativeFree = process.env["MILLRACE_DRIVE"] === "native-free";

/** One request and what came of it. */
interface Exchange {
  request: string;
  answers: string[];
}

function exchanges(lines: readonly string[]): Exchange[] {
  const all: Exchange[] = [];
  for (const line of lines) {
    if (line.startsWith("  ")) all.at(-1)?.answers.push(line);
    else if (line !== "") all.push({ request: line, answers: [] });
  }
  return all;
}

const ANSWER = /^ {2}(-?\d+) (\*|"(?:[^"\\]|\\.)*")(.*)$/;
/** Names of states are read by programs; sentences are for people, and ours are our own. */
const STATE_NAME = /^"[A-Z_]*"$/;

/** Codes, fields and bodies have to agree. Where Apache's broker stumbles over a request, any refusal will do. */
function agree(ours: readonly string[], theirs: readonly string[]): boolean {
  if (theirs.length === 1 && theirs[0]!.startsWith("  1 *")) return ours.length === 1 && !ours[0]!.startsWith("  0 ");
  return ours.length === theirs.length && theirs.every((line, index) => comparable(line) === comparable(ours[index]!));
}

function comparable(line: string): string {
  const [, code, remark, rest] = ANSWER.exec(line) ?? [];
  if (code === undefined || remark === undefined) return line;
  return STATE_NAME.test(remark) ? line : `  ${code}${rest}`;
}

/** Apache's reader of binary headers takes an empty text for none; requests were recorded with JSON ones, which have both. */
function isEmptyText(request: string, answers: readonly string[]): boolean {
  return request.includes(':""') && answers.length === 1 && /^ {2}1 "the custom field <\w+> is null"/.test(answers[0]!);
}

// Goal: every answer of the broker has the code, the fields and the body of Apache's answer to the same request.
// Method: the same requests in the same order as were put to a freshly started Apache broker. Where we differ on
// purpose, differences.ts says why; a difference that is there no more has to leave it.
test("answers as Apache's broker does", async (t) => {
  await compare(t, {}, []);
});

test("answers as Apache's broker does that has enableLmq and enableMultiDispatch", async (t) => {
  await compare(t, { enableLmq: "true", enableMultiDispatch: "true" }, ["lmq", "lite", "lmq-pops"]);
});

// Apache's 5.5 answers them in JSON too: an answer has the form that the broker is set to, not the request's.
test("requests with binary headers are answered as those with JSON ones", async (t) => {
  await compare(t, {}, [], "binary");
});

async function compare(
  t: ExecutionContext,
  config: Readonly<Record<string, string>>,
  only: readonly string[],
  header: HeaderForm = "json",
): Promise<void> {
  const options = { port: 0, namesrvPort: null, nativeFree, config: { brokerName: "broker-a", ...config } };
  await using broker = await startBroker(options);
  const families = await recordAll(broker.brokerAddress, 50, only, header);
  const unlike: { request: string; ours: string[]; theirs: string[] }[] = [];
  const unseen: { family: string; of: string }[] = [];
  for (const [family, lines] of families) {
    const recorded = exchanges(readFileSync(path.join(RECORDED, `${family}.txt`), "utf8").split("\n"));
    const ours = exchanges(lines);
    t.deepEqual(ours.map(({ request }) => request), recorded.map(({ request }) => request), `${family}: record it again, the requests are others`); // biome-ignore format: one claim.
    const known = new Set(DIFFERENCES[family] ?? []);
    recorded.forEach(({ request, answers: theirs }, index) => {
      const { answers } = ours[index]!;
      if (agree(answers, theirs) || (header === "binary" && isEmptyText(request, answers))) return;
      const difference = (DIFFERENCES[family] ?? []).find(({ of }) => request.startsWith(of));
      if (difference === undefined) unlike.push({ request: `${family}: ${request}`, ours: answers, theirs });
      else known.delete(difference);
    });
    for (const { of } of known) unseen.push({ family, of });
  }
  t.deepEqual(unlike, [], "unlike Apache's");
  t.deepEqual(unseen, [], "listed as a difference, and none any more");
}

// To record again: RECORD_BROKER=host:port of a freshly started Apache broker named broker-a at 127.0.0.1, with
// enablePropertyFilter=false and traceTopicEnable=false. RECORD_FAMILIES=a,b: these alone; lmq,lite,lmq-pops by themselves, of a broker that
// has enableLmq=true and enableMultiDispatch=true.
const { RECORD_BROKER, RECORD_FAMILIES } = process.env;
if (RECORD_BROKER !== undefined) {
  test.serial("records", async (t) => {
    mkdirSync(RECORDED, { recursive: true });
    const families = await recordAll(RECORD_BROKER, 500, RECORD_FAMILIES?.split(",") ?? []);
    for (const [family, lines] of families) writeFileSync(path.join(RECORDED, `${family}.txt`), `${lines.join("\n")}\n`);
    t.true(families.size > 0);
  });
}
