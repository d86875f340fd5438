import fs from "node:fs";
import type { OpenFileOptions, StoreFile } from "./api.ts";
import { closeFd, openSized, storeError, syncFd } from "./files.ts";
import { loadRange } from "./load-range.ts";

/** Reserves blocks of an open file. @throws MillraceError MILLRACE_STORE_FULL */
export type Allocate = (fd: number, path: string, position: number, size: number) => void;

/** Node has no fallocate; a full disk then shows at the write, which reports it. */
const withoutAllocation: Allocate = () => {};

/** A file read and written by positional calls. */
export class PlainFile implements StoreFile {
  readonly path: string;
  readonly size: number;
  readonly fd: number;
  readonly mapped: undefined = undefined;
  readonly address = 0;

  readonly #allocate: Allocate;

  constructor(path: string, size: number, fd: number, allocate: Allocate = withoutAllocation) {
    this.path = path;
    this.size = size;
    this.fd = fd;
    this.#allocate = allocate;
  }

  static open(path: string, { size, writable }: OpenFileOptions, allocate: Allocate = withoutAllocation): PlainFile {
    return new PlainFile(path, size, openSized(path, size, writable), allocate);
  }

  read(position: number, target: Buffer, targetStart: number, size: number): void {
    let done = 0;
    while (done < size) {
      const count = fs.readSync(this.fd, target, targetStart + done, size - done, position + done);
      if (count === 0) {
        target.fill(0, targetStart + done, targetStart + size);
        return;
      }
      done += count;
    }
  }

  write(position: number, source: Buffer, start: number, end: number): void {
    try {
      // A short write is not an error: go on with the rest; a full disk then shows as ENOSPC.
      for (let done = start; done < end; ) done += fs.writeSync(this.fd, source, done, end - done, position + done - start);
    } catch (error) {
      throw storeError(error, "write", this.path);
    }
  }

  sync(): void {
    syncFd(this.fd, this.path);
  }

  reserve(position = 0, size: number = this.size - position): void {
    this.#allocate(this.fd, this.path, position, size);
  }

  isResident(): boolean {
    return false;
  }

  load(position: number, size: number, done: () => void): void {
    loadRange(this.fd, this.path, position, size, done);
  }

  dropPages(): void {
    // Nothing is mapped.
  }

  close(): void {
    closeFd(this.fd);
  }
}
