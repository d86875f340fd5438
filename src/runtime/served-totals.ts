import type { ServedTotals } from "../broker/admin/broker-stats.ts";
import {
  COUNTER_BYTES_OUT,
  COUNTER_MESSAGES_OUT,
  COUNTER_PULLS_EMPTY,
  COUNTER_PULLS_FOUND,
} from "../format/shared/io-counters.ts";
import * as shared from "../format/shared/shared-words.ts";
import type { SharedLog } from "../store/shared-log.ts";

/** What the log writer and all I/O workers have done since the start. @param counters a worker's each */
export function servedTotals(log: SharedLog, counters: readonly SharedArrayBuffer[]): ServedTotals {
  const total = (counter: number): number => counters.reduce((sum, memory) => sum + new Float64Array(memory)[counter]!, 0);
  return {
    puts: log.offset(shared.APPENDED_COUNT),
    putBytes: log.offset(shared.APPENDED_SIZE),
    putsFailed: log.offset(shared.REFUSED_COUNT),
    messages: total(COUNTER_MESSAGES_OUT),
    bytes: total(COUNTER_BYTES_OUT),
    pullsFound: total(COUNTER_PULLS_FOUND),
    pullsEmpty: total(COUNTER_PULLS_EMPTY),
  };
}
