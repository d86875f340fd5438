import type { StoreFile } from "../../os/api.ts";

/** What is known, and read, at once: bytes. */
export const GRANULE_SIZE = 65_536;
/** How long what was seen in memory is taken to be there still, ms. */
const FRESH_MS = 1000;
/** A reader that goes on in order gets so much at once, and the next so much ahead, granules. */
const AHEAD = 64;
/** What is read together: whoever waits for a part of it waits for so much, granules. */
const STRETCH = 16;
/** In place of the time when a granule was seen in memory. */
const NEVER = Number.NEGATIVE_INFINITY;
const LOADING = Number.POSITIVE_INFINITY;

/** Somebody waits for `left` loads. */
interface Waiter {
  left: number;
  resume: () => void;
}

interface Load {
  waiters: Waiter[];
  /** The first granule behind it. */
  end: number;
}

interface FileState {
  file: StoreFile;
  /** By granule: when it was last seen in memory, ms; NEVER; LOADING. */
  seenMs: Float64Array;
  /** By granule. */
  loads: Map<number, Load>;
  /** When it was last read from the disk, ms. */
  loadedMs: number;
}

/**
 * Keeps an I/O worker from waiting for the disk: a page fault on a mapped file, or a sendfile, would hold up all of its
 * connections. Before old records are touched it is asked whether they are in memory; what is not is read by another thread,
 * more of it ahead where reading goes on in order, and whoever wants it waits without blocking anybody.
 * One instance an I/O worker.
 */
export class ColdReads {
  readonly #now: () => number;
  readonly #states = new WeakMap<StoreFile, FileState>();
  #last: FileState | undefined;
  #missed: Load[] = [];
  /** As of `begin`: many stretches are looked for at once. */
  #nowMs = 0;
  /** Reads of the disk so far. */
  loadCount = 0;

  constructor(now: () => number) {
    this.#now = now;
  }

  /**
   * After `begin`: whether the bytes can be touched without waiting. If not, they are being read from now on: finish the look at what
   * else is needed, then call `whenLoaded`.
   */
  has(file: StoreFile, position: number, size: number): boolean {
    const state = this.#stateOf(file);
    const { seenMs } = state;
    const now = this.#nowMs;
    const last = Math.floor((position + size - 1) / GRANULE_SIZE);
    let isThere = true;
    for (let granule = Math.floor(position / GRANULE_SIZE); granule <= last; granule++) {
      const seen = seenMs[granule]!;
      if (granule % AHEAD === 0 && now - state.loadedMs < FRESH_MS) this.#readAhead(state, granule + AHEAD, now);
      if (seen !== LOADING && now - seen < FRESH_MS) continue;
      if (seen === LOADING) this.#miss(state.loads.get(granule)!);
      else if (file.isResident(granule * GRANULE_SIZE, GRANULE_SIZE)) {
        seenMs[granule] = now;
        continue;
      } else {
        const isInOrder = granule > 0 && seenMs[granule - 1]! > NEVER;
        this.#miss(this.#load(state, granule, isInOrder ? granule + AHEAD - 1 : last));
      }
      isThere = false;
    }
    return isThere;
  }

  /** A look at something begins: of what was missed so far nothing is waited for. */
  begin(): void {
    this.#nowMs = this.#now();
    if (this.#missed.length > 0) this.#missed = [];
  }

  /** Calls `resume`, later, when all that was missed since the last call has been read. */
  whenLoaded(resume: () => void): void {
    const waiter: Waiter = { left: this.#missed.length, resume };
    for (const load of this.#missed) load.waiters.push(waiter);
    this.#missed = [];
  }

  /** The stretch that begins at the granule, if nothing is known of it. */
  #readAhead(state: FileState, granule: number, now: number): void {
    const seen = state.seenMs[granule];
    if (seen === undefined || seen === LOADING || now - seen < FRESH_MS) return;
    if (state.file.isResident(granule * GRANULE_SIZE, AHEAD * GRANULE_SIZE)) state.seenMs[granule] = now;
    else this.#load(state, granule, granule + AHEAD - 1);
  }

  #miss(load: Load): void {
    if (!this.#missed.includes(load)) this.#missed.push(load);
  }

  #stateOf(file: StoreFile): FileState {
    if (this.#last?.file === file) return this.#last;
    let state = this.#states.get(file);
    if (state === undefined) {
      const seenMs = new Float64Array(Math.ceil(file.size / GRANULE_SIZE)).fill(NEVER);
      state = { file, seenMs, loads: new Map(), loadedMs: NEVER };
      this.#states.set(file, state);
    }
    this.#last = state;
    return state;
  }

  /** Begins to read [first, last], up to where something is being read already. @returns what brings `first` */
  #load(state: FileState, first: number, last: number): Load {
    const head = this.#stretch(state, first, last);
    let { end } = head;
    while (end <= last && end < state.seenMs.length && state.seenMs[end] !== LOADING) end = this.#stretch(state, end, last).end;
    return head;
  }

  #stretch(state: FileState, first: number, last: number): Load {
    const { file, seenMs, loads } = state;
    const load: Load = { waiters: [], end: first };
    const endMax = Math.min(last + 1, seenMs.length, first + STRETCH);
    while (load.end < endMax && seenMs[load.end] !== LOADING) {
      seenMs[load.end] = LOADING;
      loads.set(load.end++, load);
    }
    const { end, waiters } = load;
    this.loadCount++;
    file.load(first * GRANULE_SIZE, (end - first) * GRANULE_SIZE, () => {
      const now = this.#now();
      state.loadedMs = now;
      for (let granule = first; granule < end; granule++) {
        seenMs[granule] = now;
        loads.delete(granule);
      }
      for (const waiter of waiters) if (--waiter.left === 0) waiter.resume();
    });
    return load;
  }
}
