import { endWith } from "./failure.ts";

const SIGNALS: readonly NodeJS.Signals[] = ["SIGTERM", "SIGINT", "SIGHUP"];
/** What a shell reports of a process that a signal ended: 128 and the signal's number. */
const EXIT_INTERRUPTED = 130;

/**
 * Lets the process live until a first SIGTERM, SIGINT or SIGHUP; then closes and ends with code 0, or 1 if that
 * failed. A second signal ends it at once.
 */
export function closeAtSignal(close: () => Promise<void>): void {
  let isClosing = false;
  const onSignal = (): void => {
    if (isClosing) process.exit(EXIT_INTERRUPTED);
    isClosing = true;
    close().then(() => process.exit(0), endWith);
  };
  for (const signal of SIGNALS) process.on(signal, onSignal);
}
