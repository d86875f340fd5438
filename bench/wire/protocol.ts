/**
 * How the raw generator speaks to a broker: requests are made once and their bytes sent again and again, so that the
 * generator costs next to nothing and is the same for every broker. Used by one thread.
 */
export interface WireProtocol {
  /** Messages that one request stores. */
  readonly messagesPerRequest: number;
  /** Bytes of their bodies. */
  readonly bodyBytesPerRequest: number;
  /** Different requests that there are, to be sent in turn: one for each queue, or for each group of them. */
  readonly targets: number;
  /** What differs from request to request: written anew each time. `token` comes back in the answer. */
  head(target: number, token: number): Buffer;
  /** What follows, the same in all. */
  readonly tail: Buffer;
  /** What follows that, always the same of a target. */
  more?(target: number): readonly Buffer[];
  /** Size of the whole answer at `start`, or 0: more is to come. */
  answerSize(bytes: Buffer, start: number, end: number): number;
  /** Reads the answer at `start`. */
  answer(bytes: Buffer, start: number, end: number, into: Answer): void;
}

/** One answer, filled in by the protocol; reused. */
export class Answer {
  /** -1: answers come in the order of the requests. */
  token = -1;
  isOk = false;
  /** Why not. */
  remark = "";
  /** Of a read: messages and bytes that it brought, and where to go on; -1: at the start again. */
  messages = 0;
  bytes = 0;
  nextOffset = -1;
}

/** Reads instead of sends: requests that carry an offset. */
export interface WireReader {
  request(queue: number, offset: number, token: number): Buffer;
  answerSize(bytes: Buffer, start: number, end: number): number;
  answer(bytes: Buffer, start: number, end: number, into: Answer): void;
  /** Calls `seen` with the token of each message in the answer. */
  tokens?(bytes: Buffer, start: number, end: number, seen: (token: number) => void): void;
}

/** What is sent or read, in figures only: it goes to another thread. */
export interface WireShape {
  protocol: "remoting" | "kafka" | "redis";
  topic: string;
  /** Queues, partitions or streams. */
  queues: number;
  /** Remoting sends: the queues are spread over so many topics, `<topic>-0` and so on; default: all are of `topic`. */
  topics?: number;
  /** Body of a message, bytes. */
  size: number;
  /** Messages in a request. */
  batch: number;
  /** Kafka's sends: a request carries a batch for each of so many partitions; default: 1. */
  partitionsAtOnce?: number;
  /** Remoting reads: most messages that one brings; default: as many as the broker likes. */
  countMax?: number;
  /** Remoting reads wait at the end of a queue for what comes, instead of beginning anew. */
  isFollowing?: boolean;
}

/** Tokens have seven digits, so that they can be written over one another. */
export const TOKEN_MIN = 1_000_000;
export const TOKEN_COUNT = 8_000_000;

/** Bodies that no compression makes much of, the same in each run. */
export function bodyOf(size: number): Buffer {
  const body = Buffer.allocUnsafe(size);
  let seed = 0x2545f491;
  for (let i = 0; i < size; i++) {
    seed ^= seed << 13;
    seed ^= seed >>> 17;
    seed ^= seed << 5;
    body[i] = 0x20 + ((seed >>> 8) & 0x3f);
  }
  return body;
}
