import { assert } from "../../base/assert.ts";

/** Room for one read event's worth of answers or requests; larger frames get memory of their own. */
const CHUNK_SIZE = 131_072;
/** From here on a ready buffer is queued as it is: a copy would cost more than one more piece in the writev. */
const COPY_SIZE_MAX = 8_192;

/**
 * Gathers the frames of one event-loop turn, so that they leave in one write.
 *
 * Small frames are written in place into one chunk (`reserve`, then `commit`), which is used again from
 * its start as soon as the socket has taken all of it; large ready-made frames are queued untouched.
 */
export class FrameWriter {
  /** Where `reserve` made room; valid until the next call of any method here. */
  bytes: Buffer = Buffer.allocUnsafeSlow(CHUNK_SIZE);
  #start = 0;
  #at = 0;
  #sealed: Buffer[] = [];
  #sealedBytes = 0;

  /** Bytes that wait for a flush. */
  get waitingBytes(): number {
    return this.#sealedBytes + this.#at - this.#start;
  }

  /** @returns where in `bytes` up to `size` bytes may be written now; nothing is sent before `commit` */
  reserve(size: number): number {
    if (this.#at + size > this.bytes.length) {
      this.#seal();
      this.bytes = Buffer.allocUnsafeSlow(Math.max(CHUNK_SIZE, size));
      this.#start = 0;
      this.#at = 0;
    }
    return this.#at;
  }

  /** Makes the `size` bytes behind the last `reserve` part of what is sent. */
  commit(size: number): void {
    this.#at += size;
    assert(this.#at <= this.bytes.length, "no more committed than reserved");
  }

  /** Queues a whole frame, which must stay unchanged until it is on the wire. */
  append(frame: Buffer): void {
    if (frame.length <= COPY_SIZE_MAX) {
      const at = this.reserve(frame.length);
      frame.copy(this.bytes, at);
      this.commit(frame.length);
      return;
    }
    this.#seal();
    this.#sealed.push(frame);
    this.#sealedBytes += frame.length;
  }

  /** All pieces that wait, in order; they are the caller's from now on. */
  take(): Buffer[] {
    this.#seal();
    const pieces = this.#sealed;
    this.#sealed = [];
    this.#sealedBytes = 0;
    return pieces;
  }

  /** Every byte taken so far has reached the kernel: the chunk may be written over. */
  reuse(): void {
    assert(this.waitingBytes === 0, "nothing waits when the chunk is used again");
    this.#start = 0;
    this.#at = 0;
  }

  #seal(): void {
    if (this.#at === this.#start) return;
    this.#sealed.push(this.bytes.subarray(this.#start, this.#at));
    this.#sealedBytes += this.#at - this.#start;
    this.#start = this.#at;
  }
}
