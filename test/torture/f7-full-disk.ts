import { spawnSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { ResponseCode } from "../../src/format/remoting/remoting-codes.ts";
import { RawClient } from "../broker-e2e/raw-client.ts";
import * as requests from "../broker-e2e/requests.ts";
import type { Command } from "../cli/command.ts";
import { brokerCommand } from "./broker-command.ts";
import { type Answer, createTopic, Ledger, TOPIC } from "./ledger.ts";
import { isDiskFull, isWatermark, meetEachRefusal } from "./refusals.ts";
import { type Figures, must, type Scenario, type Torture } from "./scenario.ts";

const DISK_SIZE = 32 * 1_048_576;
const BALLAST_SIZE = 8 * 1_048_576;
const PRODUCER_COUNT = 16;
const RESUME_MS_MAX = 1000;
/** In the tests nothing is said of speed. */
const RESUME_MS_MAX_SHORT = 60_000;
const READY = /^ready namesrv=\S+ broker=(\S+) pid=\d+$/m;
/** A file of the log is smaller than what the relief frees. Until the last byte it is the disk that is full, not a watermark. */
const SETS = [
  "mappedFileSizeCommitLog=2097152",
  "mappedFileSizeConsumeQueue=20000",
  "maxHashSlotNum=1000",
  "maxIndexNum=4000",
  "diskSpaceWarningLevelFreeBytes=1",
  "cleanFileForciblyEnable=false",
  // However busy the machine is, the broker never says so.
  "waitTimeMillsInSendQueue=600000",
  "osPageCacheBusyTimeOutMills=600000",
];
/** Of the disk on which the reasons for a refusal are brought about one by one. */
const SPARE_DISK_SIZE = 64 * 1_048_576;

export const scenario: Scenario = {
  id: "F7",
  title:
    "no room, a watermark, a slow disk: an error of its own each, reads and commits go on, writes come back within a second, " +
    "nothing lost; starts on a full disk say so too",
  skip: () => (canMount() ? undefined : "a small tmpfs cannot be mounted here"),
  async run(torture) {
    const totals = {
      rounds: 0,
      acknowledged: 0,
      refused: 0,
      "for want of room": 0,
      "by a watermark": 0,
      "by a slow disk": 0,
      "back after ms": 0,
      lost: 0,
    };
    do {
      const each = await refuseOneByOne(torture, totals.rounds);
      totals["for want of room"] += each.refused[0]!;
      totals["by a watermark"] += each.refused[1]!;
      totals["by a slow disk"] += each.refused[2]!;
      totals.acknowledged += each.acked;
      totals["back after ms"] = Math.max(totals["back after ms"], each.resumeMs);
      const round = await fillAndRelieve(torture, totals.rounds++);
      totals.acknowledged += round.acked;
      totals.refused += round.refused;
      totals["back after ms"] = Math.max(totals["back after ms"], round.resumeMs);
    } while (torture.hasNext(totals.rounds, torture.isShort ? 1 : Number.POSITIVE_INFINITY));
    return totals satisfies Figures;
  },
};

function canMount(): boolean {
  const directory = fs.mkdtempSync(join(os.tmpdir(), "millrace-mount-"));
  const isMounted = mount(directory, 1_048_576);
  if (isMounted) unmount(directory);
  fs.rmdirSync(directory);
  return isMounted;
}

function mount(directory: string, size: number): boolean {
  return spawnSync("mount", ["-t", "tmpfs", "-o", `size=${size}`, "none", directory]).status === 0;
}

function unmount(directory: string): void {
  spawnSync("umount", ["-l", directory]);
}

async function refuseOneByOne(torture: Torture, round: number) {
  const disk = join(torture.directory, `spare-${round}`);
  fs.mkdirSync(disk);
  must(mount(disk, SPARE_DISK_SIZE), "the tmpfs cannot be mounted");
  try {
    return await meetEachRefusal(torture, disk, torture.isShort ? RESUME_MS_MAX_SHORT : RESUME_MS_MAX, readAndCommit);
  } finally {
    unmount(disk);
  }
}

async function fillAndRelieve(torture: Torture, round: number) {
  const { directory, drive, random, isShort, say } = torture;
  const disk = join(directory, `disk-${round}`);
  fs.mkdirSync(disk);
  must(mount(disk, DISK_SIZE), "the tmpfs cannot be mounted");
  const ballast = join(disk, "ballast");
  fs.writeFileSync(ballast, Buffer.alloc(BALLAST_SIZE, "b"));
  const sets = [...SETS, `flushDiskType=${random.pick(["SYNC_FLUSH", "ASYNC_FLUSH"])}`];
  const launch = (): Command => brokerCommand(join(disk, "store"), drive, sets);
  let broker = launch();
  let isOn = true;
  try {
    const [, address] = await broker.line(READY);
    await createTopic(address!);
    const ledger = new Ledger();
    const size = random.between(500, 6000);
    const producers = Array.from({ length: PRODUCER_COUNT }, () =>
      ledger.produce(address!, size, () => isOn).then(() => must(!isOn, "a connection was lost")),
    );
    const producing = Promise.all(producers);
    producing.catch(() => {});
    // Which of the two is met first is up to what is written last: a record, or the queues' entries.
    const isFull = (): boolean => ledger.acked > 0 && isHonest(ledger.answers.at(-1)!);
    await until(isFull, () => `the disk does not become full: ${ledger.acked} acknowledged`);
    fill(join(disk, "filler")); // Also what queues and index would take.
    await sleep(random.between(300, isShort ? 600 : 3000));
    // What a file of the log has reserved is still filled.
    const storesNothing = (): boolean => ledger.answers.slice(-100).every(({ code }) => code !== ResponseCode.SUCCESS);
    await until(storesNothing, () => "sends are stored on a full disk");
    await readAndCommit(address!);
    must(broker.child.exitCode === null, "the process ended");

    const relievedMs = Date.now();
    if (random.chance(2)) fs.rmSync(ballast);
    fs.rmSync(join(disk, "filler"));
    fs.rmSync(ballast, { force: true });
    const isBack = (): boolean => ledger.answers.some(({ code, answeredMs }) => code === 0 && answeredMs >= relievedMs);
    await until(isBack, () => "no send is stored after the relief");
    const resumeMs =
      ledger.answers.find(({ code, answeredMs }) => code === 0 && answeredMs >= relievedMs)!.answeredMs - relievedMs;
    must(
      resumeMs <= (isShort ? RESUME_MS_MAX_SHORT : RESUME_MS_MAX),
      `the first send was stored only ${resumeMs} ms after the relief`,
    );
    await sleep(200);
    isOn = false;
    await producing;
    await ledger.checkSoon(address!);
    const refused = ledger.answers.filter(({ code }) => code !== 0);
    const other = refused.find((answer) => !isHonest(answer));
    must(other === undefined, () => `also refused with: ${other!.code} ${other!.remark}`);
    must(refused.length > 0, "nobody was told that the disk is full");
    await broker.end(random.chance(2) ? "SIGKILL" : "SIGTERM");
    say(`${ledger.acked} acknowledged, ${refused.length} refused, back after ${resumeMs} ms`);
    broker = launch();
    const [, again] = await broker.line(READY);
    await ledger.check(again!);
    await broker.end("SIGKILL");
    for (const damage of isShort ? [random.pick(DAMAGES)] : DAMAGES) {
      damage(join(disk, "store"));
      fill(join(disk, `filler-${damage.name}`)); // And what was freed by that, or by the start before, is taken at once.
      broker = launch();
      await startFull(broker, damage.name);
    }
    return { acked: ledger.acked, refused: refused.length, resumeMs };
  } catch (error) {
    say(`the broker said: ${broker.stdout.slice(-500)}${broker.stderr.slice(-3000)}`);
    throw error;
  } finally {
    isOn = false;
    await broker.end("SIGKILL");
    unmount(disk);
  }
}

/** What may have happened to a store before it is started on a full disk. */
const DAMAGES: readonly ((store: string) => void)[] = [
  function nothing() {},
  function logCut(store) {
    const logs = join(store, "commitlog");
    const last = join(logs, fs.readdirSync(logs).sort().at(-1)!);
    fs.truncateSync(last, Math.floor(fs.statSync(last).size / 3));
  },
  function queuesGone(store) {
    fs.rmSync(join(store, "consumequeue"), { recursive: true });
  },
  function indexGone(store) {
    fs.rmSync(join(store, "index"), { recursive: true, force: true });
  },
];

/** It serves, or says that the disk is full; it is never ended by a page that has no room. */
async function startFull(broker: Command, what: string): Promise<void> {
  const isServing = await broker.line(READY).then(
    () => true,
    () => false,
  );
  const { child } = broker;
  const { code, stderr } = await broker.end(isServing ? "SIGKILL" : undefined);
  if (isServing) return must(child.signalCode === "SIGKILL", `${what}: a start on a full disk ended by ${child.signalCode}`);
  must(
    code === 1 && child.signalCode === null,
    `${what}: a start on a full disk ended with ${code} ${child.signalCode}: ${stderr}`,
  );
  must(/disk full|disk has no room|no space left/i.test(stderr), `${what}: a start on a full disk says: ${stderr}`);
}

/** Which of the two it is changes when the last byte is written; alone they are met in refusals.ts. */
function isHonest(answer: Answer): boolean {
  return isDiskFull(answer) || isWatermark(answer);
}

/** Writes a file until there is no room for another byte. */
function fill(file: string): void {
  const fd = fs.openSync(file, "w");
  try {
    for (let size = 65_536; size >= 1; ) {
      try {
        fs.writeSync(fd, Buffer.alloc(size));
      } catch {
        size = Math.floor(size / 2);
      }
    }
  } finally {
    fs.closeSync(fd);
  }
}

async function readAndCommit(address: string): Promise<void> {
  const client = await RawClient.connect(address);
  const pulled = await client.ask(requests.PULL, requests.pullHeader({ group: "torture", topic: TOPIC, offset: 0, count: 8 }));
  must(pulled.code === ResponseCode.SUCCESS, `a pull on a full disk: ${pulled.code} ${pulled.remark}`);
  const commit = { consumerGroup: "torture", topic: TOPIC, queueId: 0, commitOffset: 8 };
  const committed = await client.ask(requests.UPDATE_OFFSET, commit);
  must(committed.code === ResponseCode.SUCCESS, `a commit on a full disk: ${committed.code} ${committed.remark}`);
  const asked = await client.ask(requests.QUERY_OFFSET, { consumerGroup: "torture", topic: TOPIC, queueId: 0 });
  must(asked.extFields["offset"] === "8", `the commit is not there: ${asked.code} ${asked.remark}`);
  client.close();
}

async function until(condition: () => boolean, state: () => string): Promise<void> {
  for (const deadline = Date.now() + 40_000; !condition(); await sleep(10)) must(Date.now() < deadline, state);
}
