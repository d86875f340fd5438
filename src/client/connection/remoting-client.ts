import { assert } from "../../base/assert.ts";
import { type Clock, SystemClock, type Timer } from "../../base/clock.ts";
import { MillraceError } from "../../base/errors.ts";
import { ResponseCode } from "../../format/remoting/remoting-codes.ts";
import { FLAG_ONEWAY, isOneway, type RemotingCommand, response } from "../../format/remoting/remoting-command.ts";
import { SERIALIZE_JSON, SERIALIZE_ROCKETMQ } from "../../format/remoting/remoting-frame.ts";
import { checkInteger, checkOneOf } from "../options.ts";
import { CommandSink, type ConnectionOwner, RemotingConnection } from "./remoting-connection.ts";

/** All times in ms, all sizes in bytes. */
export interface RemotingClientOptions {
  clock?: Clock;
  /** Default 3,000. */
  connectTimeoutMs?: number;
  /** Most requests in flight on one connection; more are refused with MILLRACE_BUSY. Default 65,536. */
  maxInFlight?: number;
  /** Most unsent bytes on one connection; beyond it requests are refused with MILLRACE_BUSY. Default 64 MiB. */
  maxBufferedBytes?: number;
  /** Wait after a first failed connection attempt; doubles with each further one. Default 100. */
  reconnectDelayMs?: number;
  /** Longest wait between two connection attempts. Default 5,000. */
  reconnectDelayMsMax?: number;
  /** Header form of what we send; both forms are always understood. Default "json". */
  header?: "json" | "binary";
}

/**
 * Serves one code of server-initiated requests. `peer` is the address the connection was opened to.
 * The answer's opaque and flags are set by the caller; undefined means: no answer. A throw is answered
 * with SYSTEM_ERROR.
 */
export type ServerRequestHandler = (
  command: RemotingCommand,
  peer: string,
) => RemotingCommand | undefined | Promise<RemotingCommand | undefined>;

/** Granularity of time-outs. */
const TICK_MS = 50;

interface Backoff {
  failures: number;
  retryAtMs: number;
}

/**
 * Requests and answers over pooled remoting connections, one to an address, opened on demand.
 *
 * Time-outs are counted in ticks of one ticker for all requests; a stalled event loop therefore never
 * times out a request whose answer already lies in the socket. After a failed attempt, and after a
 * connection on which the peer never spoke, the address is left alone for a growing time, during which
 * requests to it fail at once.
 */
export class RemotingClient {
  readonly #clock: Clock;
  readonly #owner: ConnectionOwner;
  readonly #reconnectDelayMs: number;
  readonly #reconnectDelayMsMax: number;
  readonly #connections = new Map<string, RemotingConnection>();
  readonly #backoffs = new Map<string, Backoff>();
  readonly #handlers = new Map<number, ServerRequestHandler>();
  readonly #lossListeners: ((address: string) => void)[] = [];
  #ticker: Timer | undefined;
  #tick = 0;
  #closed: Promise<void> | undefined;

  /** @throws MillraceError MILLRACE_CONFIG_INVALID */
  constructor(options: RemotingClientOptions = {}) {
    this.#clock = options.clock ?? new SystemClock();
    this.#reconnectDelayMs = checkInteger("reconnectDelayMs", options.reconnectDelayMs ?? 100, 1, 60_000);
    this.#reconnectDelayMsMax = checkInteger(
      "reconnectDelayMsMax",
      options.reconnectDelayMsMax ?? 5_000,
      this.#reconnectDelayMs,
      600_000,
    );
    this.#owner = {
      connectTimeoutMs: checkInteger("connectTimeoutMs", options.connectTimeoutMs ?? 3_000, 1, 600_000),
      maxInFlight: checkInteger("maxInFlight", options.maxInFlight ?? 65_536, 1, 1 << 24),
      maxBufferedBytes: checkInteger("maxBufferedBytes", options.maxBufferedBytes ?? 67_108_864, 1_024, Number.MAX_SAFE_INTEGER),
      serializeType:
        checkOneOf("header", options.header ?? "json", ["json", "binary"]) === "binary" ? SERIALIZE_ROCKETMQ : SERIALIZE_JSON,
      deadlineTick: (timeoutMs) => this.#deadlineTick(timeoutMs),
      onRequest: (connection, command) => void this.#serve(connection, command),
      onProven: (connection) => this.#backoffs.delete(connection.address),
      onClosed: (connection) => this.#onClosed(connection),
    };
  }

  /**
   * Sends `command` to `address` (`host:port` or `[v6]:port`) and resolves with the answer, whatever its
   * code. `command.opaque` is set here.
   *
   * Rejects with MILLRACE_TIMEOUT (no answer within `timeoutMs`, to 50 ms), MILLRACE_CONNECTION (cannot
   * connect, or the connection broke before the answer: it is then unknown whether the peer acted),
   * MILLRACE_BUSY (own limits), MILLRACE_CLOSED, MILLRACE_CONFIG_INVALID (bad address).
   */
  invoke(address: string, command: RemotingCommand, timeoutMs: number): Promise<RemotingCommand> {
    return new Promise((resolve, reject) => {
      this.connection(address).request(command, new CommandSink(resolve, reject), timeoutMs);
    });
  }

  /**
   * Sends `command` marked as one-way; nobody answers. `command.flag` and `opaque` are set here.
   * @throws MillraceError MILLRACE_CONNECTION, MILLRACE_BUSY, MILLRACE_CLOSED, MILLRACE_CONFIG_INVALID
   */
  invokeOneway(address: string, command: RemotingCommand): void {
    command.flag |= FLAG_ONEWAY;
    this.connection(address).oneway(command);
  }

  /** Has `handler` serve requests of code `code` that servers send us. Codes without one are answered with code 3. */
  handle(code: number, handler: ServerRequestHandler): void {
    this.#handlers.set(code, handler);
  }

  /** Calls `listener` with the address of each connection that breaks; not for those closed by `close`. */
  onConnectionLost(listener: (address: string) => void): void {
    this.#lossListeners.push(listener);
  }

  /**
   * The connection to `address`, opened if need be; it may still be connecting.
   * @throws MillraceError MILLRACE_CONNECTION while the address is in back-off (details.retryInMs), MILLRACE_CLOSED
   */
  connection(address: string): RemotingConnection {
    const pooled = this.#connections.get(address);
    if (pooled !== undefined) return pooled;
    if (this.#closed !== undefined) throw new MillraceError("MILLRACE_CLOSED", "the client was closed", { address });
    const retryInMs = this.retryInMs(address);
    if (retryInMs > 0) {
      throw new MillraceError("MILLRACE_CONNECTION", `${address}: unreachable before, next attempt in ${retryInMs} ms`, {
        address,
        retryInMs,
      });
    }
    const connection = new RemotingConnection(address, this.#owner);
    this.#connections.set(address, connection);
    return connection;
  }

  /** How long `address` is still left alone after failures, ms; 0 when it may be tried. */
  retryInMs(address: string): number {
    const backoff = this.#backoffs.get(address);
    return backoff === undefined ? 0 : Math.max(0, Math.ceil(backoff.retryAtMs - this.#clock.now()));
  }

  /** Is there a working connection to `address` at this moment? */
  isConnected(address: string): boolean {
    return this.#connections.get(address)?.isConnected === true;
  }

  /** Fails all pending requests with MILLRACE_CLOSED, sends what was handed over and closes all sockets. */
  close(): Promise<void> {
    this.#closed ??= this.#closeAll();
    return this.#closed;
  }

  async #closeAll(): Promise<void> {
    this.#ticker?.cancel();
    this.#ticker = undefined;
    const connections = [...this.#connections.values()];
    this.#connections.clear();
    await Promise.all(connections.map((connection) => connection.close()));
  }

  #deadlineTick(timeoutMs: number): number {
    this.#ticker ??= this.#clock.setTicker(() => this.#onTick(), TICK_MS);
    // One more, since the present tick is partly over: never early.
    return this.#tick + Math.ceil(timeoutMs / TICK_MS) + 1;
  }

  #onTick(): void {
    this.#tick++;
    let active = false;
    for (const connection of this.#connections.values()) {
      connection.expire(this.#tick);
      active ||= !connection.isConnected || connection.inFlight > 0;
    }
    if (active || this.#ticker === undefined) return;
    this.#ticker.cancel();
    this.#ticker = undefined;
  }

  #onClosed(connection: RemotingConnection): void {
    const { address } = connection;
    if (this.#connections.get(address) !== connection) return;
    this.#connections.delete(address);
    if (!connection.isProven) {
      const failures = (this.#backoffs.get(address)?.failures ?? 0) + 1;
      const delayMs = Math.min(this.#reconnectDelayMsMax, this.#reconnectDelayMs * 2 ** Math.min(failures - 1, 30));
      this.#backoffs.set(address, { failures, retryAtMs: this.#clock.now() + delayMs });
    }
    for (const listener of this.#lossListeners) listener(address);
  }

  async #serve(connection: RemotingConnection, command: RemotingCommand): Promise<void> {
    const handler = this.#handlers.get(command.code);
    let answer: RemotingCommand | undefined;
    try {
      answer =
        handler === undefined
          ? response(command, ResponseCode.REQUEST_CODE_NOT_SUPPORTED, ` request type ${command.code} not supported`)
          : await handler(command, connection.address);
    } catch (error) {
      answer = response(command, ResponseCode.SYSTEM_ERROR, error instanceof Error ? error.message : String(error));
    }
    if (answer === undefined || isOneway(command)) return;
    assert(answer.opaque === command.opaque, "the answer carries its request's opaque");
    connection.respond(answer);
  }
}
