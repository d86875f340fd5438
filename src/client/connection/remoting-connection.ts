import { connect, type Socket } from "node:net";
import { MillraceError } from "../../base/errors.ts";
import { decodeCommand, encodeCommand, isResponse, type RemotingCommand } from "../../format/remoting/remoting-command.ts";
import { parseAddress } from "./address.ts";
import { FrameReader } from "./frame-reader.ts";
import { FrameWriter } from "./frame-writer.ts";
import { PendingRequests, type ResponseSink } from "./pending-requests.ts";
import { NOT_A_PLAIN_RESPONSE, responseOpaque } from "./response-scan.ts";

/** What a connection needs of the client that owns it. */
export interface ConnectionOwner {
  readonly connectTimeoutMs: number;
  readonly maxInFlight: number;
  readonly maxBufferedBytes: number;
  readonly serializeType: number;
  /** Tick at which a request that starts now and may take `timeoutMs` is over. */
  deadlineTick(timeoutMs: number): number;
  onRequest(connection: RemotingConnection, command: RemotingCommand): void;
  /** The first whole frame has come: the peer really speaks remoting. */
  onProven(connection: RemotingConnection): void;
  onClosed(connection: RemotingConnection): void;
}

/**
 * All sockets of a thread read into this one: a read callback uses its bytes up before it returns.
 * Large, since one read system call then serves a whole pull answer.
 */
let sharedReadBuffer: Buffer | undefined;
const READ_BUFFER_SIZE = 262_144;

/**
 * One TCP connection to one address, from the first request until it breaks; never reconnects (its owner
 * makes a new one). Requests may be written before it is connected: they wait, bounded by `maxBufferedBytes`.
 */
export class RemotingConnection {
  readonly address: string;
  readonly #owner: ConnectionOwner;
  readonly #socket: Socket;
  readonly #pending: PendingRequests;
  readonly #reader: FrameReader;
  readonly #writer: FrameWriter = new FrameWriter();
  readonly #flush: () => void = () => this.#flushNow();
  #connectTick: number;
  #flushScheduled = false;
  #connected = false;
  #proven = false;
  #closing = false;
  #cause: unknown;
  #failure: MillraceError | undefined;

  constructor(address: string, owner: ConnectionOwner) {
    this.address = address;
    this.#owner = owner;
    this.#pending = new PendingRequests(owner.maxInFlight);
    this.#reader = new FrameReader((bytes, start, end, owned) => this.#onFrame(bytes, start, end, owned));
    this.#connectTick = owner.deadlineTick(owner.connectTimeoutMs);
    sharedReadBuffer ??= Buffer.allocUnsafeSlow(READ_BUFFER_SIZE);
    const buffer = sharedReadBuffer;
    const { host, port } = parseAddress(address);
    this.#socket = connect({
      host,
      port,
      noDelay: true,
      onread: {
        buffer,
        callback: (size) => {
          this.#onBytes(buffer, size);
          return true;
        },
      },
    });
    this.#socket.once("connect", () => {
      this.#connected = true;
      this.#flushNow();
    });
    this.#socket.once("end", () => this.#socket.destroy());
    this.#socket.once("error", (error) => {
      this.#cause = error;
    });
    this.#socket.once("close", () => this.#fail(this.#lossError()));
  }

  get isOpen(): boolean {
    return this.#failure === undefined && !this.#closing;
  }

  get isConnected(): boolean {
    return this.#connected && this.isOpen;
  }

  /** Has the peer sent at least one frame? */
  get isProven(): boolean {
    return this.#proven;
  }

  get inFlight(): number {
    return this.#pending.count;
  }

  /** Bytes handed over and not yet taken by the kernel. */
  get bufferedBytes(): number {
    return this.#writer.waitingBytes + this.#socket.writableLength;
  }

  /**
   * Enters one request into the table of those in flight; the caller then writes its frame, in the same
   * turn, by `writer` + `scheduleFlush`. Once entered, the sink hears an answer or a failure in any case.
   *
   * @returns the request's opaque
   * @throws MillraceError MILLRACE_BUSY (too many in flight, or too much unsent), MILLRACE_CONNECTION (closed)
   */
  open(sink: ResponseSink, timeoutMs: number): number {
    this.#checkWritable();
    const opaque = this.#pending.add(sink, this.#owner.deadlineTick(timeoutMs));
    if (opaque < 0) {
      throw new MillraceError(
        "MILLRACE_BUSY",
        `${this.address}: ${this.#pending.count} requests are in flight, which is the limit`,
        {
          address: this.address,
          inFlight: this.#pending.count,
        },
      );
    }
    return opaque;
  }

  /** Takes back an `open` whose frame was not written. */
  cancel(opaque: number): void {
    this.#pending.take(opaque);
  }

  /** Sends one command, its opaque filled in here. @throws as `open` */
  request(command: RemotingCommand, sink: ResponseSink, timeoutMs: number): void {
    command.opaque = this.open(sink, timeoutMs);
    this.append(encodeCommand(command, this.#owner.serializeType));
  }

  /** Sends one command that is not answered, its opaque filled in here. @throws as `open` */
  oneway(command: RemotingCommand): void {
    this.#checkWritable();
    command.opaque = this.#pending.spareOpaque();
    this.append(encodeCommand(command, this.#owner.serializeType));
  }

  /** An opaque for a one-way frame that the caller writes itself. @throws as `open` */
  openOneway(): number {
    this.#checkWritable();
    return this.#pending.spareOpaque();
  }

  /** Sends the answer to a request of the server; dropped when the connection is gone meanwhile. */
  respond(command: RemotingCommand): void {
    if (this.isOpen) this.append(encodeCommand(command, this.#owner.serializeType));
  }

  /** Where frames are written in place; follow each commit by `scheduleFlush`. */
  get writer(): FrameWriter {
    return this.#writer;
  }

  append(frame: Buffer): void {
    this.#writer.append(frame);
    this.scheduleFlush();
  }

  /**
   * What is written in this turn of the event loop leaves in one write at its end. By nextTick, not a
   * microtask: it runs when the microtasks have drained, so the follow-ups of all answers of one read go together.
   */
  scheduleFlush(): void {
    if (this.#flushScheduled) return;
    this.#flushScheduled = true;
    process.nextTick(this.#flush);
  }

  /** Fails what is overdue at `tick`. */
  expire(tick: number): void {
    if (!this.#connected && this.#connectTick <= tick && this.isOpen) {
      const error = new MillraceError(
        "MILLRACE_CONNECTION",
        `${this.address}: no connection within ${this.#owner.connectTimeoutMs} ms`,
        {
          address: this.address,
          connectTimeoutMs: this.#owner.connectTimeoutMs,
        },
      );
      this.#fail(error);
      return;
    }
    for (const sink of this.#pending.takeExpired(tick)) {
      sink.onFailure(new MillraceError("MILLRACE_TIMEOUT", `${this.address}: no answer in time`, { address: this.address }));
    }
  }

  /** Fails what is pending with MILLRACE_CLOSED and closes once the bytes handed over are sent. */
  close(): Promise<void> {
    if (this.#failure !== undefined && this.#socket.closed) return Promise.resolve();
    const closed = new Promise<void>((resolve) => this.#socket.once("close", () => resolve()));
    if (this.#failure === undefined) {
      this.#closing = true;
      if (this.#connected) this.#flushNow();
      this.#failPending(
        new MillraceError("MILLRACE_CLOSED", `${this.address}: the client was closed`, { address: this.address }),
      );
      if (this.#connected) this.#socket.destroySoon();
      else this.#socket.destroy();
    }
    return closed;
  }

  #checkWritable(): void {
    if (!this.isOpen) throw this.#failure ?? this.#lossError();
    const buffered = this.bufferedBytes;
    if (buffered > this.#owner.maxBufferedBytes) {
      throw new MillraceError(
        "MILLRACE_BUSY",
        `${this.address}: ${buffered} bytes wait to be sent, the limit is ${this.#owner.maxBufferedBytes}`,
        {
          address: this.address,
          bufferedBytes: buffered,
          maxBufferedBytes: this.#owner.maxBufferedBytes,
        },
      );
    }
  }

  #flushNow(): void {
    this.#flushScheduled = false;
    if (!this.#connected || this.#failure !== undefined || this.#writer.waitingBytes === 0) return;
    const pieces = this.#writer.take();
    if (pieces.length === 1) this.#socket.write(pieces[0]!);
    else {
      this.#socket.cork();
      for (const piece of pieces) this.#socket.write(piece);
      this.#socket.uncork();
    }
    // Zero right after the write: the kernel took every byte, nobody reads our memory any more.
    if (this.#socket.writableLength === 0) this.#writer.reuse();
  }

  #onBytes(buffer: Buffer, size: number): void {
    if (this.#failure !== undefined) return;
    try {
      this.#reader.push(buffer, size);
    } catch (error) {
      // Only a peer that breaks the protocol is answered by closing; anything else is a bug and must be seen.
      if (!(error instanceof MillraceError) || error.code !== "MILLRACE_PROTOCOL") throw error;
      this.#fail(error);
    }
  }

  #onFrame(bytes: Buffer, start: number, end: number, owned: boolean): void {
    if (!this.#proven) {
      this.#proven = true;
      this.#owner.onProven(this);
    }
    const opaque = responseOpaque(bytes, start);
    if (opaque !== NOT_A_PLAIN_RESPONSE) {
      this.#pending.take(opaque)?.onResponse(bytes, start, end, owned);
      return;
    }
    const frame = owned ? bytes.subarray(start, end) : copyOf(bytes, start, end);
    const command = decodeCommand(frame);
    if (isResponse(command)) this.#pending.take(command.opaque)?.onResponse(frame, 0, frame.length, true);
    else this.#owner.onRequest(this, command);
  }

  #lossError(): MillraceError {
    const code = (this.#cause as NodeJS.ErrnoException | undefined)?.code;
    const why = code ?? (this.#connected ? "closed by the peer" : "closed");
    return new MillraceError(
      "MILLRACE_CONNECTION",
      `${this.address}: ${this.#connected ? "the connection was lost" : "cannot connect"} (${why})`,
      { address: this.address, reason: why },
      this.#cause,
    );
  }

  #fail(error: MillraceError): void {
    if (this.#failure !== undefined) return;
    this.#failure = error;
    this.#socket.destroy();
    // Told first, so that a failed request that is sent again at once finds the back-off, not this connection.
    this.#owner.onClosed(this);
    this.#failPending(error);
  }

  #failPending(error: MillraceError): void {
    for (const sink of this.#pending.takeAll()) sink.onFailure(error);
  }
}

function copyOf(bytes: Buffer, start: number, end: number): Buffer {
  const copy = Buffer.allocUnsafeSlow(end - start);
  bytes.copy(copy, 0, start, end);
  return copy;
}

/** A sink that decodes the answer whole. */
export class CommandSink implements ResponseSink {
  readonly #resolve: (command: RemotingCommand) => void;
  readonly #reject: (error: unknown) => void;

  constructor(resolve: (command: RemotingCommand) => void, reject: (error: unknown) => void) {
    this.#resolve = resolve;
    this.#reject = reject;
  }

  onResponse(bytes: Buffer, start: number, end: number, owned: boolean): void {
    let command: RemotingCommand;
    try {
      command = decodeCommand(owned ? bytes.subarray(start, end) : copyOf(bytes, start, end));
    } catch (error) {
      this.#reject(error);
      return;
    }
    this.#resolve(command);
  }

  onFailure(error: MillraceError): void {
    this.#reject(error);
  }
}
