import type { Socket } from "node:net";
import { readInto } from "./shared-read.ts";
import type { OnBytes, SocketReading, SocketReads } from "./socket-reads.ts";

/** Reads as Node does, on its event loop, all sockets into one buffer. Works everywhere. */
export class StreamReads implements SocketReads {
  readonly #input: Buffer;

  readonly #idleMsMax: number;

  /**
   * @param inputSize  most bytes read at once
   * @param idleMsMax  a socket that is silent for so long is closed
   */
  constructor(inputSize: number, idleMsMax: number) {
    this.#input = Buffer.allocUnsafeSlow(inputSize);
    this.#idleMsMax = idleMsMax;
  }

  attach(socket: Socket, onBytes: OnBytes): SocketReading {
    const input = this.#input;
    socket.setTimeout(this.#idleMsMax, () => socket.destroy());
    if (!readInto(socket, input, (size) => onBytes(input, size))) {
      socket.on("data", (chunk: Buffer) => onBytes(chunk, chunk.length));
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
