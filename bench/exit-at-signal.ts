/** Ctrl-C and SIGTERM end the process by `exit`, so that what it started, and its files, are gone with it. */
export function exitAtSignal(): void {
  for (const [signal, code] of [
    ["SIGINT", 130],
    ["SIGTERM", 143],
  ] as const) {
    process.once(signal, () => process.exit(code));
  }
}
