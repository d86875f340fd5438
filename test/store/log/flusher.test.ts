// Goal: with SYNC_FLUSH one flush serves all senders that are in flight, and none is held up for senders who do not come;
// with ASYNC_FLUSH the log is flushed in time also where the machine's clock was put back.
// Method: the flusher on a disk that only counts, and a doorbell at which the senders who were just answered send again.
import test, { type ExecutionContext } from "ava";
import { type Clock, VirtualClock } from "../../../src/base/clock.ts";
import * as shared from "../../../src/format/shared/shared-words.ts";
import type { Drive, StoreFile } from "../../../src/os/api.ts";
import { Flusher } from "../../../src/store/log/flusher.ts";
import { SharedLog } from "../../../src/store/shared-log.ts";

const RECORD_SIZE = 100;

/** Stands in for the machine's own time: it passes where a test says so. */
let upMs = 1000;

function timed(title: string, body: (t: ExecutionContext) => void): void {
  test.serial(title, (t) => {
    const realNow = performance.now;
    performance.now = () => upMs;
    try {
      body(t);
    } finally {
      performance.now = realNow;
    }
  });
}

class Lab {
  readonly log = new SharedLog();
  readonly flusher: Flusher;
  /** How many messages were appended when each flush began. */
  readonly served: number[] = [];
  /** What happens while the disk is busy, and while the flusher waits. */
  onSync: () => void = () => {};
  onPark: () => void = () => {};
  onNap: () => void = () => {};
  parks = 0;
  flushMs = 1;
  #appended = 0;

  constructor(isSync = true, clock: Clock = new VirtualClock(1)) {
    const file = {
      sync: () => {
        this.served.push(this.#appended);
        upMs += this.flushMs;
        this.onSync();
      },
      close: () => {},
    } as unknown as StoreFile;
    const drive = { openFile: () => file, names: { syncDirectory: () => {} } } as unknown as Drive;
    const doorbell = {
      seen: () => 0,
      park: (_seen: number, ms: number) => {
        this.parks++;
        const before = this.#appended;
        this.onPark();
        if (this.#appended === before) upMs += ms;
      },
      nap: () => this.onNap(),
    };
    const sizes = { directory: "/none", fileSize: 1_000_000, flushIntervalMs: 1, flushLeastPages: 1, flushThoroughIntervalMs: 1 };
    this.flusher = new Flusher({ drive, ...sizes, log: this.log, clock, isSync, doorbell });
  }

  send(count = 1): void {
    this.#appended += count;
    this.log.setOffset(shared.APPENDED_COUNT, this.#appended);
    this.log.setOffset(shared.APPENDED_OFFSET, this.#appended * RECORD_SIZE);
  }
}

timed("two senders who came one after the other are served together from then on", (t) => {
  const lab = new Lab();
  lab.send();
  lab.onSync = () => lab.send(); // The other comes while the disk is busy with the first.
  lab.flusher.work();
  lab.onSync = () => {};
  lab.onPark = () => lab.send(); // The first, answered, sends again.
  for (let flush = 2; flush <= 4; flush++) {
    lab.flusher.work();
    t.is(lab.log.offset(shared.FLUSHED_OFFSET), lab.log.offset(shared.APPENDED_OFFSET));
    lab.send();
  }
  t.deepEqual(lab.served, [1, 3, 5, 7]);
});

timed("many senders are waited for while more of them come", (t) => {
  const lab = new Lab();
  lab.send(64);
  lab.flusher.work();
  lab.onNap = () => lab.send(16);
  lab.send(4);
  lab.flusher.work();
  t.deepEqual(lab.served, [64, 64 + 68]);
});

timed("where the processor is slower than the disk, few are waited for", (t) => {
  const lab = new Lab();
  lab.flushMs = 0.1;
  const sendSlowly = () => {
    upMs += 0.2; // Eight messages' work.
    lab.send(8);
  };
  lab.onNap = sendSlowly;
  lab.onSync = sendSlowly;
  lab.send(64);
  for (let flush = 1; flush <= 20; flush++) {
    upMs += 0.1;
    lab.send(4);
    lab.flusher.work();
  }
  const last = lab.served.slice(-2);
  t.true(last[1]! - last[0]! <= 24, `${last[1]! - last[0]!} together`);
});

timed("one sender is not waited for, nor those who have gone", (t) => {
  const lab = new Lab();
  for (let message = 1; message <= 3; message++) {
    lab.send();
    lab.flusher.work();
  }
  t.is(lab.parks, 0);
  lab.send(10);
  lab.flusher.work(); // Ten in flight …
  for (let message = 1; message <= 2; message++) {
    lab.send(); // … of whom one goes on.
    lab.flusher.work();
  }
  t.deepEqual(lab.served, [1, 2, 3, 13, 14, 15]);
  const before = lab.parks;
  lab.send();
  lab.flusher.work();
  t.is(lab.parks, before, "they were waited for once");
});

timed("a clock that stands, since it was put back, holds up no flush", (t) => {
  const lab = new Lab(false, { ...new VirtualClock(1), now: () => 1 } as Clock);
  for (let flush = 1; flush <= 3; flush++) {
    lab.send(100);
    lab.flusher.work();
    t.is(lab.served.length, flush - 1, "too soon");
    upMs += 1;
    lab.flusher.work();
    t.is(lab.served.length, flush);
  }
});
