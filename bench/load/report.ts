import { formatCount } from "../../src/cli/progress.ts";
import type { Provenance } from "../machine.ts";
import type { CaseResult } from "./case-run.ts";
import { PAIRS } from "./cases.ts";
import type { Percentiles } from "./latency.ts";
import type { Settings } from "./settings.ts";

const COLUMNS = ["msg/s", "MB/s", "p50 ms", "p99 ms", "p99.9 ms", "broker µs", "client µs", "anon MB", "others"] as const;
const TITLE_WIDTH = 30;
const WIDTH = 10;

export function heading(
  target: string,
  { date, commit, node, cpu, cores, memoryGiB, loadAverage }: Provenance,
  settings: Settings,
): string {
  const { size, producers, depth, consumers, queues, rate, batchSize, lingerMs, threads, seconds, warmup } = settings;
  return [
    `${target}, commit ${commit}, node ${node}, ${cores} x ${cpu}, ${memoryGiB} GiB, load average ${loadAverage}, ${date}`,
    `${size} B bodies, ${producers} producers x ${depth} in flight, ${consumers} consumers, ${queues} queues, ${threads} client threads;`,
    `batches of ${batchSize} B, linger ${lingerMs} ms; flow at ${formatCount(rate)} messages/s; ${seconds} s after ${warmup} s`,
    "",
    `${"".padEnd(TITLE_WIDTH)}${COLUMNS.map((column) => column.padStart(WIDTH)).join("")}`,
  ].join("\n");
}

/** The lines of one case in the table. */
export function rows(result: CaseResult): string[] {
  const { title, answerMs, deliveryMs } = result;
  if (deliveryMs === undefined) return [row(title, result, answerMs)];
  return [row(`${title}: answer`, result, answerMs), row(`${title}: arrival`, undefined, deliveryMs)];
}

function row(title: string, result: CaseResult | undefined, latency: Percentiles | undefined): string {
  const cells = [
    result === undefined ? "" : formatCount(result.messagesPerSecond),
    result?.megabytesPerSecond.toFixed(1) ?? "",
    ...[latency?.p50, latency?.p99, latency?.p999].map((ms) => ms?.toFixed(2) ?? "-"),
    ...(result === undefined ? [] : costs(result)),
  ];
  return `${title.padEnd(TITLE_WIDTH)}${cells.map((cell) => cell.padStart(WIDTH)).join("")}`.trimEnd();
}

function costs({ brokerCpuUsPerMessage, clientCpuUsPerMessage, usage }: CaseResult): string[] {
  return [
    brokerCpuUsPerMessage?.toFixed(2) ?? "-",
    clientCpuUsPerMessage?.toFixed(2) ?? "-",
    brokerCpuUsPerMessage === undefined ? "-" : usage.anonMb.toFixed(0),
    `${(usage.othersCpu / usage.seconds).toFixed(2)} c`,
  ];
}

/** Where the messages went: every one that was sent must be in one of the other figures. */
export function account({ title, counts, missing, errors, firstError, latenessMs }: CaseResult): string[] {
  const { sent, answered, rejected, received, duplicate, disordered } = counts;
  const lines = [`${title}: ${formatCount(sent)} sent = ${formatCount(answered)} answered + ${formatCount(rejected)} rejected`];
  if (missing !== undefined) {
    lines[0] += `; ${formatCount(received)} received, ${missing} missing, ${duplicate} twice, ${disordered} out of order`;
  }
  if (latenessMs !== undefined)
    lines.push(`  our own lateness: p50 ${latenessMs.p50} ms, p99 ${latenessMs.p99} ms, p99.9 ${latenessMs.p999} ms`);
  for (const [code, count] of Object.entries(errors)) lines.push(`  rejected: ${formatCount(count)} x ${code}`);
  if (firstError !== undefined) lines.push(`  first: ${firstError}`);
  return lines;
}

/**
 * What is wrong with a result, if anything is: then the run has failed, however fast it was. Messages that come twice
 * are not (delivery is at least once, and the consumers share out the queues while they read), nor is another order
 * than that of sending (no broker promises it for sends that do not wait for one another).
 */
export function faults({ title, counts, missing, messages }: CaseResult): string[] {
  const { sent, answered, rejected, damaged } = counts;
  const found: string[] = [];
  if (sent !== answered + rejected)
    found.push(`${title}: ${sent - answered - rejected} sends were neither answered nor rejected`);
  if (rejected > 0) found.push(`${title}: ${rejected} sends were rejected`);
  if ((missing ?? 0) > 0) found.push(`${title}: ${missing} messages were acknowledged, but did not arrive`);
  if (damaged > 0) found.push(`${title}: ${damaged} messages came with another size than they were sent with`);
  if (messages === 0) found.push(`${title}: nothing went through`);
  return found;
}

/** Batches beside single messages. */
export function comparison(results: readonly CaseResult[]): string[] {
  const lines: string[] = [];
  for (const [single, batched] of PAIRS) {
    const one = results.find(({ name }) => name === single);
    const other = results.find(({ name }) => name === batched);
    if (one === undefined || other === undefined) continue;
    const parts = [`${ratio(other.messagesPerSecond, one.messagesPerSecond)} the messages/s`];
    if (one.brokerCpuUsPerMessage !== undefined && other.brokerCpuUsPerMessage !== undefined) {
      parts.push(`${ratio(other.brokerCpuUsPerMessage, one.brokerCpuUsPerMessage)} the broker CPU a message`);
    }
    if (one.clientCpuUsPerMessage !== undefined && other.clientCpuUsPerMessage !== undefined) {
      parts.push(`${ratio(other.clientCpuUsPerMessage, one.clientCpuUsPerMessage)} the client CPU`);
    }
    const [from, to] = [one.deliveryMs ?? one.answerMs, other.deliveryMs ?? other.answerMs];
    if (from !== undefined && to !== undefined) parts.push(`p99 ${from.p99.toFixed(2)} -> ${to.p99.toFixed(2)} ms`);
    lines.push(`${other.title} against ${one.title}: ${parts.join(", ")}`);
  }
  return lines;
}

function ratio(value: number, base: number): string {
  return base === 0 ? "-" : `${(value / base).toFixed(2)} x`;
}

/** Of several rounds of one case the one whose broker CPU (or else rate) lies in the middle. */
export function median(results: readonly CaseResult[]): CaseResult {
  const key = (result: CaseResult): number => result.brokerCpuUsPerMessage ?? -result.messagesPerSecond;
  return results.toSorted((a, b) => key(a) - key(b))[Math.floor((results.length - 1) / 2)]!;
}
