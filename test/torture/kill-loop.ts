// F1 and F2: a real broker in a process of its own is killed again and again while producers send.
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { crc32 } from "../../src/base/crc32.ts";
import { decodeMessages } from "../../src/format/record/message.ts";
import { ResponseCode } from "../../src/format/remoting/remoting-codes.ts";
import { verifyStore } from "../../src/runtime/verify.ts";
import { RawClient } from "../broker-e2e/raw-client.ts";
import * as requests from "../broker-e2e/requests.ts";
import { Command } from "../cli/command.ts";
import type { Random } from "./random.ts";
import { type Figures, must, type Torture } from "./scenario.ts";

const TOPIC = "Torture";
const QUEUE_COUNT = 4;
export const PRODUCER_COUNT = 64;
/** producer, seq; then filler that follows from them. */
const BODY_HEAD_SIZE = 8;
/** Files so small that many are begun and left. */
const SIZES = ["mappedFileSizeCommitLog=1048576", "mappedFileSizeConsumeQueue=20000", "maxHashSlotNum=1000", "maxIndexNum=4000"];

export interface Acked {
  queueId: number;
  queueOffset: number;
  producer: number;
  seq: number;
}

export interface KillPlan {
  flushDiskType: "SYNC_FLUSH" | "ASYNC_FLUSH";
  /** Kills of the full run, unless told otherwise; the time may end it earlier. */
  kills: number;
  killsShort: number;
}

/**
 * Kills the broker with SIGKILL while 64 producers wait for acks, starts it again, and reads all that is new. What is
 * acknowledged must be there, at its place, once; no message may be torn; a producer's messages must stand in the order
 * in which it sent them. Sometimes the kill comes while the broker still recovers. At the end the store must verify.
 */
export async function killLoop(torture: Torture, plan: KillPlan): Promise<Figures> {
  const { random, drive, directory, isShort, say } = torture;
  const store = join(directory, "store");
  const launch = (): Command => {
    const sets = [...SIZES, `flushDiskType=${plan.flushDiskType}`].flatMap((text) => ["--set", text]);
    const driveArgs = drive === "native-free" ? ["--native-free"] : [];
    return new Command(["up", "--host", "127.0.0.1", "--port", "0", "--no-namesrv", "--store", store, ...driveArgs, ...sets]);
  };
  const reader = new NewMessages();
  const seqs = new Uint32Array(PRODUCER_COUNT);
  let killed = 0;
  let killedEarly = 0;
  let acked = 0;
  let broker = launch();
  try {
    let address = await ready(broker);
    await createTopic(address);
    while (torture.hasNext(killed, isShort ? plan.killsShort : plan.kills)) {
      const run = random.fork();
      const round = sendUntilGone(address, run.fork(), seqs);
      await sleep(run.between(20, isShort ? 150 : 400));
      await broker.end("SIGKILL");
      const acks = await round;
      killed++;
      broker = launch();
      if (run.chance(5)) {
        await sleep(run.between(200, 900)); // Once more, while it starts: how far it gets is chance.
        await broker.end("SIGKILL");
        killedEarly++;
        broker = launch();
      }
      address = await ready(broker);
      await reader.readAll(address, acks);
      acked += acks.length;
      if (killed % 20 === 0) say(`${killed} kills, ${acked} acknowledged, ${reader.count} stored`);
    }
    await new NewMessages().readAll(address, []); // What was whole is still so.
  } finally {
    await broker.end("SIGKILL");
  }
  const indexShape = { slotCount: 1000, entryCount: 4000 };
  const report = await verifyStore({ storePath: store, nativeFree: drive === "native-free", indexShape });
  must(report.isClean, () => `the store does not verify: ${JSON.stringify(report.findings.slice(0, 5))}`);
  must(acked > 0, "nothing was acknowledged: the round proves nothing");
  const { lost, corrupt, orderBreaks } = reader;
  return {
    kills: killed,
    "while starting": killedEarly,
    acknowledged: acked,
    stored: reader.count,
    lost,
    corrupt,
    "order breaks": orderBreaks,
  };
}

export async function ready(command: Command): Promise<string> {
  const [, address] = await command.line(/^ready namesrv=\S+ broker=(\S+) pid=\d+$/m);
  return address!;
}

export async function createTopic(address: string): Promise<void> {
  const client = await RawClient.connect(address);
  const answer = await client.ask(requests.CREATE_TOPIC, requests.topicHeader(TOPIC, QUEUE_COUNT));
  must(answer.code === ResponseCode.SUCCESS, `the topic was not created: ${answer.remark}`);
  client.close();
}

/** Each producer has a connection and a queue, and sends its next message when the last one is acknowledged. */
export async function sendUntilGone(address: string, random: Random, seqs: Uint32Array): Promise<Acked[]> {
  const acked: Acked[] = [];
  const produce = async (producer: number, sizes: Random): Promise<void> => {
    const client = await RawClient.connect(address);
    const queueId = producer % QUEUE_COUNT;
    for (;;) {
      const seq = seqs[producer]!++;
      const header = requests.sendHeaderV2({ topic: TOPIC, queueId, properties: { KEYS: `${producer}-${seq}` } });
      const answer = await client.ask(requests.SEND_V2, header, bodyOf(producer, seq, sizes.below(1500)));
      if (answer.code === ResponseCode.SYSTEM_BUSY) continue;
      must(answer.code === ResponseCode.SUCCESS, `a send was answered ${answer.code}: ${answer.remark}`);
      acked.push({ queueId, queueOffset: Number(answer.extFields["queueOffset"]), producer, seq });
    }
  };
  const all = Array.from({ length: PRODUCER_COUNT }, (_, producer) => produce(producer, random.fork()));
  for (const ended of await Promise.allSettled(all)) {
    const text = ended.status === "rejected" ? String(ended.reason) : "it ended by itself";
    must(!text.includes("violated"), text);
  }
  return acked;
}

function bodyOf(producer: number, seq: number, fillerSize: number): Buffer {
  const body = Buffer.alloc(BODY_HEAD_SIZE + fillerSize, (producer * 31 + seq) & 0xff);
  body.writeUInt32BE(producer, 0);
  body.writeUInt32BE(seq, 4);
  return body;
}

/** Reads what the queues have beyond what was read before, and checks all of it. */
export class NewMessages {
  readonly #next = new Float64Array(QUEUE_COUNT);
  readonly #lastSeqs = new Int32Array(PRODUCER_COUNT).fill(-1);
  count = 0;
  /** Acknowledged, but not there, or another message is. */
  lost = 0;
  corrupt = 0;
  orderBreaks = 0;
  #firstFault = "";

  #fault(text: string): number {
    this.#firstFault ||= text;
    return 1;
  }

  /** @throws Error with the figures, when anything is not as it must be */
  async readAll(address: string, acks: readonly Acked[]): Promise<void> {
    const client = await RawClient.connect(address);
    const stored = new Map<string, string>();
    for (let queueId = 0; queueId < QUEUE_COUNT; queueId++) await this.#readQueue(client, queueId, stored);
    for (const { queueId, queueOffset, producer, seq } of acks) {
      const found = stored.get(`${queueId}/${queueOffset}`);
      if (found === `${producer}-${seq}`) continue;
      this.lost += this.#fault(
        `acknowledged: message ${producer}-${seq} at ${queueId}/${queueOffset}; there is ${found ?? "nothing"}`,
      );
    }
    client.close();
    const { lost, corrupt, orderBreaks } = this;
    must(
      this.#firstFault === "",
      () => `lost ${lost}, corrupt ${corrupt}, order breaks ${orderBreaks}; first: ${this.#firstFault}`,
    );
  }

  async #readQueue(client: RawClient, queueId: number, stored: Map<string, string>): Promise<void> {
    const bounds = await client.ask(requests.MAX_OFFSET, { topic: TOPIC, queueId });
    const end = Number(bounds.extFields["offset"]);
    must(end >= this.#next[queueId]!, `queue ${queueId} ends at ${end}, but ended at ${this.#next[queueId]} before`);
    while (this.#next[queueId]! < end) {
      const offset = this.#next[queueId]!;
      const header = requests.pullHeader({ group: "torture", topic: TOPIC, queueId, offset, count: 1000 });
      const answer = await client.ask(requests.PULL, header);
      must(answer.code === ResponseCode.SUCCESS, () => `pull at ${queueId}/${offset}: ${answer.code} ${answer.remark}`);
      for (const message of decodeMessages(answer.body)) {
        must(
          message.queueOffset === this.#next[queueId]! && message.queueId === queueId,
          () => `${queueId}/${this.#next[queueId]} is missing: then comes ${message.queueId}/${message.queueOffset}`,
        );
        const { body } = message;
        const producer = body.readUInt32BE(0);
        const seq = body.readUInt32BE(4);
        if ((crc32(body, 0, body.length) & 0x7fff_ffff) !== message.bodyCrc)
          this.corrupt += this.#fault(`the CRC of ${queueId}/${message.queueOffset} is wrong`);
        else if (!body.equals(bodyOf(producer, seq, body.length - BODY_HEAD_SIZE)))
          this.corrupt += this.#fault(`${queueId}/${message.queueOffset} is torn`);
        else {
          const last = this.#lastSeqs[producer] ?? -1;
          if (seq <= last) this.orderBreaks += this.#fault(`${producer}-${seq} comes after ${producer}-${last}`);
          this.#lastSeqs[producer] = seq;
        }
        stored.set(`${queueId}/${message.queueOffset}`, `${producer}-${seq}`);
        this.#next[queueId] = message.queueOffset + 1;
        this.count++;
      }
    }
  }
}
