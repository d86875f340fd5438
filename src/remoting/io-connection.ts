import type { Socket } from "node:net";
import { copyBytes } from "../base/copy-bytes.ts";
import { encodeHost } from "../format/record/message.ts";
import { FRAME_INCOMPLETE, FRAME_MALFORMED, frameSize } from "../format/remoting/remoting-frame.ts";
import type { GatherWriter } from "../os/api.ts";
import type { IoTopic } from "./io-tables.ts";
import { FRAME_BUFFERS, KeptBuffers } from "./kept-buffers.ts";
import type { SocketReading, SocketReads } from "./transport/socket-reads.ts";

const STAGE_SIZE = 16_384;
/** A frame begins with the length of what follows. */
const FRAME_LENGTH_SIZE = 4;
/** A frame that has begun to come gets so many times the memory of what is there, if it claims to be as long. */
const CLAIMED_TIMES_MAX = 4;
const NOTHING = Buffer.alloc(0);
/** Above this many unsent bytes we read no more of the connection's requests: a reader that does not read holds no more memory. */
export const OUT_SIZE_MAX = 1_048_576;
/** Messages that pulls of one connection get before others have their turn, bytes. */
const TURN_SIZE_MAX = 1_048_576;

/** What the dispatcher made of a frame. */
export const FRAME_DONE = 0;
/** Cannot be taken now: keep it, and stop reading until `resume`. */
export const FRAME_BLOCKED = 1;
/** Close the connection. */
export const FRAME_REFUSED = 2;

/**
 * Takes frames of a common kind from the front of bytes[start, end), many at a time.
 * @returns where it has stopped; what stands there is for the FrameHandler
 */
export type RunHandler = (connection: IoConnection, bytes: Buffer, start: number, end: number) => number;
export type FrameHandler = (connection: IoConnection, bytes: Buffer, start: number, size: number) => number;

/**
 * One client connection of an I/O worker: cuts the byte stream into frames, and gathers answers so that one
 * read event costs one write. I/O worker only.
 */
export class IoConnection {
  readonly id: number;
  readonly socket: Socket;
  /** Of the socket, until that is destroyed. */
  readonly #fd: number;
  readonly remoteAddress: string;
  /** The peer as it stands in records: 8 or 20 bytes. */
  readonly bornHost: Buffer;
  readonly bornHostView: DataView;
  readonly #onFrame: FrameHandler;
  /** Is asked first. */
  onRun: RunHandler | undefined;
  readonly #onNextTurn: (connection: IoConnection) => void;
  readonly #gather: GatherWriter | undefined;
  readonly #reads: SocketReads;
  readonly #buffers: KeptBuffers;
  #reading: SocketReading | undefined;
  /** Bytes of frames not yet handled, in memory of `#buffers`. */
  #pending: Buffer = NOTHING;
  #pendingSize = 0;
  #isBlocked = false;
  /** Bytes of messages since its last turn began. */
  #turnSize = 0;
  #hasHadTurn = false;
  isClosed = false;
  /** Since when its first waiting frame waits, ms; for the time limit in the send queue. */
  blockedSinceMs = 0;
  /** Bytes of requests that the control thread has not answered yet. */
  forwardedSize = 0;
  /** Requests that the control thread has given back while this connection was choked; they count as forwarded. */
  readonly replays: Buffer[] = [];
  /** Frames and runs of frames handled so far. */
  handledCount = 0;
  /** Frames whose wait has passed the limit are answered, not stored. */
  isOverdue = false;
  /** Answers gathered since the last flush: stage[0, staged). */
  stage: Buffer = Buffer.allocUnsafeSlow(STAGE_SIZE);
  stageView: DataView = new DataView(this.stage.buffer);
  staged = 0;
  /** Topic of the last send: mostly it is the next one's as well. */
  lastTopic: IoTopic | undefined;
  /** Of the tables when it was looked up. */
  lastTopicVersion = -1;

  /** Some of its sends may be taken a run at a time (see SendRuns). */
  hasRuns = false;

  readonly #staged: IoConnection[];
  #isInStaged = false;

  /**
   * @param onNextTurn  it may be served again after `isChoked` had said no
   * @param stagedList  connections with something to flush at the end of the turn; this one enters itself
   * @param buffers     of all connections of the worker
   */
  constructor(
    id: number,
    socket: Socket,
    onFrame: FrameHandler,
    onNextTurn: (connection: IoConnection) => void,
    gather: GatherWriter | undefined,
    reads: SocketReads,
    stagedList: IoConnection[],
    buffers: KeptBuffers = new KeptBuffers(FRAME_BUFFERS),
  ) {
    this.id = id;
    this.socket = socket;
    this.#fd = (socket as unknown as { _handle?: { fd?: number } })._handle?.fd ?? -1;
    this.#onFrame = onFrame;
    this.#onNextTurn = onNextTurn;
    this.#gather = gather;
    this.#reads = reads;
    this.#buffers = buffers;
    this.#staged = stagedList;
    const address = socket.remoteAddress ?? "0.0.0.0";
    const ip = address.startsWith("::ffff:") ? address.slice(7) : address;
    this.remoteAddress = `${ip.includes(":") ? `[${ip}]` : ip}:${socket.remotePort ?? 0}`;
    this.bornHost = encodeHost(this.remoteAddress);
    this.bornHostView = new DataView(this.bornHost.buffer, this.bornHost.byteOffset, this.bornHost.length);
  }

  get isBlocked(): boolean {
    return this.#isBlocked;
  }

  /** It gets no more messages now: the client does not read what it has asked for, or others are to have their turn. */
  get isChoked(): boolean {
    return this.#hasHadTurn || this.socket.writableLength > OUT_SIZE_MAX;
  }

  /**
   * A pull was answered with so many bytes. A socket may take tens of megabytes at once, and hands the buffers back only
   * when we return to the event loop: without a limit one client with many pulls in flight would have it all.
   */
  noteAnswered(size: number): void {
    this.#turnSize += size;
    if (this.#turnSize <= TURN_SIZE_MAX || this.#hasHadTurn) return;
    this.#hasHadTurn = true;
    this.#reads.needLoop();
    setImmediate(() => {
      this.#hasHadTurn = false;
      this.#turnSize = 0;
      this.#onNextTurn(this);
    });
  }

  /** Begins to read. @param onBytes  is to give them to `receive` */
  read(onBytes: (bytes: Buffer, size: number) => void): void {
    this.#reading = this.#reads.attach(this.socket, onBytes);
  }

  /** Leaves bytes to the stream, behind all that it has. */
  writeStream(bytes: Buffer, onWritten?: () => void): void {
    this.socket.write(bytes, onWritten);
    this.#reads.needLoop();
  }

  /** Takes bytes[0, size), which have been read. @returns false if the connection must be closed */
  receive(bytes: Buffer, size: number): boolean {
    let from = 0;
    // Only the first frame, which came in two reads or more, is put together; those behind it are read where they are.
    while (this.#pendingSize > 0 && !this.#isBlocked && from < size) {
      const end = Math.min(size, from + this.#missingSize());
      this.#keep(bytes, from, end);
      from = end;
      if (!this.#processPending()) return false;
    }
    if (!this.#isBlocked) from = this.#process(bytes, from, size);
    if (from < 0) return false;
    if (from < size) this.#keep(bytes, from, size);
    return true;
  }

  /** Bytes that the kept beginning of a frame lacks, as far as it tells. */
  #missingSize(): number {
    if (this.#pendingSize < FRAME_LENGTH_SIZE) return FRAME_LENGTH_SIZE - this.#pendingSize;
    return Math.max(1, FRAME_LENGTH_SIZE + this.#pending.readUInt32BE(0) - this.#pendingSize);
  }

  /** Goes on with kept frames after the reason of a block has gone. @returns false if the connection must be closed */
  resume(): boolean {
    if (!this.#isBlocked || this.isClosed) return true;
    this.#isBlocked = false;
    if (!this.#processPending()) return false;
    if (!this.#isBlocked) this.#reading?.resume();
    return true;
  }

  #processPending(): boolean {
    const used = this.#process(this.#pending, 0, this.#pendingSize);
    if (used < 0) return false;
    if (used === 0) return true;
    this.#pending.copyWithin(0, used, this.#pendingSize);
    this.#pendingSize -= used;
    if (this.#pendingSize === 0) this.#holdIn(NOTHING);
    return true;
  }

  /** @returns the end of the whole frames handled in bytes[start, end), or -1 */
  #process(bytes: Buffer, start: number, end: number): number {
    let at = start;
    const onRun = this.hasRuns ? this.onRun : undefined;
    while (at < end) {
      if (onRun !== undefined && !this.isChoked) {
        const stoppedAt = onRun(this, bytes, at, end);
        if (stoppedAt > at) this.handledCount++;
        at = stoppedAt;
        if (at >= end) break;
      }
      const size = frameSize(bytes, at, end);
      if (size === FRAME_INCOMPLETE) break;
      if (size === FRAME_MALFORMED) return -1;
      const outcome = this.isChoked ? FRAME_BLOCKED : this.#onFrame(this, bytes, at, size);
      if (outcome === FRAME_BLOCKED) {
        this.#isBlocked = true;
        this.#reading?.pause();
        break;
      }
      if (outcome === FRAME_REFUSED) return -1;
      this.handledCount++;
      at += size;
    }
    return at;
  }

  /** Copies the rest of what was read behind what is pending. Grows by what has come, whatever a header claims. */
  #keep(bytes: Buffer, from: number, end: number): void {
    const need = this.#pendingSize + end - from;
    if (need > this.#pending.length) {
      const first = this.#pendingSize > 0 ? this.#pending.readUInt32BE(0) : end - from > 4 ? bytes.readUInt32BE(from) : 0;
      const grown = this.#buffers.take(Math.max(need, Math.min(FRAME_LENGTH_SIZE + first, CLAIMED_TIMES_MAX * need)));
      copyBytes(this.#pending, 0, this.#pendingSize, grown, 0);
      this.#holdIn(grown);
    }
    copyBytes(bytes, from, end, this.#pending, this.#pendingSize);
    this.#pendingSize = need;
  }

  #holdIn(buffer: Buffer): void {
    if (this.#pending !== NOTHING) this.#buffers.give(this.#pending);
    this.#pending = buffer;
  }

  /** Room for an answer of at most `sizeMax` bytes at `staged` in `stage`; advance `staged` by what was written. */
  reserve(sizeMax: number): void {
    if (this.stage.length - this.staged >= sizeMax) return;
    const grown = Buffer.allocUnsafeSlow(Math.max(2 * this.stage.length, this.staged + sizeMax));
    this.stage.copy(grown, 0, 0, this.staged);
    this.#setStage(grown);
  }

  #setStage(stage: Buffer): void {
    this.stage = stage;
    this.stageView = new DataView(stage.buffer, stage.byteOffset, stage.byteLength);
  }

  /** Call after something was staged: it leaves at the end of the turn. */
  markStaged(): void {
    if (this.#isInStaged) return;
    this.#isInStaged = true;
    this.#staged.push(this);
  }

  /** The end of the turn. */
  flushTurn(): void {
    this.#isInStaged = false;
    this.flush();
  }

  /** Descriptor for writing past the stream, or -1: something is queued there, or the drive cannot. */
  directFd(): number {
    if (this.#gather === undefined || this.socket.writableLength > 0 || this.socket.destroyed) return -1;
    return this.#fd;
  }

  /** Sends what is staged. */
  flush(): void {
    if (this.staged === 0) return;
    const size = this.staged;
    this.staged = 0;
    if (this.isClosed) return;
    const gather = this.#gather;
    const fd = this.directFd();
    let sent = 0;
    if (gather !== undefined && fd >= 0) {
      while (sent < size) {
        const piece = Math.min(size - sent, gather.scratch.length);
        this.stage.copy(gather.scratch, 0, sent, sent + piece);
        gather.reset();
        gather.addScratch(0, piece);
        const written = gather.write(fd);
        if (written < 0) {
          this.socket.destroy();
          return;
        }
        sent += written;
        if (written < piece) break;
      }
    }
    if (sent < size) this.writeStream(Buffer.from(this.stage.subarray(sent, size)));
    if (this.stage.length > 4 * STAGE_SIZE) this.#setStage(Buffer.allocUnsafeSlow(STAGE_SIZE));
  }

  /** Sends a whole frame behind what is staged. */
  write(frame: Buffer): void {
    this.reserve(frame.length);
    frame.copy(this.stage, this.staged);
    this.staged += frame.length;
    this.markStaged();
  }
}
