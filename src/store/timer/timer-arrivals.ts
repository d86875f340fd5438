import { javaHash } from "../../base/java-hash.ts";
import * as unit from "../../format/files/timer-unit.ts";
import { writeInt64 } from "../../format/record/message.ts";
import type { TimerFiles } from "./timer-files.ts";

/** Topics whose hashes are kept. */
const HASHES_MAX = 10_000;

/** Messages of one batch that enter the wheel: first all of them, then the timer log, then the wheel. Timer thread only. */
export class TimerArrivals {
  readonly #files: TimerFiles;
  readonly #stepMs: number;
  readonly #onCount: (topic: string, change: number) => void;
  readonly #places: Int32Array;
  readonly #slots: Float64Array;
  readonly #magics: Int32Array;
  readonly #physicalOffsets: Float64Array;
  readonly #sizes: Int32Array;
  readonly #topics: string[];
  readonly #units: Buffer;
  /** Where the last unit of a slot stands that is in `#units`. */
  readonly #lasts = new Map<number, number>();
  readonly #hashes = new Map<string, number>();
  #count = 0;

  /** @param batch most messages at once */
  constructor(batch: number, files: TimerFiles, stepMs: number, onCount: (topic: string, change: number) => void) {
    this.#files = files;
    this.#stepMs = stepMs;
    this.#onCount = onCount;
    this.#places = new Int32Array(batch);
    this.#slots = new Float64Array(batch);
    this.#magics = new Int32Array(batch);
    this.#physicalOffsets = new Float64Array(batch);
    this.#sizes = new Int32Array(batch);
    this.#topics = new Array(batch).fill("");
    this.#units = Buffer.alloc(batch * unit.UNIT_SIZE);
  }

  clear(): void {
    this.#count = 0;
  }

  /** @param place in the batch, ascending */
  add(place: number, slot: number, magic: number, physicalOffset: number, size: number, topic: string): void {
    const at = this.#count++;
    this.#places[at] = place;
    this.#slots[at] = slot;
    this.#magics[at] = magic;
    this.#physicalOffsets[at] = physicalOffset;
    this.#sizes[at] = size;
    this.#topics[at] = topic;
  }

  /**
   * Enters those whose places are below `end`. Units first, then the wheel: a full disk leaves it as it was.
   * @returns how many they are
   */
  write(end: number, present: number): number {
    const { log } = this.#files;
    let count = 0;
    while (count < this.#count && this.#places[count]! < end) count++;
    for (let from = 0; from < count; ) {
      const start = log.placeAt(log.end);
      let to = from + 1;
      while (to < count && log.placeAt(start + (to - from) * unit.UNIT_SIZE) === start + (to - from) * unit.UNIT_SIZE) to++;
      this.#writeRun(from, to, start, present);
      from = to;
    }
    return count;
  }

  /** Those that fit into one file. */
  #writeRun(from: number, to: number, start: number, present: number): void {
    const units = this.#units;
    const lasts = this.#lasts;
    const { wheel, log } = this.#files;
    lasts.clear();
    for (let i = from; i < to; i++) {
      const at = (i - from) * unit.UNIT_SIZE;
      const slot = this.#slots[i]!;
      const written = Math.min(slot, present); // A slot may be over that was not read yet.
      units.writeUInt32BE(unit.UNIT_SIZE, at);
      writeInt64(units, lasts.get(slot) ?? wheel.last(slot), at + unit.UNIT_PREVIOUS);
      units.writeUInt32BE(this.#magics[i]!, at + unit.UNIT_MAGIC);
      writeInt64(units, written * this.#stepMs, at + unit.UNIT_WRITE_TIME);
      units.writeInt32BE((slot - written) * this.#stepMs, at + unit.UNIT_DELAY);
      writeInt64(units, this.#physicalOffsets[i]!, at + unit.UNIT_PHYSICAL_OFFSET);
      units.writeInt32BE(this.#sizes[i]!, at + unit.UNIT_RECORD_SIZE);
      units.writeInt32BE(this.#hashOf(this.#topics[i]!), at + unit.UNIT_TOPIC_HASH);
      writeInt64(units, 0, at + unit.UNIT_TOPIC_HASH + 4);
      lasts.set(slot, start + at);
    }
    log.append(units, (to - from) * unit.UNIT_SIZE);
    for (let i = from; i < to; i++) {
      const added = unit.countsAsWaiting(this.#magics[i]!) ? 1 : 0;
      wheel.add(this.#slots[i]!, start + (i - from) * unit.UNIT_SIZE, added);
      this.#files.waiting += added;
      if (added > 0) this.#onCount(this.#topics[i]!, 1);
    }
  }

  #hashOf(topic: string): number {
    let hash = this.#hashes.get(topic);
    if (hash === undefined) {
      if (this.#hashes.size >= HASHES_MAX) this.#hashes.clear();
      hash = javaHash(topic);
      this.#hashes.set(topic, hash);
    }
    return hash;
  }
}
