import { MillraceError } from "../../base/errors.ts";
import { FRAME_INCOMPLETE, FRAME_MALFORMED, frameSize, HEADER_OFFSET } from "../../format/remoting/remoting-frame.ts";

/** One whole frame bytes[start, end); kept after the call only if `owned`. */
export type FrameListener = (bytes: Buffer, start: number, end: number, owned: boolean) => void;

/** A frame longer than this is not given its whole memory before its bytes arrive. */
const TRUSTED_SIZE_MAX = 1_048_576;

/**
 * Cuts a byte stream into frames. Frames that lie whole in the chunk read are handed on where they lie;
 * only one that is split over chunks is gathered in memory of its own.
 */
export class FrameReader {
  readonly #onFrame: FrameListener;
  #partial: Buffer | undefined;
  #have = 0;
  /** Size of the partial frame, or FRAME_INCOMPLETE while its head is not there yet. */
  #size: number = FRAME_INCOMPLETE;

  constructor(onFrame: FrameListener) {
    this.#onFrame = onFrame;
  }

  /**
   * Takes chunk[0, end); the chunk may be overwritten afterwards.
   * @throws MillraceError MILLRACE_PROTOCOL on a malformed frame; the stream is then lost
   */
  push(chunk: Buffer, end: number): void {
    let at = this.#partial === undefined ? 0 : this.#continuePartial(chunk, end);
    while (at < end) {
      const size = frameSize(chunk, at, end);
      if (size === FRAME_INCOMPLETE) {
        this.#startPartial(chunk, at, end);
        return;
      }
      if (size === FRAME_MALFORMED) throw malformed();
      this.#onFrame(chunk, at, at + size, false);
      at += size;
    }
  }

  #startPartial(chunk: Buffer, at: number, end: number): void {
    const size = end - at < HEADER_OFFSET ? FRAME_INCOMPLETE : 4 + chunk.readUInt32BE(at);
    this.#partial = Buffer.allocUnsafeSlow(Math.max(end - at, Math.min(size, TRUSTED_SIZE_MAX), HEADER_OFFSET));
    this.#size = size;
    this.#have = chunk.copy(this.#partial, 0, at, end);
  }

  /** @returns how far the chunk was used */
  #continuePartial(chunk: Buffer, end: number): number {
    let at = 0;
    if (this.#size === FRAME_INCOMPLETE) {
      at = this.#take(chunk, 0, Math.min(end, HEADER_OFFSET - this.#have));
      if (this.#have < HEADER_OFFSET) return at;
      if (frameSize(this.#partial!, 0, HEADER_OFFSET) === FRAME_MALFORMED) throw malformed();
      this.#size = 4 + this.#partial!.readUInt32BE(0);
    }
    at = this.#take(chunk, at, Math.min(end, at + this.#size - this.#have));
    if (this.#have === this.#size) {
      const frame = this.#partial!;
      this.#partial = undefined;
      this.#size = FRAME_INCOMPLETE;
      this.#onFrame(frame, 0, this.#have, true);
    }
    return at;
  }

  #take(chunk: Buffer, from: number, to: number): number {
    const need = this.#have + (to - from);
    if (need > this.#partial!.length) {
      // Doubling up to the frame's size: memory follows the bytes that really came.
      const wanted = Math.max(need, Math.min(this.#size, Math.max(this.#partial!.length * 2, TRUSTED_SIZE_MAX)));
      const larger = Buffer.allocUnsafeSlow(wanted);
      this.#partial!.copy(larger, 0, 0, this.#have);
      this.#partial = larger;
    }
    chunk.copy(this.#partial!, this.#have, from, to);
    this.#have = need;
    return to;
  }
}

function malformed(): MillraceError {
  return new MillraceError("MILLRACE_PROTOCOL", "the peer sent a malformed remoting frame");
}
