import type { Clock, Timer } from "../base/clock.ts";

/** Where progress is shown: standard error, or a test's list. */
export interface ProgressSink {
  isTTY?: boolean;
  columns?: number;
  write(text: string): unknown;
}

export interface ProgressState {
  bytes: number;
  count: number;
}

const REDRAW_MS = 200;
/** Where lines cannot be overwritten (a file, a pipe), one line this often. */
const LINE_MS = 5000;
const BAR_SIZE = 24;

/**
 * A line on standard error that is redrawn while something runs:
 *   ingest [=========>              ] 38.2%  412.0 MB  1,204,113 lines  310,204 lines/s  106.1 MB/s
 */
export class Progress {
  readonly #title: string;
  readonly #unit: string;
  /** Of `ProgressState.bytes` or, without, of `count`; undefined: not known. */
  readonly #total: { bytes?: number; count?: number };
  readonly #sink: ProgressSink;
  readonly #clock: Clock;
  readonly #startMs: number;
  readonly #timer: Timer;
  readonly #state: () => ProgressState;
  #lastMs: number;
  #last: ProgressState = { bytes: 0, count: 0 };

  constructor(
    title: string,
    unit: string,
    total: { bytes?: number; count?: number },
    state: () => ProgressState,
    sink: ProgressSink,
    clock: Clock,
  ) {
    this.#title = title;
    this.#unit = unit;
    this.#total = total;
    this.#state = state;
    this.#sink = sink;
    this.#clock = clock;
    this.#startMs = clock.now();
    this.#lastMs = this.#startMs;
    this.#timer = clock.setTicker(() => this.#draw(), sink.isTTY === true ? REDRAW_MS : LINE_MS);
  }

  get elapsedMs(): number {
    return Math.max(1, this.#clock.now() - this.#startMs);
  }

  /** Stops drawing and takes the line off the screen. */
  end(): void {
    this.#timer.cancel();
    if (this.#sink.isTTY === true) this.#sink.write("\r\u001b[K");
  }

  #draw(): void {
    const state = this.#state();
    const now = this.#clock.now();
    const seconds = Math.max(1, now - this.#lastMs) / 1000;
    const rate = (state.count - this.#last.count) / seconds;
    const byteRate = (state.bytes - this.#last.bytes) / seconds;
    this.#lastMs = now;
    this.#last = { ...state };
    const parts = [
      `${this.#title}${this.#bar(state)}`,
      formatBytes(state.bytes),
      `${formatCount(state.count)} ${this.#unit}`,
      `${formatCount(rate)} ${this.#unit}/s`,
      `${formatBytes(byteRate)}/s`,
    ];
    const line = parts.join("  ");
    this.#sink.write(this.#sink.isTTY === true ? `\r${line.slice(0, (this.#sink.columns ?? 120) - 1)}\u001b[K` : `${line}\n`);
  }

  #bar({ bytes, count }: ProgressState): string {
    const { bytes: totalBytes, count: totalCount } = this.#total;
    const share = totalBytes !== undefined ? bytes / totalBytes : totalCount !== undefined ? count / totalCount : Number.NaN;
    if (!Number.isFinite(share)) return "";
    const filled = Math.round(Math.min(1, share) * BAR_SIZE);
    const bar = filled === BAR_SIZE ? "=".repeat(BAR_SIZE) : `${"=".repeat(filled)}>`.padEnd(BAR_SIZE);
    return ` [${bar}] ${(100 * Math.min(1, share)).toFixed(1)}%`;
  }
}

/** `1,204,113`. */
export function formatCount(count: number): string {
  return Math.round(count).toLocaleString("en-US");
}

/** `412.0 MB`, by 1,000. */
export function formatBytes(bytes: number): string {
  if (bytes < 1000) return `${Math.round(bytes)} B`;
  const units = ["kB", "MB", "GB", "TB"];
  const step = Math.min(units.length, Math.floor(Math.log10(bytes) / 3));
  return `${(bytes / 1000 ** step).toFixed(1)} ${units[step - 1]}`;
}
