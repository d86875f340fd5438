import type { PublishedGroup, PublishedTopic } from "../broker/table-publisher.ts";
import type { TopicSlotsUpdate } from "../store/queue/topic-slots.ts";

/** From an I/O worker to the control thread. */
export type ToControl =
  | { kind: "listening"; port: number }
  | { kind: "listen-failed"; code: string; text: string }
  /** A request that the worker does not answer itself. `frame` is whole and its own memory. */
  | { kind: "request"; connection: number; remoteAddress: string; frame: Uint8Array<ArrayBuffer> }
  | { kind: "commit"; group: string; topic: string; queueId: number; offset: number }
  | { kind: "closed"; connection: number }
  /** All connections are closed, after a stop. */
  | { kind: "left" }
  | { kind: "log"; level: "warn" | "error" | "info"; text: string; fields: Record<string, string | number> };

/** What an I/O worker is to know of topics and groups from now on. */
export type TableChange =
  | { kind: "topic"; topic: PublishedTopic }
  | { kind: "topic-removed"; topic: string }
  | { kind: "group"; group: PublishedGroup }
  | { kind: "group-removed"; group: string }
  | { kind: "cell"; group: string; topic: string; queueId: number; cell: number };

/** From the control thread to an I/O worker; handled in the order sent. */
export type ToIoWorker =
  /** A frame for the client: an answer, or a request of ours. */
  | { kind: "write"; connection: number; frame: Uint8Array<ArrayBuffer> }
  /** An answer without its body, which are the records: physicalOffset and size of each. */
  | { kind: "records"; connection: number; frame: Uint8Array<ArrayBuffer>; records: Float64Array<ArrayBuffer> }
  /** A forwarded request of `size` bytes is done with. `replay`: the tables are right now, serve it yourself. */
  | { kind: "settled"; connection: number; size: number; replay?: Uint8Array<ArrayBuffer> }
  | { kind: "close"; connection: number }
  | { kind: "slots"; update: TopicSlotsUpdate }
  | TableChange
  /** Time has been moved: look at deadlines. */
  | { kind: "tick" }
  /** Nothing happens: give back memory. */
  | { kind: "shrink" }
  | { kind: "stop" };
