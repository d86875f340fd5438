/** One kind of load. */
export interface LoadCase {
  name: string;
  title: string;
  /**
   * closed: each producer keeps a fixed number of messages in flight.
   * fill: as `closed`, but what is measured is how the messages are read back.
   * paced: messages are due at a fixed rate, whatever becomes of those before them, and are consumed at the same time.
   */
  load: "closed" | "fill" | "paced";
  isBatched: boolean;
  /** One message in flight for each producer. */
  isSync: boolean;
}

export const CASES: readonly LoadCase[] = [
  { name: "send", title: "send, one by one", load: "closed", isBatched: false, isSync: false },
  { name: "send-batch", title: "send, batched", load: "closed", isBatched: true, isSync: false },
  { name: "sync", title: "send, one in flight", load: "closed", isBatched: false, isSync: true },
  { name: "consume", title: "consume, sent one by one", load: "fill", isBatched: false, isSync: false },
  { name: "consume-batch", title: "consume, sent batched", load: "fill", isBatched: true, isSync: false },
  { name: "flow", title: "flow, one by one", load: "paced", isBatched: false, isSync: false },
  { name: "flow-batch", title: "flow, batched", load: "paced", isBatched: true, isSync: false },
];

/** What is compared: the same load, message by message and in batches. */
export const PAIRS: readonly [single: string, batched: string][] = [
  ["send", "send-batch"],
  ["consume", "consume-batch"],
  ["flow", "flow-batch"],
];
