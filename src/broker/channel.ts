import type { RemotingCommand } from "../format/remoting/remoting-command.ts";

/** One client connection as the control plane sees it; the socket itself lives in an I/O worker. */
export interface Channel {
  /** Unique while the broker runs. */
  readonly id: number;
  /** `ip:port` of the peer. */
  readonly remoteAddress: string;
  /** Sends a response or a one-way request. Does nothing once closed. */
  write(command: RemotingCommand): void;
  /**
   * Sends a response whose body are records of the log, which are not copied on the way. Clients of a broker have it.
   * @param records physicalOffset and size of each
   */
  writeRecords?(command: RemotingCommand, records: readonly number[]): void;
  /** Sends a request to the client and resolves with its response; rejects with MILLRACE_TIMEOUT or MILLRACE_CONNECTION. */
  invoke(command: RemotingCommand, timeoutMs: number): Promise<RemotingCommand>;
  /** Request id for a request that we start on this connection. */
  nextOpaque(): number;
  close(): void;
}

/**
 * Answers one request. `undefined` means: nothing to answer now (already answered, or never will be).
 * A throw of MillraceError becomes its response code (remoting/error-codes.ts), any other SYSTEM_ERROR.
 */
export type RequestHandler = (
  command: RemotingCommand,
  channel: Channel,
) => RemotingCommand | undefined | Promise<RemotingCommand | undefined>;
