import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { ResponseCode } from "../../src/format/remoting/remoting-codes.ts";
import { RawClient } from "../broker-e2e/raw-client.ts";
import { checkStore, endOf, type FaultyBroker, launch, SIZES } from "./f6-failed-sync.ts";
import { driveModule, type Fault, firedFaults, setFaults } from "./faulty-drive.ts";
import { createTopic, Ledger, TOPIC } from "./ledger.ts";
import { type Figures, must, type Scenario, type Torture } from "./scenario.ts";

const PRODUCER_COUNT = 16;
const EXIT_MS_MAX = 1000;
/** In the tests the machine is busy. */
const EXIT_MS_MAX_SHORT = 5000;
const FIRED_MS_MAX = 30_000;
const QUERY_MESSAGE = 12;

const REPLACED: readonly Fault[] = [
  { thread: "queue-indexer", call: "openFile", path: "consumequeue", action: "throw", isOnce: true },
  { thread: "queue-indexer", call: "openFile", path: "consumequeue", action: "exit", isOnce: true },
  { thread: "key-indexer", call: "openFile", path: "/index/", action: "throw", isOnce: true },
  { thread: "key-indexer", call: "openFile", path: "/index/", action: "exit", isOnce: true },
  { thread: "io", call: "openFile", path: "commitlog", action: "throw", isOnce: true },
  { thread: "io", call: "openFile", path: "commitlog", action: "exit", isOnce: true },
];

export const scenario: Scenario = {
  id: "F12",
  title: "a thread ends: indexers and network workers are replaced without loss, the writer's end is the process's",
  async run(torture) {
    const totals = { replaced: 0, acknowledged: 0, lost: 0, "writers ended": 0, "exit ms": 0 };
    for (let round = 0; round === 0 || torture.hasNext(round, torture.isShort ? 1 : Number.POSITIVE_INFINITY); round++) {
      const { random } = torture;
      // Three brokers that have nothing to do with each other: at once, but where times are measured.
      const replacing = replaceAll({ ...torture, random: random.fork() }, round);
      if (!torture.isShort) await replacing;
      const ending = [true, false].map(
        (hasOwnThread) => () => endWriter({ ...torture, random: random.fork() }, round, hasOwnThread),
      );
      const ended = torture.isShort
        ? await all(
            ending.map((end) => end()),
            replacing,
          )
        : [await ending[0]!(), await ending[1]!()];
      const { replaced, acked } = await replacing;
      totals.replaced += replaced;
      totals.acknowledged += acked;
      for (const { exitMs, acked: before } of ended) {
        totals["writers ended"]++;
        totals.acknowledged += before;
        totals["exit ms"] = Math.max(totals["exit ms"], exitMs);
      }
    }
    return totals satisfies Figures;
  },
};

/** Ends when all have, whether they hold or not: no broker may outlive the round. */
async function all<T>(first: Promise<T>[], other: Promise<unknown>): Promise<T[]> {
  await Promise.allSettled([...first, other]);
  return Promise.all(first);
}

/** Producers that come back when their connection is lost. */
function keepProducing(ledger: Ledger, address: string, size: number, isOn: () => boolean): Promise<unknown> {
  const produce = async (): Promise<void> => {
    while (isOn()) {
      await ledger.produce(address, size, isOn).catch(() => {});
      await sleep(20);
    }
  };
  return Promise.all(Array.from({ length: PRODUCER_COUNT }, produce));
}

async function replaceAll({ drive, directory, random, isShort }: Torture, round: number) {
  const store = join(directory, `store-${round}`);
  const control = join(directory, `faults-${round}.json`);
  const broker = launch(store, driveModule(drive, control), [...SIZES, "ioWorkers=2", "logWriterThread=own"]);
  const ledger = new Ledger();
  let isOn = true;
  let hasEnded = false;
  void broker.ended.then(() => (hasEnded = true));
  try {
    const [address] = await broker.ready;
    await createTopic(address);
    const producing = keepProducing(ledger, address, random.between(50, 2000), () => isOn);
    // All kinds in a long run; a short one takes one of each thread.
    const faults = isShort ? REPLACED.filter((_, i) => i % 2 === round % 2) : REPLACED;
    let replaced = 0;
    for (const fault of faults) {
      setFaults(control, [fault]);
      const deadline = Date.now() + FIRED_MS_MAX;
      while (firedFaults(control).length <= replaced) {
        must(Date.now() < deadline, `the fault in ${fault.thread} has not fired`);
        must(!hasEnded, `the process ended with ${fault.thread}`);
        if (fault.thread === "io") await ledger.check(address).catch(violations);
        await sleep(20);
      }
      replaced++;
      await sleep(random.between(100, 400));
      must(!hasEnded, `the process ended with ${fault.thread}`);
    }
    isOn = false;
    await producing;
    await settled(address, ledger);
    must(ledger.acked > 0, "nothing was acknowledged: the round proves nothing");
    must((await findKey(address, ledger.acked)) > 0, "the index lacks the newest message");
    broker.kill("SIGTERM");
    must((await endOf(broker)) === 0, "the broker did not stop cleanly");
    await checkStore(store, drive === "native-free", ledger);
    return { replaced, acked: ledger.acked };
  } finally {
    isOn = false;
    broker.kill();
  }
}

/** The connection may be lost under the reader; what does not hold is an error all the same. */
function violations(error: Error): void {
  if (error.message.startsWith("violated")) throw error;
}

/** Indexers may be behind for a moment: waits until all that was acknowledged can be read. */
async function settled(address: string, ledger: Ledger): Promise<void> {
  for (let tries = 0; ; tries++) {
    try {
      await ledger.check(address);
      return;
    } catch (error) {
      if (tries === 50) throw error;
      await sleep(100);
    }
  }
}

/** Newest messages found by key. */
async function findKey(address: string, count: number): Promise<number> {
  const client = await RawClient.connect(address);
  let found = 0;
  for (let tries = 0; found === 0 && tries < 50; tries++) {
    for (let id = count; id > Math.max(0, count - 50) && found === 0; id--) {
      const header = { topic: TOPIC, key: `k${id}`, maxNum: 1, beginTimestamp: 0, endTimestamp: 9_999_999_999_999 };
      if ((await client.ask(QUERY_MESSAGE, header)).code === ResponseCode.SUCCESS) found++;
    }
    if (found === 0) await sleep(100);
  }
  client.close();
  return found;
}

async function endWriter({ drive, directory, random, isShort }: Torture, round: number, hasOwnThread: boolean) {
  const store = join(directory, `writer-${round}-${hasOwnThread}`);
  const control = join(directory, `writer-${round}-${hasOwnThread}.json`);
  const thread = hasOwnThread ? "log-writer" : "io";
  const sets = [...SIZES, "ioWorkers=1", `logWriterThread=${hasOwnThread ? "own" : "auto"}`];
  const broker: FaultyBroker = launch(store, driveModule(drive, control), sets);
  const ledger = new Ledger();
  try {
    const [address] = await broker.ready;
    await createTopic(address);
    const producers = Array.from({ length: PRODUCER_COUNT }, () => ledger.produce(address, 500, () => true));
    await sleep(random.between(200, 500));
    setFaults(control, [{ thread, call: "write", path: "commitlog", action: random.chance(2) ? "throw" : "exit" }]);
    const code = await endOf(broker);
    const endedAtMs = Date.now();
    await Promise.all(producers);
    const [fired] = firedFaults(control);
    must(fired !== undefined, "the fault has not fired");
    must(code !== 0 && code !== null, `the process ended with ${code}`);
    const exitMs = endedAtMs - fired.atMs;
    must(exitMs <= (isShort ? EXIT_MS_MAX_SHORT : EXIT_MS_MAX), `the process ended only ${exitMs} ms after its writer`);
    must(ledger.acked > 0, "nothing was acknowledged: the round proves nothing");
    await checkStore(store, drive === "native-free", ledger);
    return { exitMs, acked: ledger.acked };
  } finally {
    broker.kill();
  }
}
