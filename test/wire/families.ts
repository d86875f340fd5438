import { type HeaderForm, Recorder } from "./recorder.ts";
import { administration } from "./requests/administration.ts";
import { batches } from "./requests/batches.ts";
import { clients } from "./requests/clients.ts";
import { filters } from "./requests/filters.ts";
import { groups } from "./requests/groups.ts";
import { kinds } from "./requests/kinds.ts";
import { lite } from "./requests/lite.ts";
import { lmq } from "./requests/lmq.ts";
import { lmqPops } from "./requests/lmq-pops.ts";
import { locks } from "./requests/locks.ts";
import { morePops } from "./requests/more-pops.ts";
import { offsets } from "./requests/offsets.ts";
import { pops } from "./requests/pops.ts";
import { pulls } from "./requests/pulls.ts";
import { queues } from "./requests/queues.ts";
import { replies } from "./requests/replies.ts";
import { retries } from "./requests/retries.ts";
import { sends } from "./requests/sends.ts";
import { timers } from "./requests/timers.ts";
import { topics } from "./requests/topics.ts";
import { transactions } from "./requests/transactions.ts";

type Family = (recorder: Recorder) => Promise<void>;

/** Rows run beside each other; the families of a row one after the other, since they use the same delay queues. */
const APART: readonly (readonly [string, Family][])[] = [
  [["batches", batches]],
  [["topics", topics]],
  [["groups", groups]],
  [["clients", clients]],
  [["locks", locks]],
  [["queues", queues]],
  [
    ["sends", sends],
    ["retries", retries],
    ["kinds", kinds],
  ],
  [["pulls", pulls]],
  [["pops", pops]],
  [["more-pops", morePops]],
];
/** They change settings of the whole broker for a while. */
const ALONE: readonly [string, Family][] = [
  ["offsets", offsets],
  ["administration", administration],
  ["replies", replies],
  ["timers", timers],
  ["filters", filters],
  ["transactions", transactions],
];

/** Only when they are asked for: of a broker with enableLmq and enableMultiDispatch. */
const WITH_LMQ: readonly [string, Family][] = [
  ["lmq", lmq],
  ["lite", lite],
  ["lmq-pops", lmqPops],
];

/**
 * Puts all requests to the broker and gives the lines of each family.
 * @param settleMs see Recorder
 * @param only these families; none: all but those that need another configuration
 * @param header form of the requests' headers
 */
export async function recordAll(
  address: string,
  settleMs: number,
  only: readonly string[] = [],
  header: HeaderForm = "json",
): Promise<Map<string, string[]>> {
  const recorded = new Map<string, string[]>();
  const run = async (row: readonly [string, Family][]): Promise<void> => {
    for (const [name, family] of row) {
      if (only.length > 0 && !only.includes(name)) continue;
      const recorder = new Recorder(address, settleMs, header);
      try {
        await family(recorder);
      } finally {
        await recorder.close();
      }
      recorded.set(name, recorder.lines.join("\n").split("\n"));
    }
  };
  await Promise.all(APART.map(run));
  await run(ALONE);
  if (only.length > 0) await run(WITH_LMQ);
  return recorded;
}
