/**
 * A condition on one stored message beyond the tag hash in its ConsumeQueue entry. One instance a thread: it keeps what it
 * learns of a message until the next one.
 * Source: Apache `MessageFilter.isMatchedByCommitLog`.
 */
export interface MessageFilter {
  /** Does the whole, valid record at `at` pass? Never throws; what cannot be decided does not pass. */
  matches(record: Buffer, at: number): boolean;
  /** The same for a properties text that stands alone. */
  matchesProperties(properties: Buffer, start: number, end: number): boolean;
  /** Steps taken since the start, about a byte looked at each: with it a reader bounds what one request may cost. */
  readonly steps: number;
}
