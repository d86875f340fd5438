/** Ends the thread on a broken invariant: for what no input can cause, never for bad bytes or a full disk. */
export function assert(condition: boolean, claim: string): asserts condition {
  if (!condition) throw new Error(`assertion failed: ${claim}`);
}
