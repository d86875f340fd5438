import { SystemClock } from "../base/clock.ts";
import { verifyStore } from "../runtime/verify.ts";
import type { VerifyReport } from "../store/verify/verify-report.ts";
import { failureText } from "./failure.ts";
import { formatBytes, formatCount, Progress } from "./progress.ts";
import { type StoreFlags, storeFromFlags } from "./store-flags.ts";

export interface VerifyFlags extends StoreFlags {
  quiet?: boolean;
}

/** Findings that the text shows; --json has more. */
const SHOWN_MAX = 50;
const EXIT_FOUND = 1;
const EXIT_NOT_CHECKED = 2;

/** `millrace verify`: tells whether a stopped store is whole. Exit code 0: it is, 1: it is not, 2: it could not be checked. */
export async function verify(store: string, flags: VerifyFlags): Promise<void> {
  let progress: Progress | undefined;
  try {
    const report = await verifyStore({
      ...storeFromFlags(store, flags),
      onStart: (bytes, state) => {
        // Elsewhere than on a screen it would only be in the way of the result.
        if (process.stderr.isTTY && flags.quiet !== true)
          progress = new Progress("verify", "checks", { bytes }, state, process.stderr, new SystemClock());
      },
    });
    progress?.end();
    process.stdout.write(flags.json === true ? `${JSON.stringify(report)}\n` : reportText(report));
    process.exitCode = report.isClean ? 0 : EXIT_FOUND;
  } catch (error) {
    progress?.end();
    process.stderr.write(`${failureText(error)}\n`);
    process.exitCode = EXIT_NOT_CHECKED;
  }
}

/** The report for people: what was looked at, what is out of the ordinary, what is wrong. */
export function reportText(report: VerifyReport): string {
  const { logStart, logEnd, lastExit } = report;
  const lines = [
    `${report.storePath}: ${formatCount(report.recordCount)} records, ${formatBytes(logEnd - logStart)} in ${report.logFileCount} log files ` +
      `(physicalOffset ${logStart} to ${logEnd}); ${formatCount(report.entryCount)} entries of ${formatCount(report.queueCount)} queues; ` +
      `${formatCount(report.indexEntryCount)} keys in ${report.indexFileCount} index files`,
  ];
  if (lastExit !== "clean") {
    const how = lastExit === "process-died" ? "its process ended" : "the machine was restarted since";
    const cut = report.tornBytes > 0 ? "the torn end of the log" : "nothing";
    const pending = `${formatCount(report.pendingRecordCount)} records get their entries`;
    lines.push(`the broker was not stopped cleanly (${how}): at the next start ${pending}, and ${cut} is cut off`);
  }
  if (report.compactedFileCount > 0)
    lines.push(`${formatCount(report.compactedMessageCount)} compacted messages in ${report.compactedFileCount} files`);
  if (report.expiredEntryCount > 0)
    lines.push(`${formatCount(report.expiredEntryCount)} entries are of records that were deleted by age`);
  if (report.removedTopicRecordCount > 0) {
    lines.push(`${formatCount(report.removedTopicRecordCount)} records are of topics that were removed`);
  }
  if (report.blockUncheckedBytes > 0) {
    const size = formatBytes(report.blockUncheckedBytes);
    lines.push(`${size} of the log have no checksum but those of the messages' bodies: the broker had not come to them`);
  }
  const counts = Object.entries(report.findingCounts);
  if (counts.length === 0) return `${[...lines, "nothing is wrong"].join("\n")}\n`;
  lines.push(`wrong: ${counts.map(([kind, count]) => `${formatCount(count)} ${kind}`).join(", ")}`);
  for (const { kind, text } of report.findings.slice(0, SHOWN_MAX)) lines.push(`  ${kind}: ${text}`);
  if (report.findings.length > SHOWN_MAX) lines.push(`  and ${formatCount(report.findings.length - SHOWN_MAX)} more: see --json`);
  return `${lines.join("\n")}\n`;
}
