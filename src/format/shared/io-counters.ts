/**
 * Running totals of one I/O worker in shared memory: float64 cells, each written by that worker alone; readers
 * may be a moment behind.
 */
export const COUNTER_MESSAGES_OUT = 0;
export const COUNTER_BYTES_OUT = 1;
export const COUNTER_PULLS_FOUND = 2;
export const COUNTER_PULLS_EMPTY = 3;
export const COUNTER_COUNT = 4;

export function createIoCounters(): SharedArrayBuffer {
  return new SharedArrayBuffer(COUNTER_COUNT * 8);
}
