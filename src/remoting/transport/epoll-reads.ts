import type { Socket } from "node:net";
import type { SocketPoller } from "../../os/api.ts";
import type { OnBytes, SocketReading, SocketReads } from "./socket-reads.ts";
import { TurnPace } from "./turn-pace.ts";

/** The tag of the event loop's own descriptor. */
const LOOP_TAG = 0xffff_ffff;
/** The event loop has its turn after so many waits at the latest: its timers do not end a wait. */
const WAITS_MAX = 64;
const WAIT_MS = 25;
/** While nothing comes a wait is twice as long as the one before, up to this. */
const WAIT_MS_MAX = 200;
/** Looked for every so many turns of the event loop at least; with WAIT_MS_MAX this bounds how late an idle socket is closed. */
const IDLE_CHECK_MS = 1_000;

export interface EpollOptions {
  /** A socket from which nothing came for so long is closed. */
  idleMsMax: number;
  /** ms, with fractions. */
  now: () => number;
  /** Pieces of work done so far, see TurnPace. */
  work: () => number;
  /** All sockets that could be read have been, each once. */
  onRound: () => void;
}

/**
 * Waits for all sockets of the worker at once, and reads them, past the event loop: spares it about a third of what a
 * request that comes alone costs. The event loop's own descriptor is among those waited for, and whenever it has something
 * to do (a message, a new connection, room in a socket) it has its turn. Without sockets nothing of this runs.
 */
export class EpollReads implements SocketReads {
  readonly #poller: SocketPoller;
  readonly #idleMsMax: number;
  readonly #now: () => number;
  readonly #onRound: () => void;
  readonly #pace: TurnPace;
  /** By tag. */
  readonly #readings: (EpollReading | undefined)[] = [];
  /** Tags that may be given out again; `#leaving` only when what the last wait said of them is behind us. */
  readonly #free: number[] = [];
  #leaving: number[] = [];
  #count = 0;
  #isScheduled = false;
  #wantsLoop = false;
  #isClosed = false;
  #waitMs = WAIT_MS;
  #checkedMs: number;

  constructor(poller: SocketPoller, { idleMsMax, now, work, onRound }: EpollOptions) {
    this.#onRound = onRound;
    this.#poller = poller;
    this.#idleMsMax = idleMsMax;
    this.#now = now;
    this.#pace = new TurnPace(work, now);
    this.#checkedMs = now();
  }

  /** @param serverFd  a socket that listens on this thread's event loop @returns undefined where that loop cannot be watched */
  static open(poller: SocketPoller, serverFd: number, options: EpollOptions): EpollReads | undefined {
    if (poller.addEventLoop(serverFd, LOOP_TAG)) return new EpollReads(poller, options);
    poller.close();
    return undefined;
  }

  attach(socket: Socket, onBytes: OnBytes): SocketReading {
    const fd = (socket as unknown as { _handle?: { fd?: number } })._handle?.fd ?? -1;
    const tag = this.#free.pop() ?? this.#readings.length;
    const reading = new EpollReading(this.#poller, socket, fd, tag, onBytes, this.#now());
    this.#readings[tag] = reading;
    this.#count++;
    socket.once("close", () => this.#leave(reading));
    reading.resume();
    this.#schedule();
    return reading;
  }

  needLoop(): void {
    this.#wantsLoop = true;
  }

  #leave(reading: EpollReading): void {
    this.#readings[reading.tag] = undefined;
    this.#leaving.push(reading.tag);
    this.#count--;
  }

  #schedule(): void {
    if (this.#isScheduled || this.#isClosed || this.#count === 0) return;
    this.#isScheduled = true;
    setImmediate(this.#run);
  }

  readonly #run = (): void => {
    this.#isScheduled = false;
    if (this.#isClosed) return;
    this.#free.push(...this.#leaving);
    this.#leaving = [];
    for (let waits = 0; waits < WAITS_MAX; waits++) {
      const restUs = this.#pace.restUs();
      if (restUs > 0 && !this.#wantsLoop) this.#poller.rest(restUs);
      const count = this.#poller.wait(this.#wantsLoop ? 0 : this.#waitMs);
      if (count > 0) this.#waitMs = WAIT_MS;
      else if (!this.#wantsLoop) this.#waitMs = Math.min(2 * this.#waitMs, WAIT_MS_MAX);
      let isLoopReady = count === 0;
      for (let i = 0; i < count; i++) {
        const tag = this.#poller.tag(i);
        if (tag === LOOP_TAG) isLoopReady = true;
        else this.#readings[tag]?.read();
      }
      if (count > 0) this.#onRound();
      if (isLoopReady || this.#wantsLoop) break;
    }
    this.#wantsLoop = false;
    this.#closeIdle();
    this.#schedule();
  };

  #closeIdle(): void {
    const nowMs = this.#now();
    if (nowMs - this.#checkedMs < IDLE_CHECK_MS) return;
    this.#checkedMs = nowMs;
    for (const reading of this.#readings) reading?.closeIfIdle(nowMs, this.#idleMsMax);
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#poller.close();
  }
}

class EpollReading implements SocketReading {
  readonly tag: number;
  readonly #poller: SocketPoller;
  readonly #socket: Socket;
  readonly #fd: number;
  readonly #onBytes: OnBytes;
  #isWatched = false;
  #hasRead = false;
  #lastMs: number;

  constructor(poller: SocketPoller, socket: Socket, fd: number, tag: number, onBytes: OnBytes, nowMs: number) {
    this.#poller = poller;
    this.#socket = socket;
    this.#fd = fd;
    this.tag = tag;
    this.#onBytes = onBytes;
    this.#lastMs = nowMs;
  }

  pause(): void {
    // Not only without interest in bytes: the end of the connection would be reported without end.
    if (this.#isWatched && !this.#socket.destroyed) this.#poller.remove(this.#fd);
    this.#isWatched = false;
  }

  resume(): void {
    if (this.#isWatched || this.#socket.destroyed) return;
    this.#poller.add(this.#fd, this.tag);
    this.#isWatched = true;
  }

  read(): void {
    // The descriptor of a socket that was destroyed may be another file's by now.
    if (this.#socket.destroyed || !this.#isWatched) return;
    this.#hasRead = true;
    const size = this.#poller.read(this.#fd);
    if (size > 0) this.#onBytes(this.#poller.input, size);
    else if (size < 0) this.#end();
  }

  /** The peer writes no more: what is still to be sent is, then the socket is closed, as Node does. */
  #end(): void {
    this.pause();
    this.#socket.destroySoon();
  }

  closeIfIdle(nowMs: number, idleMsMax: number): void {
    if (this.#hasRead) this.#lastMs = nowMs;
    else if (nowMs - this.#lastMs > idleMsMax) this.#socket.destroy();
    this.#hasRead = false;
  }
}
