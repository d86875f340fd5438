import type net from "node:net";
import type { Drive } from "../../os/api.ts";
import { EpollReads } from "./epoll-reads.ts";
import type { SocketReads } from "./socket-reads.ts";
import { StreamReads } from "./stream-reads.ts";

/** How sockets are read: past the event loop, or by it. */
export type TransportName = "epoll" | "stream";

export interface ReadsOptions {
  transport: TransportName;
  drive: Drive;
  /** Listens on this thread's event loop, and has done so for at least one turn of it. */
  server: net.Server;
  /** Most bytes taken from a socket at once. */
  inputSize: number;
  /** Where it is to stand, as far as that can be had: memory that never moves. */
  input?: Buffer | undefined;
  /** A socket from which nothing came for so long is closed. */
  idleMsMax: number;
  /** ms, with fractions. */
  now: () => number;
  /** All sockets that could be read have been, each once. */
  onRound: () => void;
  /** Pieces of work done so far. */
  work: () => number;
}

/** What is asked for, or reading by the event loop where that cannot be had. */
export function openReads(options: ReadsOptions): SocketReads {
  const { transport, drive, server, inputSize, input, idleMsMax, onRound } = options;
  const fd = (server as unknown as { _handle?: { fd?: number } })._handle?.fd ?? -1;
  const poller = transport === "epoll" && fd >= 0 ? drive.socketPoller(inputSize, input) : undefined;
  const reads = poller === undefined ? undefined : EpollReads.open(poller, fd, options);
  return reads ?? new StreamReads(inputSize, idleMsMax, onRound);
}
