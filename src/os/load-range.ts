import fs from "node:fs";

/** Most read at once, bytes. */
const PIECE_SIZE = 1_048_576;
/** Reads of one thread under way; Node has four threads for them, and others need some, too. */
const READS_MAX = 2;

interface Load {
  fd: number;
  path: string;
  position: number;
  end: number;
  done: () => void;
}

const waiting: Load[] = [];
const scratch: Buffer[] = [];
let running = 0;

/**
 * Brings [position, position + size) of a file into the system's cache without holding up the calling thread: another one reads
 * it. Calls `done` on the thread's event loop, also where it could not be read: whoever wants the bytes will be told why.
 * @param fd -1: the file is opened for it by its path
 */
export function loadRange(fd: number, path: string, position: number, size: number, done: () => void): void {
  waiting.push({ fd, path, position, end: position + size, done });
  next();
}

function next(): void {
  while (running < READS_MAX && waiting.length > 0) {
    const load = waiting.shift()!;
    running++;
    if (load.fd >= 0) read(load, load.fd, () => {});
    else {
      fs.open(load.path, (error, fd) => {
        if (error !== null) finish(load);
        else read(load, fd, () => fs.close(fd, () => {}));
      });
    }
  }
}

function read(load: Load, fd: number, close: () => void): void {
  const buffer = scratch.pop() ?? Buffer.allocUnsafeSlow(PIECE_SIZE);
  const piece = (): void => {
    fs.read(fd, buffer, 0, Math.min(PIECE_SIZE, load.end - load.position), load.position, (error, count) => {
      load.position += count;
      if (error === null && count > 0 && load.position < load.end) return piece();
      scratch.push(buffer);
      close();
      finish(load);
    });
  };
  piece();
}

function finish(load: Load): void {
  running--;
  next();
  load.done();
}
