// The three reasons for which a store takes no message, each brought about alone: what senders are told then, and when
// they are served again.
import fs from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { ResponseCode } from "../../src/format/remoting/remoting-codes.ts";
import { RawClient } from "../broker-e2e/raw-client.ts";
import { endOf, launch, SIZES } from "./f6-failed-sync.ts";
import { driveModule, setFaults } from "./faulty-drive.ts";
import { type Answer, createTopic, Ledger } from "./ledger.ts";
import { must, type Torture } from "./scenario.ts";

const SERVICE_NOT_AVAILABLE = 14;
/** What a write of the slow disk takes, and what it may take, ms. */
const SLOW_MS = 500;
const BUSY_MS = 200;
/** Bytes that must stay free, those that are left, and those of a message. */
const WATERMARK_SIZE = 16 * 1_048_576;
const LEFT_SIZE = 8 * 1_048_576;
const BODY_SIZE = 200;
const PRODUCER_COUNT = 4;

/** No room for a file or a record. */
export function isDiskFull({ code, remark = "" }: Answer): boolean {
  return (
    code === ResponseCode.SYSTEM_ERROR &&
    remark === "create mapped file failed, server is busy or broken. The broker's disk is full"
  );
}

/** More of the disk is in use than may be. */
export function isWatermark({ code, remark = "" }: Answer): boolean {
  return (
    code === SERVICE_NOT_AVAILABLE &&
    /^service not available now\..* the broker's disk is full \[CL: {1,2}\d\.\d\d CQ: {1,2}\d\.\d\d INDEX: {1,2}\d\.\d\d\], /.test(
      remark,
    )
  );
}

/** An append takes too long. */
function isPageCacheBusy({ code, remark = "" }: Answer): boolean {
  const text =
    /^\[REJECTREQUEST\]system busy, start flow control for a while$|^\[PCBUSY_CLEAN_QUEUE\]broker busy, start flow control for a while, period in queue: \d+ms, size of queue: \d+$/;
  return code === ResponseCode.SYSTEM_BUSY && text.test(remark);
}

interface Hindrance {
  name: string;
  /** In which sends from before are answered, ms. */
  settleMs: number;
  begin(): void;
  end(): void;
  isRight(answer: Answer): boolean;
}

/**
 * A broker whose disk has no room, then is too full, then is slow. Nobody is told of another reason than the one there
 * is; reads and commits go on; sends are stored within `resumeMsMax` once it is over; nothing acknowledged is lost.
 * @param disk  an empty file system of at least three times WATERMARK_SIZE
 */
export async function meetEachRefusal(
  { directory, drive }: Torture,
  disk: string,
  resumeMsMax: number,
  readAndCommit: (address: string) => Promise<void>,
): Promise<{ refused: number[]; resumeMs: number; acked: number }> {
  const control = join(directory, "refusals.json");
  const filler = join(disk, "filler");
  const sets = [
    ...SIZES,
    "ioWorkers=1",
    "logWriterThread=own",
    `diskSpaceWarningLevelFreeBytes=${WATERMARK_SIZE}`,
    "cleanFileForciblyEnable=false",
    `osPageCacheBusyTimeOutMills=${BUSY_MS}`,
    "waitTimeMillsInSendQueue=600000", // It is never the queue that is too long.
  ];
  const hindrances: Hindrance[] = [
    {
      name: "disk full",
      settleMs: 100,
      begin: () => setFaults(control, [{ call: "write", path: "commitlog", action: "enospc" }]),
      end: () => setFaults(control, []),
      isRight: isDiskFull,
    },
    {
      name: "watermark",
      settleMs: 100,
      begin() {
        const { bavail, bsize } = fs.statfsSync(disk);
        fs.writeFileSync(filler, Buffer.alloc(bavail * bsize - LEFT_SIZE));
      },
      end: () => fs.rmSync(filler),
      isRight: isWatermark,
    },
    {
      name: "slow disk",
      settleMs: 2 * SLOW_MS,
      begin: () => setFaults(control, [{ call: "write", path: "commitlog", action: "delay", ms: SLOW_MS }]),
      end: () => setFaults(control, []),
      isRight: isPageCacheBusy,
    },
  ];
  const broker = launch(join(disk, "store"), driveModule(drive, control), sets);
  const ledger = new Ledger();
  let isOn = true;
  let resumeMs = 0;
  const refused: number[] = [];
  try {
    const [address] = await broker.ready;
    await createTopic(address);
    const producing = Promise.all(Array.from({ length: PRODUCER_COUNT }, () => ledger.produce(address, BODY_SIZE, () => isOn)));
    const pressing = press(address, ledger, () => isOn);
    pressing.catch(() => {});
    for (const { name, settleMs, begin, end, isRight } of hindrances) {
      const acked = ledger.acked;
      await until(() => ledger.acked > acked + PRODUCER_COUNT, `${name}: nothing is stored before`);
      const fromMs = Date.now();
      begin();
      const isNew = ({ code, answeredMs }: Answer): boolean => code !== ResponseCode.SUCCESS && answeredMs >= fromMs;
      await until(() => ledger.answers.some(isNew), `${name}: nobody is refused`);
      await readAndCommit(address);
      const endedMs = Date.now();
      end();
      const isBack = ({ code, sentMs }: Answer): boolean => code === ResponseCode.SUCCESS && sentMs >= endedMs;
      await until(() => ledger.answers.some(isBack), `${name}: nothing is stored afterwards`);
      const tookMs = ledger.answers.find(isBack)!.answeredMs - endedMs;
      must(tookMs <= resumeMsMax, `${name}: the first send was stored only after ${tookMs} ms`);
      resumeMs = Math.max(resumeMs, tookMs);
      await sleep(settleMs);
      const all = ledger.answers.filter(isNew);
      const other = all.find((answer) => !isRight(answer));
      must(other === undefined, () => `${name}: refused with ${other!.code} ${other!.remark}`);
      refused.push(all.length);
    }
    isOn = false;
    await Promise.all([producing, pressing]);
    await ledger.checkSoon(address);
    broker.kill("SIGTERM");
    must((await endOf(broker)) === 0, "the broker did not stop cleanly");
    return { refused, resumeMs, acked: ledger.acked };
  } finally {
    isOn = false;
    broker.kill();
  }
}

/** Sends at its own pace, whether the last send is answered or not. */
async function press(address: string, ledger: Ledger, isOn: () => boolean): Promise<void> {
  const clients = await Promise.all(Array.from({ length: 4 }, () => RawClient.connect(address)));
  const sends: Promise<unknown>[] = [];
  for (; isOn(); await sleep(20)) for (const client of clients) sends.push(ledger.send(client, BODY_SIZE));
  await Promise.all(sends);
  for (const client of clients) client.close();
}

async function until(condition: () => boolean, what: string): Promise<void> {
  for (const deadline = Date.now() + 40_000; !condition(); await sleep(10)) must(Date.now() < deadline, what);
}
