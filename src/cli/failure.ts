import { MillraceError } from "../base/errors.ts";

/** What a user may cause is told in one line; a fault of ours with its stack. Ends the process with code 1. */
export function endWith(error: unknown): never {
  process.stderr.write(`${failureText(error)}\n`);
  process.exit(1);
}

export function failureText(error: unknown): string {
  if (error instanceof MillraceError) return `millrace: ${error.message}`;
  return `millrace: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`;
}
