import fs from "node:fs";
import koffi from "koffi";
import type { SocketPoller } from "./api.ts";
import { closeFd } from "./files.ts";
import { mapAnonymous, unmap } from "./memory.ts";

/** epoll by FFI, Linux: `man epoll_wait`. */
const libc = koffi.load(null);
const epollCreate = libc.func("int epoll_create1(int flags)");
const epollControl = libc.func("int epoll_ctl(int epfd, int operation, int fd, uintptr_t event)");
const epollWait = libc.func("int epoll_wait(int epfd, uintptr_t events, int count, int timeoutMs)");
const recv = libc.func("int64_t recv(int fd, uintptr_t buffer, size_t size, int flags)");
const usleep = libc.func("int usleep(uint32_t us)");

const EPOLL_CLOEXEC = 0x80000;
const EPOLL_CTL_ADD = 1;
const EPOLL_CTL_DEL = 2;
const EPOLLIN = 1;
const EINTR = 4;
const EAGAIN = 11;
/** struct epoll_event is { uint32 events; uint64 data }, packed on x86-64 only. */
const DATA_AT = process.arch === "x64" ? 4 : 8;
const EVENT_SIZE = DATA_AT + 8;
const EVENTS_MAX = 256;
const EVENTS_SIZE = EVENTS_MAX * 16;

/** See `Drive.socketPoller`. */
export function openSocketPoller(inputSize: number, input?: Buffer): SocketPoller {
  return new EpollPoller(inputSize, input);
}

class EpollPoller implements SocketPoller {
  readonly input: Buffer;
  readonly #inputAddress: number;
  readonly #eventsAddress: number;
  readonly #events: DataView;
  readonly #epoll: number;

  /** It is ours to give back. */
  readonly #isOwn: boolean;

  constructor(inputSize: number, input: Buffer | undefined) {
    this.#epoll = epollCreate(EPOLL_CLOEXEC);
    if (this.#epoll < 0) throw new Error(`epoll_create1: errno ${koffi.errno()}`);
    this.#eventsAddress = mapAnonymous(EVENTS_SIZE);
    this.#events = new DataView(koffi.view(this.#eventsAddress, EVENTS_SIZE));
    this.#isOwn = input === undefined;
    this.#inputAddress = input === undefined ? mapAnonymous(inputSize) : Number(koffi.address(input));
    this.input = input ?? Buffer.from(koffi.view(this.#inputAddress, inputSize));
  }

  add(fd: number, tag: number): void {
    this.#events.setUint32(0, EPOLLIN, true);
    this.#events.setUint32(DATA_AT, tag, true);
    if (epollControl(this.#epoll, EPOLL_CTL_ADD, fd, this.#eventsAddress) !== 0)
      throw new Error(`epoll_ctl: errno ${koffi.errno()}`);
  }

  remove(fd: number): void {
    epollControl(this.#epoll, EPOLL_CTL_DEL, fd, this.#eventsAddress); // A descriptor that was closed has left by itself.
  }

  addEventLoop(watchedFd: number, tag: number): boolean {
    const fd = eventLoopFd(watchedFd);
    if (fd !== undefined) this.add(fd, tag);
    return fd !== undefined;
  }

  rest(us: number): void {
    usleep(us);
  }

  wait(timeoutMs: number): number {
    const count: number = epollWait(this.#epoll, this.#eventsAddress, EVENTS_MAX, timeoutMs);
    if (count >= 0) return count;
    if (koffi.errno() === EINTR) return 0;
    throw new Error(`epoll_wait: errno ${koffi.errno()}`);
  }

  tag(index: number): number {
    return this.#events.getUint32(index * EVENT_SIZE + DATA_AT, true);
  }

  read(fd: number): number {
    for (;;) {
      const size: number = recv(fd, this.#inputAddress, this.input.length, 0);
      if (size > 0) return size;
      if (size === 0) return -1;
      const errno = koffi.errno();
      if (errno === EAGAIN) return 0;
      if (errno !== EINTR) return -1;
    }
  }

  close(): void {
    closeFd(this.#epoll);
    unmap(this.#eventsAddress, EVENTS_SIZE);
    if (this.#isOwn) unmap(this.#inputAddress, this.input.length);
  }
}

/** The descriptor of libuv's own epoll, found by what it watches. */
function eventLoopFd(watchedFd: number): number | undefined {
  try {
    for (const name of fs.readdirSync("/proc/self/fd")) {
      if (fs.readlinkSync(`/proc/self/fd/${name}`) !== "anon_inode:[eventpoll]") continue;
      const watched = fs.readFileSync(`/proc/self/fdinfo/${name}`, "latin1");
      if (new RegExp(`^tfd:\\s+${watchedFd}\\s`, "m").test(watched)) return Number(name);
    }
  } catch {
    // No /proc, or a descriptor was closed meanwhile by another thread.
  }
  return undefined;
}
