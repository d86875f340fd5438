import type { WireJob } from "../wire/wire-thread.ts";
import type { PeerName } from "./peer.ts";

/** One load, thrown at Millrace and at another broker in turn. */
export interface PeerCase {
  name: string;
  title: string;
  against: Exclude<PeerName, "millrace">;
  kind: WireJob["kind"];
  /** Of a message's body, bytes; of a read, the name of the case whose messages are read. */
  size: number;
  batch: number;
  queues: number;
  connections: number;
  depth: number;
  /** Requests a second; 0: closed loop. */
  rate: number;
  /** Of a flow: connections that read. */
  readers?: number;
  /** Of a read: most messages at once. */
  countMax?: number;
  reads?: string;
  /** At Millrace the topic keeps whole batches (queue.type=BatchCQ). */
  isWhole?: boolean;
  /** Both brokers wait for the disk before each ack: flushDiskType=SYNC_FLUSH, in a pair of their own. */
  isSyncFlush?: boolean;
  /** How long the other broker is warmed up, s; default: twice the window, 8 at least. */
  warmUpS?: number;
  /** Left out with --quick. */
  isLong?: boolean;
}

const SEND = { kind: "send", batch: 1, queues: 8, rate: 0 } as const;
const READ = { kind: "read", batch: 1, queues: 8, connections: 4, depth: 1, rate: 0 } as const;

export const PEER_CASES: readonly PeerCase[] = [
  { name: "single-1k", title: "1 KiB, one by one, 8 × 64", against: "rocketmq", ...SEND, size: 1024, connections: 8, depth: 64 },
  { name: "single-128", title: "128 B, one by one, 8 × 64", against: "rocketmq", ...SEND, size: 128, connections: 8, depth: 64 },
  {
    name: "sync-1k",
    title: "1 KiB, one connection, one in flight",
    against: "rocketmq",
    ...SEND,
    size: 1024,
    connections: 1,
    depth: 1,
  },
  {
    name: "sync-flush-64",
    title: "SYNC_FLUSH: 1 KiB, 64 connections, one in flight each",
    against: "rocketmq",
    ...SEND,
    size: 1024,
    connections: 64,
    depth: 1,
    isSyncFlush: true,
    warmUpS: 60,
    isLong: true,
  },
  {
    name: "batch-128",
    title: "128 B in batches of 32, 8 × 16",
    against: "rocketmq",
    ...SEND,
    size: 128,
    batch: 32,
    connections: 8,
    depth: 16,
  },
  {
    name: "pull-1k",
    title: "pull 1 KiB, 4 connections, 32 a pull",
    against: "rocketmq",
    ...READ,
    size: 1024,
    countMax: 32,
    reads: "single-1k",
  },
  {
    name: "rate-1k",
    title: "1 KiB at a fixed rate",
    against: "rocketmq",
    ...SEND,
    size: 1024,
    connections: 8,
    depth: 0,
    rate: 5000,
  },
  {
    name: "flow-1k",
    title: "1 KiB at 20,000/s from the due time to the reader",
    against: "rocketmq",
    ...SEND,
    kind: "flow",
    size: 1024,
    connections: 8,
    depth: 0,
    rate: 20_000,
    readers: 4,
  },
  {
    name: "whole-100-128",
    title: "100 B in batches of 128, 4 × 5",
    against: "kafka",
    ...SEND,
    size: 100,
    batch: 128,
    connections: 4,
    depth: 5,
    isWhole: true,
  },
  {
    name: "whole-100-1024",
    title: "100 B in batches of 1,024, 4 × 5",
    against: "kafka",
    ...SEND,
    size: 100,
    batch: 1024,
    connections: 4,
    depth: 5,
    isWhole: true,
  },
  {
    name: "whole-1k-120",
    title: "1 KiB in batches of 120, 4 × 5",
    against: "kafka",
    ...SEND,
    size: 1024,
    batch: 120,
    connections: 4,
    depth: 5,
    isWhole: true,
  },
  {
    name: "exploded-100-128",
    title: "the first, a record a message",
    against: "kafka",
    ...SEND,
    size: 100,
    batch: 128,
    connections: 4,
    depth: 5,
    isLong: true,
  },
  {
    name: "unbatched-1k",
    title: "1 KiB, one by one, 4 × 5",
    against: "kafka",
    ...SEND,
    size: 1024,
    connections: 4,
    depth: 5,
    isLong: true,
  },
  { name: "read-100", title: "read 100 B in batches of 1,024", against: "kafka", ...READ, size: 100, reads: "whole-100-1024" },
  { name: "read-1k", title: "read 1 KiB in batches of 120", against: "kafka", ...READ, size: 1024, reads: "whole-1k-120" },
  {
    name: "rate-whole",
    title: "10 × 1 KiB at a fixed rate",
    against: "kafka",
    ...SEND,
    size: 1024,
    batch: 10,
    connections: 4,
    depth: 0,
    rate: 1000,
    isWhole: true,
  },
  {
    name: "queues-1000",
    title: "100 B in batches of 128, 1,000 queues",
    against: "kafka",
    ...SEND,
    size: 100,
    batch: 128,
    queues: 1000,
    connections: 4,
    depth: 16,
    isWhole: true,
    warmUpS: 20, // First writes make the files of each partition.
    isLong: true,
  },
  {
    name: "queues-10000",
    title: "100 B in batches of 128, 10,000 queues",
    against: "kafka",
    ...SEND,
    size: 100,
    batch: 128,
    queues: 10_000,
    connections: 4,
    depth: 16,
    isWhole: true,
    warmUpS: 20, // First writes make the files of each partition.
    isLong: true,
  },
  { name: "stream-128", title: "128 B, one by one, 16 × 32", against: "redis", ...SEND, size: 128, connections: 16, depth: 32 },
  { name: "stream-1k", title: "1 KiB, one by one, 16 × 32", against: "redis", ...SEND, size: 1024, connections: 16, depth: 32 },
];
