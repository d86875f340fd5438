import type { Clock } from "../../base/clock.ts";
import { encodeHost } from "../../format/record/message.ts";

/** Makes unique keys for messages that come without one: ip, pid, ms of the month, counter; upper-case hex. */
export function uniqueKeys(host: string, clock: Clock): () => string {
  const address = encodeHost(host);
  const prefix = Buffer.concat([address.subarray(0, address.length - 4), Buffer.alloc(6)]);
  prefix.writeUInt16BE(process.pid & 0xffff, prefix.length - 6);
  prefix.writeUInt32BE(salt(), prefix.length - 4);
  const start = prefix.toString("hex").toUpperCase();
  let counter = 0;
  return () => {
    const date = new Date(clock.now());
    const monthStart = new Date(date.getFullYear(), date.getMonth(), 1).getTime();
    const tail = Buffer.alloc(6);
    tail.writeUInt32BE((date.getTime() - monthStart) >>> 0, 0);
    tail.writeUInt16BE(counter++ & 0xffff, 4);
    return start + tail.toString("hex").toUpperCase();
  };
}

/** Tells threads and restarts with the same pid apart. */
function salt(): number {
  return crypto.getRandomValues(new Uint32Array(1))[0]!;
}
