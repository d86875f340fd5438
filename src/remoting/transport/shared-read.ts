import net from "node:net";

/** Where a socket keeps what its `onread` option was: its buffer, the callback, and a maker of buffers. */
const SLOTS: readonly (symbol | undefined)[] = slotsOf("kBuffer", "kBufferCb", "kBufferGen");

function slotsOf(...names: string[]): (symbol | undefined)[] {
  const symbols = Object.getOwnPropertySymbols(new net.Socket());
  return names.map((name) => symbols.find((symbol) => symbol.description === name));
}

type Slots = Record<symbol, unknown>;
interface Handle {
  useUserBuffer?: (buffer: Buffer) => void;
}

/**
 * Makes an accepted socket read into `buffer`, which many sockets may share, as `onread` does for sockets that connect:
 * Node has no such option for a server's, and would allocate 64 KiB for each read.
 * @param onBytes  called with the number of bytes that are in the buffer until it returns
 * @returns false where this Node does not allow it: listen to "data" instead
 */
export function readInto(socket: net.Socket, buffer: Buffer, onBytes: (size: number) => void): boolean {
  const handle = (socket as unknown as { _handle?: Handle })._handle;
  const [bufferSlot, callbackSlot, makerSlot] = SLOTS;
  if (handle?.useUserBuffer === undefined) return false;
  if (bufferSlot === undefined || callbackSlot === undefined || makerSlot === undefined) return false;
  const slots = socket as unknown as Slots;
  slots[bufferSlot] = buffer;
  slots[callbackSlot] = (size: number) => {
    onBytes(size);
    return true;
  };
  slots[makerSlot] = null;
  handle.useUserBuffer(buffer);
  socket.resume(); // Nothing listens to "data", and "end" is to come all the same.
  return true;
}
