import { MillraceError } from "../base/errors.ts";

const LINE_FEED = 0x0a;

/** One line of the input, or a piece of one that is longer than allowed. */
export interface Line {
  /** Without the line feed; a carriage return before it belongs to the line. Valid until the next one is asked for. */
  bytes: Buffer;
  /** Does a line feed follow? Not after the last line of a file that ends without, nor inside a line. */
  isEnded: boolean;
}

/** Cuts a byte stream into lines, byte for byte: joined again, with a line feed where one followed, they are the stream. */
export class LineSplitter {
  readonly #sizeMax: number;
  readonly #splitsLong: boolean;
  /** Beginning of a line whose end has not come yet. */
  #pieces: Buffer[] = [];
  #piecesSize = 0;
  #lineNumber = 1;

  /** @param splitsLong  give a line beyond `sizeMax` in pieces; else it is an error */
  constructor(sizeMax: number, splitsLong: boolean) {
    this.#sizeMax = sizeMax;
    this.#splitsLong = splitsLong;
  }

  /** Number of the line that comes next, or goes on; from 1. */
  get lineNumber(): number {
    return this.#lineNumber;
  }

  /** The lines that end in `chunk`. @throws MillraceError MILLRACE_MESSAGE_ILLEGAL naming the line that is too long */
  *push(chunk: Buffer): Generator<Line> {
    let start = 0;
    while (start < chunk.length) {
      const feed = chunk.indexOf(LINE_FEED, start);
      const end = feed < 0 ? chunk.length : feed;
      while (this.#piecesSize + end - start > this.#sizeMax) {
        if (!this.#splitsLong) throw this.#tooLong();
        const cut = start + this.#sizeMax - this.#piecesSize;
        yield { bytes: this.#take(chunk.subarray(start, cut)), isEnded: false };
        start = cut;
      }
      if (feed < 0) {
        this.#keep(chunk.subarray(start));
        return;
      }
      yield { bytes: this.#take(chunk.subarray(start, feed)), isEnded: true };
      this.#lineNumber++;
      start = feed + 1;
    }
  }

  /** What stands after the last line feed. */
  *end(): Generator<Line> {
    if (this.#piecesSize > 0) yield { bytes: this.#take(Buffer.alloc(0)), isEnded: false };
  }

  #keep(piece: Buffer): void {
    if (piece.length === 0) return;
    this.#pieces.push(piece);
    this.#piecesSize += piece.length;
  }

  #take(tail: Buffer): Buffer {
    if (this.#piecesSize === 0) return tail;
    const bytes = Buffer.concat([...this.#pieces, tail]);
    this.#pieces = [];
    this.#piecesSize = 0;
    return bytes;
  }

  #tooLong(): MillraceError {
    const { lineNumber } = this;
    return new MillraceError(
      "MILLRACE_MESSAGE_ILLEGAL",
      `line ${lineNumber} is longer than ${this.#sizeMax} bytes, the most that one message takes; --split sends such lines in pieces`,
      { lineNumber, sizeMax: this.#sizeMax },
    );
  }
}
