import { VirtualClock } from "../../src/base/clock.ts";
import { ControlPlane } from "../../src/broker/control-plane.ts";
import type { ConfigValues } from "../../src/config/keys.ts";
import { resolveConfig } from "../../src/config/resolve.ts";
import { OffsetCells } from "../../src/format/shared/offset-cells.ts";
import { silentLog } from "../../src/observe/log.ts";
import { FakeStore, FakeTables } from "./fake-store.ts";

export interface FakeControlPlane {
  control: ControlPlane;
  values: ConfigValues;
  clock: VirtualClock;
  store: FakeStore;
  tables: FakeTables;
  /** How often name servers would have been told of the topics. */
  announced: { count: number };
}

/** A broker without sockets and threads, over a store in a map; not loaded yet. */
export function newControlPlane(options: {
  directory: string;
  clock?: VirtualClock;
  store?: FakeStore;
  values?: Partial<ConfigValues>;
}): FakeControlPlane {
  const { directory, clock = new VirtualClock(1_000_000), store = new FakeStore() } = options;
  const values: ConfigValues = { ...resolveConfig([]).values, brokerName: "b", storePathRootDir: directory, ...options.values };
  const tables = new FakeTables();
  const announced = { count: 0 };
  const control = new ControlPlane({
    values,
    clock,
    log: silentLog,
    store,
    cells: new OffsetCells(),
    tables,
    configDirectory: directory,
    brokerAddress: "127.0.0.1:10911",
    delayLevelsMs: Array.from({ length: 18 }, (_, level) => (level + 1) * 1000),
    compactionFiles: {
      open: () => undefined,
      compact: () => Promise.reject(new Error("nothing here to compact")),
      keepOnly: () => {},
      remove: () => {},
    },
    timer: undefined,
    retention: { deleteExpiredNow: () => {}, cleanQueuesNow: () => {} },
    inMemorySize: 1_000_000,
    newUniqueKey: () => "UNIQUE",
    routedQueues: () => Promise.resolve(undefined),
    storedTopics: () => [],
    onTopicsChanged: () => {
      announced.count++;
    },
    served: () => ({ puts: 0, putBytes: 0, putsFailed: 0, messages: 0, bytes: 0, pullsFound: 0, pullsEmpty: 0 }),
  });
  return { control, values, clock, store, tables, announced };
}
