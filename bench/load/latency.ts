import { createHistogram, type RecordableHistogram } from "node:perf_hooks";

/** Latencies of one case. Histograms record nanoseconds; what goes over to the main thread is one that it can add up. */
export interface Latencies {
  /** From the due time, or closed loop from the hand-over to the producer, to the answer. */
  answer: RecordableHistogram;
  /** From the due time to the consumer's handler. */
  delivery: RecordableHistogram;
  /** How late the generator itself was with what was due. */
  lateness: RecordableHistogram;
}

/** Milliseconds. */
export interface Percentiles {
  count: number;
  p50: number;
  p99: number;
  p999: number;
  max: number;
}

export function createLatencies(): Latencies {
  return { answer: createHistogram(), delivery: createHistogram(), lateness: createHistogram() };
}

export function record(histogram: RecordableHistogram, ms: number): void {
  histogram.record(Math.max(1, Math.round(ms * 1e6)));
}

export function addUp(total: Latencies, part: Latencies): void {
  for (const name of ["answer", "delivery", "lateness"] as const) total[name].add(part[name]);
}

/** undefined: nothing was recorded. */
export function percentiles(histogram: RecordableHistogram): Percentiles | undefined {
  if (histogram.count === 0) return undefined;
  const ms = (percentile: number): number => Math.round(histogram.percentile(percentile) / 1e3) / 1e3;
  return { count: histogram.count, p50: ms(50), p99: ms(99), p999: ms(99.9), max: Math.round(histogram.max / 1e3) / 1e3 };
}
