import type { Socket } from "node:net";

/** Takes bytes[0, size), which have been read; they are there until it returns. */
export type OnBytes = (bytes: Buffer, size: number) => void;

/** Reading from one socket. */
export interface SocketReading {
  pause(): void;
  resume(): void;
}

/** How an I/O worker reads its sockets; all else about them is Node's. One instance a worker. */
export interface SocketReads {
  /** @param socket  accepted, and not read from yet (`pauseOnConnect`) */
  attach(socket: Socket, onBytes: OnBytes): SocketReading;
  /** Something was left to the event loop (a write to a stream, an immediate): it is to have its turn soon. */
  needLoop(): void;
  close(): void;
}
