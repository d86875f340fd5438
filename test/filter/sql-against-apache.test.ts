// Goal: an SQL92 expression is refused, or says TRUE, FALSE, null or fails, exactly where Apache's own evaluator does.
// Method: generated expressions and properties, each judged by both. 5,000 expressions, or as many as
// MILLRACE_SQL_EXPRESSIONS says; the seed stands in the failure and is set by MILLRACE_SQL_SEED.
import { execFile, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import { text as readAll } from "node:stream/consumers";
import { promisify } from "node:util";
import test from "ava";
import { SqlFilter } from "../../src/filter/sql-filter.ts";
import { FAILED, NO, UNKNOWN, YES } from "../../src/filter/sql-operands.ts";
import { missingCommand } from "../clients/client-programs.ts";
import { Random } from "../torture/random.ts";
import { randomExpression, randomProperties } from "./sql-generator.ts";

const JUDGE = join(import.meta.dirname, "apache");
const COUNT = Number(process.env["MILLRACE_SQL_EXPRESSIONS"] ?? 5000);
const SEED = Number(process.env["MILLRACE_SQL_SEED"] ?? 92);
const PROPERTIES_EACH = 4;
const LETTERS: Readonly<Record<number, string>> = { [YES]: "T", [NO]: "F", [UNKNOWN]: "N", [FAILED]: "X" };

interface Question {
  expression: string;
  properties: string[];
}

const missing = missingCommand(["java", "mvn"]);
const testOrSkip = missing === undefined ? test : test.skip;

testOrSkip("generated expressions are judged as by Apache's evaluator", async (t) => {
  t.timeout(600_000);
  await buildJudge();
  const random = new Random(SEED);
  const questions = Array.from({ length: COUNT }, () => ({
    expression: randomExpression(random),
    properties: Array.from({ length: PROPERTIES_EACH }, () => randomProperties(random)),
  }));
  const apache = await askApache(questions);
  const ours = questions.map(verdict);
  const different = questions
    .map((question, i) => ({ ...question, ours: ours[i]!, apache: apache[i]! }))
    .filter((found) => found.ours !== found.apache);
  const refused = apache.filter((line) => line === "E").length;
  const letters = new Set(apache.join(""));
  t.log(
    `${COUNT} expressions (${refused} refused) on ${PROPERTIES_EACH} messages each, seed ${SEED}: ${different.length} differ`,
  );
  t.deepEqual([...letters].sort().join(""), "EFNTX", "every outcome was met");
  t.true(refused < COUNT / 2, "most expressions are evaluated");
  t.deepEqual(different.slice(0, 10), []);
});

function verdict({ expression, properties }: Question): string {
  let filter: SqlFilter;
  try {
    filter = new SqlFilter(expression);
  } catch {
    return "E";
  }
  return properties.map((text) => LETTERS[filter.test(Buffer.from(text), 0, Buffer.byteLength(text))]!).join("");
}

async function askApache(questions: readonly Question[]): Promise<string[]> {
  const classPath = [join(JUDGE, "target/classes"), join(JUDGE, "target/lib/*")].join(delimiter);
  const child = spawn("java", ["-Xmx512m", "-XX:-UsePerfData", "-cp", classPath, "Judge"], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const hex = (text: string): string => Buffer.from(text).toString("hex");
  child.stdin.end(questions.map(({ expression, properties }) => `${[expression, ...properties].map(hex).join("\t")}\n`).join(""));
  return (await readAll(child.stdout)).trimEnd().split("\n");
}

async function buildJudge(): Promise<void> {
  const hash = createHash("sha256");
  for (const file of ["pom.xml", "Judge.java"]) hash.update(readFileSync(join(JUDGE, file)));
  const stamp = hash.digest("hex");
  const stampFile = join(JUDGE, "target/stamp");
  if (existsSync(stampFile) && readFileSync(stampFile, "utf8") === stamp) return;
  await promisify(execFile)("mvn", ["-q", "-B", "--no-transfer-progress", "compile"], { cwd: JUDGE });
  writeFileSync(stampFile, stamp);
}
