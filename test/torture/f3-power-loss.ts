import { ModelDisk } from "./model-disk.ts";
import { ModelStore, QUEUE_COUNT, type Stored, verifyModelBlocks } from "./model-store.ts";
import { Random } from "./random.ts";
import { must, type Scenario, type Torture } from "./scenario.ts";

const SEEDS = 10_000;
const SEEDS_SHORT = 250;
const LIVES = 2;

interface Counts {
  acked: number;
  cuts: number;
  kills: number;
  gaps: number;
  recoveryCuts: number;
}

/** One store through some lives. @throws Error when something acknowledged is lost, or a recovery does */
function runSeed(seed: number, isMapped: boolean, counts: Counts): void {
  const random = new Random(seed);
  const disk = new ModelDisk(isMapped, random.fork());
  const isSync = !random.chance(4);
  /** Acknowledged, so that it must be there whatever happens: by queue and queueOffset. */
  const sure = new Map<string, Stored>();
  const bodies = new Map<number, Buffer>();
  let nowMs = 1_700_000_000_000;
  for (let life = 0; life <= LIVES; life++) {
    let store: ModelStore | undefined;
    let isCut = false;
    let isStopped = false;
    try {
      if (life > 0 && life < LIVES && random.chance(6)) disk.cutAfter(random.below(40)); // While it recovers.
      store = new ModelStore(disk, isSync, nowMs);
      disk.kill();
    } catch (error) {
      if (!disk.isCut) throw error; // Whatever a call made of it.
      counts.recoveryCuts++;
      disk.cutPower();
      if (!isSync) sure.clear();
      continue;
    }
    counts.gaps += store.recovered.gaps.length;
    // Whatever was lost, cut off and written anew: no checksum is of what stood there before.
    const [fault] = verifyModelBlocks(disk).list;
    must(fault === undefined, () => `what is right is called damaged: ${fault!.text}`);
    check(store, sure, bodies);
    if (life === LIVES) {
      store.end();
      counts.acked += sure.size;
      return;
    }
    try {
      if (random.chance(2)) disk.cutAfter(random.below(400));
      live(store, random, disk, bodies);
      nowMs = store.clock.now();
      if (random.chance(4)) {
        store.stop();
        isStopped = true;
        isCut = random.chance(2);
        keep(store, sure, true, false);
      }
    } catch (error) {
      if (!disk.isCut) throw error; // Whatever a call made of it.
      isCut = true;
    }
    nowMs = store.clock.now();
    isCut ||= !random.chance(5);
    // With ASYNC_FLUSH a power cut takes what it takes; a kill takes nothing.
    if (!isStopped) keep(store, sure, isSync || !isCut, isSync);
    store.end();
    if (isCut) {
      disk.cutPower();
      counts.cuts++;
    } else {
      disk.kill();
      counts.kills++;
    }
    if (!isSync && isCut && !isStopped) sure.clear();
  }
}

/** Producers, log writer, indexer, flusher and the system itself by turns. */
function live(store: ModelStore, random: Random, disk: ModelDisk, bodies: Map<number, Buffer>): void {
  for (let steps = random.between(10, 90); steps > 0; steps--) {
    switch (random.below(8)) {
      case 0:
      case 1:
      case 2:
        for (let count = random.between(1, 4); count > 0; count--) {
          const id = bodies.size + 1;
          const body = Buffer.alloc(random.chance(4) ? random.between(1, 5000) : random.between(1, 200), id & 0xff);
          bodies.set(id, body);
          store.send(id, random.below(QUEUE_COUNT), body);
        }
        break;
      case 3:
      case 4:
        store.write();
        break;
      case 5:
        store.flush();
        break;
      case 6:
        store.index();
        break;
      default:
        disk.writeBack();
        store.note();
        store.clock.advance(random.between(1, 400));
    }
  }
}

function keep(store: ModelStore, sure: Map<string, Stored>, isKept: boolean, isSync: boolean): void {
  if (!isKept) return;
  for (const stored of store.appended.slice(0, store.ackedCount(isSync)))
    sure.set(`${stored.queueId}/${stored.queueOffset}`, stored);
}

function check(store: ModelStore, sure: ReadonlyMap<string, Stored>, bodies: ReadonlyMap<number, Buffer>): void {
  const found = new Map<string, number>();
  for (let queueId = 0; queueId < QUEUE_COUNT; queueId++) {
    for (const [queueOffset, { flag: id, body }] of store.read(queueId, 0)) {
      must(bodies.get(id)?.equals(body) === true, `the body of message ${id} is another`);
      found.set(`${queueId}/${queueOffset}`, id);
    }
  }
  for (const [place, { id, physicalOffset }] of sure) {
    must(
      found.get(place) === id,
      () =>
        `acknowledged: message ${id} at ${place}, physicalOffset ${physicalOffset}; there is ${found.get(place) ?? "nothing"}`,
    );
  }
}

async function run({ seed, drive, isShort, hasNext, say }: Torture): Promise<Record<string, number>> {
  const counts: Counts = { acked: 0, cuts: 0, kills: 0, gaps: 0, recoveryCuts: 0 };
  let done = 0;
  for (; hasNext(done, isShort ? SEEDS_SHORT : SEEDS); done++) {
    const own = seed * 1_000_003 + done;
    try {
      runSeed(own, drive === "ffi", counts);
    } catch (error) {
      say(`store ${done}, seed ${own}`);
      throw error;
    }
    if ((done & 63) === 0) await new Promise((resolve) => setImmediate(resolve)); // Closed ports go only then.
    if ((done + 1) % 2000 === 0) say(`${done + 1} stores, ${counts.cuts} power cuts`);
  }
  const { cuts, kills, recoveryCuts, gaps, acked } = counts;
  return {
    stores: done,
    "power cuts": cuts,
    "while recovering": recoveryCuts,
    kills,
    "gaps found": gaps,
    acknowledged: acked,
    lost: 0,
  };
}

export const scenario: Scenario = {
  id: "F3",
  title: "power cuts on a model disk that drops, keeps, reorders and tears what was not synced",
  run,
};
