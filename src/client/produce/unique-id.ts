import { networkInterfaces } from "node:os";
import { threadId } from "node:worker_threads";
import type { Clock } from "../../base/clock.ts";

/** Characters of an id: 16 bytes in hex. */
export const UNIQUE_ID_SIZE = 32;
/** ip 4, pid 2, loader hash 4: the same for all ids of one generator. */
const FIXED_SIZE = 20;
const COUNTER_MAX = 0xffff;
const HEX = Buffer.from("0123456789ABCDEF");

/** First IPv4 address of this machine that others can reach, else 127.0.0.1. Source: Apache `UtilAll.getIP`. */
export function localAddress(): string {
  for (const addresses of Object.values(networkInterfaces())) {
    for (const { family, internal, address } of addresses ?? []) {
      if (family === "IPv4" && !internal && !address.startsWith("169.254.")) return address;
    }
  }
  return "127.0.0.1";
}

let generators = 0;

/**
 * Makes UNIQ_KEYs: upper-case hex of
 *   0    4      6          10                      14
 *   | ip | pid  | instance | ms since month began  | counter |
 *   | 4  | 2    | 4        | 4                     | 2       |
 * No two ids of one generator are equal: when the 16-bit counter comes round, the time moves on, even if
 * the clock did not. The clock is read once for each turn of the counter, or when `stamp` is called.
 * Source: Apache `MessageClientIDSetter` (its class-loader hash is our instance: process start, thread, count).
 */
export class UniqueIds {
  readonly #clock: Clock;
  /** The id as bytes; the time and counter parts are rewritten. */
  readonly #bytes: Buffer = Buffer.alloc(UNIQUE_ID_SIZE);
  #monthStartMs = 0;
  #nextMonthMs = 0;
  #timeMs = 0;
  #counter = 0;
  /** Counter value at which the present time stamp is used up. */
  #counterEnd = 0;

  /** @param instance tells apart generators of one process and of processes that share a pid; default from process, thread and count */
  constructor(clock: Clock, instance?: number) {
    this.#clock = clock;
    const fixed = Buffer.alloc(10);
    localAddress()
      .split(".")
      .forEach((part, index) => fixed.writeUInt8(Number(part), index));
    fixed.writeUInt16BE(process.pid & 0xffff, 4);
    generators++;
    fixed.writeUInt32BE((instance ?? (clock.now() % 65_521) * 65_536 + threadId * 4_099 + generators) >>> 0, 6);
    this.#bytes.write(fixed.toString("hex").toUpperCase(), 0, "latin1");
    this.stamp();
  }

  /** Takes the clock's time for the ids to come; call once a batch. @returns the time, ms since the epoch */
  stamp(): number {
    const now = this.#clock.now();
    // While the time of the last stamp still stands, its counter values must not be given twice.
    if (now > this.#timeMs) this.#restamp(now);
    return now;
  }

  /** Writes the next id. @returns the end of what was written */
  write(target: Buffer, at: number): number {
    this.#advance();
    target.set(this.#bytes, at);
    return at + UNIQUE_ID_SIZE;
  }

  /** The next id as text. */
  next(): string {
    this.#advance();
    return this.#bytes.toString("latin1");
  }

  #advance(): void {
    if (this.#counter === this.#counterEnd) this.#restamp(Math.max(this.#clock.now(), this.#timeMs + 1));
    const bytes = this.#bytes;
    const counter = this.#counter++ & COUNTER_MAX;
    bytes[28] = HEX[counter >>> 12]!;
    bytes[29] = HEX[(counter >>> 8) & 15]!;
    bytes[30] = HEX[(counter >>> 4) & 15]!;
    bytes[31] = HEX[counter & 15]!;
  }

  #restamp(timeMs: number): void {
    if (timeMs >= this.#nextMonthMs || timeMs < this.#monthStartMs) {
      const date = new Date(timeMs);
      this.#monthStartMs = new Date(date.getFullYear(), date.getMonth(), 1).getTime();
      this.#nextMonthMs = new Date(date.getFullYear(), date.getMonth() + 1, 1).getTime();
    }
    this.#timeMs = timeMs;
    this.#counterEnd = this.#counter + COUNTER_MAX + 1;
    const hex = ((timeMs - this.#monthStartMs) >>> 0).toString(16).toUpperCase().padStart(8, "0");
    this.#bytes.write(hex, FIXED_SIZE, "latin1");
  }
}
