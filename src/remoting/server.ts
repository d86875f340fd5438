import { createServer, type Server, type Socket } from "node:net";
import { assert } from "../base/assert.ts";
import type { Clock, Timer } from "../base/clock.ts";
import { MillraceError } from "../base/errors.ts";
import type { Channel, RequestHandler } from "../broker/channel.ts";
import { ResponseCode } from "../format/remoting/remoting-codes.ts";
import { isOneway, type RemotingCommand, response } from "../format/remoting/remoting-command.ts";
import { FRAME_SIZE_MAX } from "../format/remoting/remoting-frame.ts";
import type { Log } from "../observe/log.ts";
import { errorResponse } from "./error-codes.ts";
import { ServerConnection, type ServerConnectionOwner } from "./server-connection.ts";

/** All times in ms, all sizes in bytes. */
export interface RemotingServerOptions {
  host: string;
  /** 0: any free port. */
  port: number;
  /** Looked up at each request: may be changed while the server runs. */
  handlers: ReadonlyMap<number, RequestHandler>;
  clock: Clock;
  log: Log;
  /** A connection that neither reads nor writes that long is closed. Default 120,000, as Apache's. */
  idleMs?: number;
  /** Unsent bytes above which a connection is closed. Default 32 MiB: two of the largest frames. */
  outBytesMax?: number;
  /** Requests of one connection that are handled at once; further ones stay in the socket. Default 1,024. */
  requestsMax?: number;
  onChannelClosed?: (channel: Channel) => void;
}

const IDLE_MS = 120_000;
const OUT_BYTES_MAX = 33_554_432;
const REQUESTS_MAX = 1_024;
/** Leaves room for a header; every client drops the connection on a larger frame. */
const BODY_SIZE_MAX: number = FRAME_SIZE_MAX - 65_536;
/** Log lines about unsupported codes, per connection. */
const UNSUPPORTED_LOGGED_MAX = 8;

/**
 * A plain remoting server on node:net: one thread, one table of handlers. For the name server and for
 * whatever else is far from the hot paths, which have their own (I/O workers).
 */
export class RemotingServer {
  readonly host: string;
  readonly #options: RemotingServerOptions;
  readonly #server: Server;
  readonly #connections: Set<ServerConnection> = new Set();
  readonly #owner: ServerConnectionOwner;
  #idleTicker: Timer | undefined;
  #nextId = 1;
  #port = 0;
  #closed: Promise<void> | undefined;

  constructor(options: RemotingServerOptions) {
    const { clock, log, outBytesMax = OUT_BYTES_MAX, requestsMax = REQUESTS_MAX } = options;
    this.host = options.host;
    this.#options = options;
    this.#server = createServer((socket) => this.#onConnection(socket));
    this.#owner = {
      clock,
      outBytesMax,
      requestsMax,
      onRequest: (connection, command) => void this.#serve(connection, command),
      onFault: ({ remoteAddress }, reason) => log.warn({ remoteAddress, reason }, "connection closed by us"),
      onClosed: (connection) => {
        this.#connections.delete(connection);
        options.onChannelClosed?.(connection);
      },
    };
  }

  /** The bound port. */
  get port(): number {
    return this.#port;
  }

  /** `host:port` for clients on this machine: the loopback address where the server listens on all addresses. */
  get address(): string {
    return joinAddress(this.host === "0.0.0.0" || this.host === "::" ? "127.0.0.1" : this.host, this.#port);
  }

  get channelCount(): number {
    return this.#connections.size;
  }

  /** @throws MillraceError MILLRACE_ADDRESS_IN_USE; MILLRACE_CONFIG_INVALID where the address cannot be bound at all */
  async listen(): Promise<void> {
    const { host, port, idleMs = IDLE_MS, clock, log } = this.#options;
    await new Promise<void>((resolve, reject) => {
      this.#server.once("error", (error) => reject(listenError(error, host, port)));
      this.#server.listen({ host, port }, resolve);
    });
    this.#server.removeAllListeners("error");
    // Afterwards an error is a failed accept (no descriptors left): the server goes on.
    this.#server.on("error", (error) => log.error({ error: error.message }, "cannot accept a connection"));
    const bound = this.#server.address();
    assert(bound !== null && typeof bound === "object", "a listening TCP server has an address");
    this.#port = bound.port;
    // At worst a quarter late.
    this.#idleTicker = clock.setTicker(() => this.#closeIdle(idleMs), Math.max(1, Math.ceil(idleMs / 4)));
  }

  /** Stops accepting and closes all connections; idempotent. */
  close(): Promise<void> {
    this.#closed ??= new Promise((resolve) => {
      this.#idleTicker?.cancel();
      this.#server.close(() => resolve());
      for (const connection of this.#connections) connection.destroy();
    });
    return this.#closed;
  }

  #onConnection(socket: Socket): void {
    if (this.#closed !== undefined) {
      socket.destroy();
      return;
    }
    this.#connections.add(new ServerConnection(this.#nextId++, socket, this.#owner));
  }

  #closeIdle(idleMs: number): void {
    const idleSince = this.#options.clock.now() - idleMs;
    for (const connection of this.#connections) {
      if (connection.lastActiveMs <= idleSince) connection.abort(`idle for ${idleMs} ms`);
    }
  }

  async #serve(connection: ServerConnection, command: RemotingCommand): Promise<void> {
    let answer: RemotingCommand | undefined;
    try {
      const handler = this.#options.handlers.get(command.code);
      const pending = handler === undefined ? this.#unsupported(connection, command) : handler(command, connection);
      // No await where there is nothing to wait for: answers of plain handlers leave with the read that asked.
      answer = pending instanceof Promise ? await pending : pending;
      assert(answer === undefined || answer.opaque === command.opaque, "the answer carries its request's opaque");
      if (answer !== undefined && answer.body.length > BODY_SIZE_MAX) throw tooLarge(answer.body.length);
    } catch (error) {
      this.#logFailure(connection, command, error);
      answer = errorResponse(command, error);
    }
    if (answer !== undefined && !isOneway(command)) connection.write(answer);
    connection.requestDone();
  }

  #unsupported({ remoteAddress, unsupportedCodes }: ServerConnection, command: RemotingCommand): RemotingCommand {
    const { code } = command;
    if (!unsupportedCodes.has(code) && unsupportedCodes.size < UNSUPPORTED_LOGGED_MAX) {
      unsupportedCodes.add(code);
      this.#options.log.warn({ remoteAddress, code }, `request type ${code} not supported`);
    }
    return response(command, ResponseCode.REQUEST_CODE_NOT_SUPPORTED, ` request type ${code} not supported`);
  }

  #logFailure({ remoteAddress }: ServerConnection, { code }: RemotingCommand, error: unknown): void {
    const { log } = this.#options;
    if (error instanceof MillraceError) log.warn({ remoteAddress, code, error: error.message }, "request failed");
    else
      log.error(
        { remoteAddress, code, error: error instanceof Error ? error.stack : String(error) },
        "request failed unexpectedly",
      );
  }
}

function tooLarge(size: number): MillraceError {
  return new MillraceError("MILLRACE_REQUEST_FAILED", `the answer of ${size} bytes does not fit into a frame`, { size });
}

function joinAddress(host: string, port: number): string {
  return `${host.includes(":") ? `[${host}]` : host}:${port}`;
}

function listenError(error: NodeJS.ErrnoException, host: string, port: number): MillraceError {
  const address = joinAddress(host, port);
  if (error.code === "EADDRINUSE") {
    return new MillraceError("MILLRACE_ADDRESS_IN_USE", `${address} is already in use`, { host, port }, error);
  }
  return new MillraceError("MILLRACE_CONFIG_INVALID", `cannot listen on ${address}: ${error.message}`, { host, port }, error);
}
