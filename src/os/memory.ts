import koffi from "koffi";

const libc = koffi.load(null);
const mmap = libc.func("uintptr_t mmap(uintptr_t addr, size_t length, int prot, int flags, int fd, int64_t offset)");
const munmap = libc.func("int munmap(uintptr_t addr, size_t length)");
const memcpy = libc.func("uintptr_t memcpy(uintptr_t to, uintptr_t from, size_t size)");
const PROT_READ_WRITE = 3;
const MAP_ANONYMOUS_PRIVATE = 0x22;

/** Zeroed memory at an address that stays: only such may be given to the system, never that of collectable Buffers. */
export function mapAnonymous(size: number): number {
  const address: number = mmap(0, size, PROT_READ_WRITE, MAP_ANONYMOUS_PRIVATE, -1, 0);
  if (address >= Number.MAX_SAFE_INTEGER) throw new Error(`mmap of ${size} bytes: errno ${koffi.errno()}`);
  return address;
}

/** No view of it may be used afterwards. */
export function unmap(address: number, size: number): void {
  munmap(address, size);
}

/** The last memory that was copied to. Shared memory stays where it is as long as somebody knows it. */
let target: Buffer = Buffer.alloc(0);
let targetAddress = 0;

/** See base/copy-bytes.ts. Nothing is collected or moved during the call, so that any Buffer will do. */
export function copyMemory(from: Buffer, start: number, end: number, to: Buffer, at: number): void {
  if (!(start >= 0 && start <= end && end <= from.length && at >= 0 && at + end - start <= to.length))
    throw new RangeError(`cannot copy [${start}, ${end}) of ${from.length} bytes to ${at} of ${to.length}`);
  memcpy(addressOf(to) + at, Number(koffi.address(from)) + start, end - start);
}

function addressOf(to: Buffer): number {
  if (to === target) return targetAddress;
  const address = Number(koffi.address(to));
  if (to.buffer instanceof SharedArrayBuffer) {
    target = to;
    targetAddress = address;
  }
  return address;
}
