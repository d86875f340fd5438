import type { Socket } from "node:net";
import { readInto } from "./shared-read.ts";
import type { OnBytes, SocketReading, SocketReads } from "./socket-reads.ts";

/** Reads as Node does, on its event loop, all sockets into one buffer. Works everywhere. */
export class StreamReads implements SocketReads {
  readonly #input: Buffer;
  readonly #idleMsMax: number;
  readonly #onRound: () => void;

  /**
   * @param inputSize  most bytes read at once
   * @param idleMsMax  a socket that is silent for so long is closed
   * @param onRound  called after each read
   */
  constructor(inputSize: number, idleMsMax: number, onRound: () => void) {
    this.#input = Buffer.allocUnsafeSlow(inputSize);
    this.#idleMsMax = idleMsMax;
    this.#onRound = onRound;
  }

  attach(socket: Socket, onBytes: OnBytes): SocketReading {
    const input = this.#input;
    const take: OnBytes = (bytes, size) => {
      onBytes(bytes, size);
      this.#onRound();
    };
    socket.setTimeout(this.#idleMsMax, () => socket.destroy());
    if (!readInto(socket, input, (size) => take(input, size))) {
      socket.on("data", (chunk: Buffer) => take(chunk, chunk.length));
      socket.resume();
    }
    return socket;
  }

  needLoop(): void {
    // We are on it.
  }

  close(): void {
    // The sockets have their own ends.
  }
}
