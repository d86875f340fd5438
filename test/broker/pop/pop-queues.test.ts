// Goal: what a queue has handed out to a pop is behind the place where the next one begins, also when messages come meanwhile.
// Method: a store whose queue grows, seen from the control thread, between any two looks at it.
import test from "ava";
import type { MessageStore } from "../../../src/broker/message-store.ts";
import { PopQueues, type PopQueuesOptions } from "../../../src/broker/pop/pop-queues.ts";
import type { EntryFilter } from "../../../src/filter/entry-filter.ts";
import { READ_FOUND } from "../../../src/store/queue/queue-reader.ts";

test("a message that comes while a pop looks is handed out once", (t) => {
  let max = 0;
  const store = {
    minQueueOffset: () => 0,
    maxQueueOffset: () => ++max,
    pick: (_topic: string, _queueId: number, from: number, count: number) => {
      max++;
      const queueOffsets = Array.from({ length: Math.min(count, max - from) }, (_, i) => from + i);
      return { status: READ_FOUND, nextOffset: from + queueOffsets.length, queueOffsets, records: [] };
    },
  } as unknown as MessageStore;
  const queues = new PopQueues({ store } as unknown as PopQueuesOptions);
  const seen: number[] = [];
  let next = 0;
  for (let pop = 0; pop < 20; pop++) {
    const picked = queues.pick("T", 0, next, 8, {} as EntryFilter);
    seen.push(...picked.queueOffsets);
    next = picked.nextOffset;
  }
  t.deepEqual(
    seen,
    Array.from({ length: seen.length }, (_, i) => i),
  );
  t.true(seen.length > 20);
});
