import koffi from "koffi";

const libc = koffi.load(null);
const mmap = libc.func("uintptr_t mmap(uintptr_t addr, size_t length, int prot, int flags, int fd, int64_t offset)");
const munmap = libc.func("int munmap(uintptr_t addr, size_t length)");
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
