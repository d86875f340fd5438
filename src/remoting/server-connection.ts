import type { Socket } from "node:net";
import { assert } from "../base/assert.ts";
import type { Clock, Timer } from "../base/clock.ts";
import { MillraceError } from "../base/errors.ts";
import type { Channel } from "../broker/channel.ts";
import { FrameReader } from "../client/connection/frame-reader.ts";
import {
  decodeCommand,
  encodeCommand,
  FLAG_RESPONSE,
  isResponse,
  type RemotingCommand,
} from "../format/remoting/remoting-command.ts";

/** What a connection needs of the server that owns it. */
export interface ServerConnectionOwner {
  readonly clock: Clock;
  /** Unsent bytes above which the connection is given up. */
  readonly outBytesMax: number;
  /** Requests being handled at once, above which no more are read. */
  readonly requestsMax: number;
  onRequest(connection: ServerConnection, command: RemotingCommand): void;
  /** Just before the connection is broken for something that the peer did. */
  onFault(connection: ServerConnection, reason: string): void;
  onClosed(connection: ServerConnection): void;
}

/** Above this many unsent bytes no further request is read until the peer has taken all of them. */
const OUT_BYTES_PAUSE = 1_048_576;
/** Requests of ours in flight on one connection. */
const INVOKES_MAX = 1_024;

interface PendingInvoke {
  resolve(answer: RemotingCommand): void;
  reject(error: MillraceError): void;
  timer: Timer;
}

/**
 * One accepted connection: cuts frames, answers in any order, and starts requests of its own.
 * What is written in one turn of the event loop leaves in one write.
 */
export class ServerConnection implements Channel {
  readonly id: number;
  readonly remoteAddress: string;
  /** Request codes that this peer was told are not supported. */
  readonly unsupportedCodes: Set<number> = new Set();
  /** Of the last read or write, ms. */
  lastActiveMs: number;
  readonly #socket: Socket;
  readonly #owner: ServerConnectionOwner;
  readonly #reader: FrameReader;
  readonly #invokes: Map<number, PendingInvoke> = new Map();
  #opaque = 0;
  #requests = 0;
  #isCorked = false;
  #isClosed = false;

  constructor(id: number, socket: Socket, owner: ServerConnectionOwner) {
    this.id = id;
    this.#socket = socket;
    this.#owner = owner;
    this.lastActiveMs = owner.clock.now();
    this.remoteAddress = peerOf(socket);
    this.#reader = new FrameReader((bytes, start, end) => this.#onFrame(bytes.subarray(start, end)));
    socket.setNoDelay(true);
    socket.on("data", (chunk: Buffer) => this.#onData(chunk));
    socket.on("drain", () => this.#adjustFlow());
    // A reset is no news for the server: the close event follows.
    socket.on("error", () => {});
    socket.once("close", () => this.#onClose());
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  nextOpaque(): number {
    this.#opaque = (this.#opaque + 1) & 0x7fff_ffff;
    return this.#opaque;
  }

  write(command: RemotingCommand): void {
    if (this.#isClosed || this.#socket.destroyed) return;
    const waiting = this.#socket.writableLength;
    if (waiting > this.#owner.outBytesMax) {
      this.abort(`${waiting} bytes wait to be sent, the limit is ${this.#owner.outBytesMax}`);
      return;
    }
    this.lastActiveMs = this.#owner.clock.now();
    this.#cork();
    this.#socket.write(encodeCommand(command));
    this.#adjustFlow();
  }

  /**
   * Sends a request under an opaque of its own (that of `command` does not matter).
   * @throws MillraceError MILLRACE_TIMEOUT, MILLRACE_CONNECTION, MILLRACE_BUSY (too many in flight)
   */
  invoke(command: RemotingCommand, timeoutMs: number): Promise<RemotingCommand> {
    const { remoteAddress } = this;
    if (this.#isClosed) return Promise.reject(this.#lost());
    if (this.#invokes.size >= INVOKES_MAX) {
      return Promise.reject(
        new MillraceError("MILLRACE_BUSY", `${remoteAddress}: ${INVOKES_MAX} requests are in flight`, { remoteAddress }),
      );
    }
    const opaque = this.nextOpaque();
    assert(!this.#invokes.has(opaque), "an opaque is free again long before the counter comes round");
    return new Promise((resolve, reject) => {
      const timer = this.#owner.clock.setTimer(() => {
        this.#invokes.delete(opaque);
        reject(
          new MillraceError("MILLRACE_TIMEOUT", `${remoteAddress}: no answer within ${timeoutMs} ms`, {
            remoteAddress,
            timeoutMs,
          }),
        );
      }, timeoutMs);
      this.#invokes.set(opaque, { resolve, reject, timer });
      this.write({ ...command, opaque, flag: command.flag & ~FLAG_RESPONSE });
    });
  }

  /** Closes once what was written is sent. */
  close(): void {
    this.#socket.destroySoon();
  }

  /** Closes at once, for something that the peer did. */
  abort(reason: string): void {
    if (this.#socket.destroyed) return;
    this.#owner.onFault(this, reason);
    this.#socket.destroy();
  }

  /** Closes at once. */
  destroy(): void {
    this.#socket.destroy();
  }

  /** A request has been answered, or never will be. */
  requestDone(): void {
    this.#requests--;
    assert(this.#requests >= 0, "no more requests done than begun");
    this.#adjustFlow();
  }

  #onData(chunk: Buffer): void {
    this.lastActiveMs = this.#owner.clock.now();
    try {
      this.#reader.push(chunk, chunk.length);
    } catch (error) {
      // Only a peer that breaks the protocol is answered by closing; anything else is a bug and must be seen.
      if (!(error instanceof MillraceError) || error.code !== "MILLRACE_PROTOCOL") throw error;
      this.abort(error.message);
    }
  }

  /** The frame is ours to keep: Node reads each chunk into memory of its own. */
  #onFrame(frame: Buffer): void {
    if (this.#socket.destroyed) return;
    const command = decodeCommand(frame);
    if (!isResponse(command)) {
      this.#requests++;
      this.#owner.onRequest(this, command);
      this.#adjustFlow();
      return;
    }
    const pending = this.#invokes.get(command.opaque);
    if (pending === undefined) return; // Too late, or nobody asked.
    this.#invokes.delete(command.opaque);
    pending.timer.cancel();
    pending.resolve(command);
  }

  #cork(): void {
    if (this.#isCorked) return;
    this.#isCorked = true;
    this.#socket.cork();
    process.nextTick(() => {
      this.#isCorked = false;
      this.#socket.uncork();
    });
  }

  /** Reads on only while the peer takes its answers and its requests are not piling up. */
  #adjustFlow(): void {
    if (this.#isClosed) return;
    const mustWait = this.#requests >= this.#owner.requestsMax || this.#socket.writableLength > OUT_BYTES_PAUSE;
    if (mustWait && !this.#socket.isPaused()) this.#socket.pause();
    else if (!mustWait && this.#socket.isPaused()) this.#socket.resume();
  }

  #onClose(): void {
    this.#isClosed = true;
    for (const pending of this.#invokes.values()) {
      pending.timer.cancel();
      pending.reject(this.#lost());
    }
    this.#invokes.clear();
    this.#owner.onClosed(this);
  }

  #lost(): MillraceError {
    const { remoteAddress } = this;
    return new MillraceError("MILLRACE_CONNECTION", `${remoteAddress}: the connection is closed`, { remoteAddress });
  }
}

/** `ip:port`; IPv4 that came in over an IPv6 socket as IPv4, IPv6 in brackets. */
function peerOf(socket: Socket): string {
  const address = socket.remoteAddress ?? "0.0.0.0";
  const ip = address.startsWith("::ffff:") ? address.slice(7) : address;
  return `${ip.includes(":") ? `[${ip}]` : ip}:${socket.remotePort ?? 0}`;
}
