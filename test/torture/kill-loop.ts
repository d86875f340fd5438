// F1 and F2: a real broker in a process of its own is killed again and again while producers send.
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { crc32 } from "../../src/base/crc32.ts";
import { decodeMessages } from "../../src/format/record/message.ts";
import { singlesOf } from "../../src/format/record/whole-batch.ts";
import { ResponseCode } from "../../src/format/remoting/remoting-codes.ts";
import type { RemotingCommand } from "../../src/format/remoting/remoting-command.ts";
import { verifyStore } from "../../src/runtime/verify.ts";
import { RawClient } from "../broker-e2e/raw-client.ts";
import * as requests from "../broker-e2e/requests.ts";
import type { Command } from "../cli/command.ts";
import { brokerCommand, ready } from "./broker-command.ts";
import type { Random } from "./random.ts";
import { type Figures, must, type Torture } from "./scenario.ts";

const TOPIC = "Torture";
const QUEUE_COUNT = 4;
/** Its queues hold batches as one record each. They count on behind those of the other topic. */
const WHOLE_TOPIC = "TortureWhole";
const WHOLE_QUEUE_COUNT = 2;
const BATCH_COUNT_MAX = 8;
const ACKED_MS_MAX = 60_000;
export const PRODUCER_COUNT = 64;
/** producer, seq; then filler that follows from them. */
const BODY_HEAD_SIZE = 8;
/** Files so small that many are begun and left. */
const SIZES = ["mappedFileSizeCommitLog=1048576", "mappedFileSizeConsumeQueue=20000", "maxHashSlotNum=1000", "maxIndexNum=4000"];

export interface Acked {
  /** 0 … 3: of the topic of single records, then those of the other one. */
  queue: number;
  queueOffset: number;
  producer: number;
  seq: number;
}

/** What a producer sends: a message, a batch that becomes single records, or one that stays a record. */
type Kind = "single" | "batch" | "whole";
/** Half of the producers send single messages. */
const KINDS: readonly Kind[] = ["single", "batch", "single", "whole"];

function topicOf(queue: number): { topic: string; queueId: number } {
  return queue < QUEUE_COUNT ? { topic: TOPIC, queueId: queue } : { topic: WHOLE_TOPIC, queueId: queue - QUEUE_COUNT };
}

export interface KillPlan {
  flushDiskType: "SYNC_FLUSH" | "ASYNC_FLUSH";
  /** Kills of the full run, unless told otherwise; the time may end it earlier. */
  kills: number;
  killsShort: number;
}

/**
 * Kills the broker with SIGKILL while 64 producers of messages and batches wait for acks, starts it again, and reads all
 * that is new. What is acknowledged must be there, at its place, once; no message may be torn; a producer's messages must
 * stand in the order in which it sent them. Sometimes the kill comes while the broker still recovers. At the end the
 * store must verify.
 */
export async function killLoop(torture: Torture, plan: KillPlan): Promise<Figures> {
  const { random, drive, directory, isShort, say } = torture;
  const store = join(directory, "store");
  const launch = (): Command => brokerCommand(store, drive, [...SIZES, `flushDiskType=${plan.flushDiskType}`]);
  const reader = new NewMessages(true);
  const seqs = new Uint32Array(PRODUCER_COUNT);
  let killed = 0;
  let killedEarly = 0;
  let acked = 0;
  let inBatches = 0;
  let broker = launch();
  try {
    let address = await ready(broker);
    await createTopic(address);
    await createWholeTopic(address);
    while (torture.hasNext(killed, isShort ? plan.killsShort : plan.kills)) {
      const run = random.fork();
      const acks: Acked[] = [];
      const round = sendUntilGone(address, run.fork(), seqs, { isMixed: true, acked: acks });
      // Mostly, on a busy machine too, something was acknowledged before the kill.
      if (killed < 2 || !run.chance(8)) await untilAcked(acks);
      await sleep(run.between(20, isShort ? 150 : 400));
      await broker.end("SIGKILL");
      await round;
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
      inBatches += acks.filter(isInBatch).length;
      if (killed % 20 === 0) say(`${killed} kills, ${acked} acknowledged, ${reader.count} stored`);
    }
    await new NewMessages(true).readAll(address, []); // What was whole is still so.
  } finally {
    await broker.end("SIGKILL");
  }
  const indexShape = { slotCount: 1000, entryCount: 4000 };
  const report = await verifyStore({ storePath: store, nativeFree: drive === "native-free", indexShape });
  must(report.isClean, () => `the store does not verify: ${JSON.stringify(report.findings.slice(0, 5))}`);
  must(acked > 0 && inBatches > 0, "nothing was acknowledged: the round proves nothing");
  const { lost, corrupt, orderBreaks } = reader;
  return {
    kills: killed,
    "while starting": killedEarly,
    acknowledged: acked,
    "of these in batches": inBatches,
    stored: reader.count,
    lost,
    corrupt,
    "order breaks": orderBreaks,
  };
}

export async function createTopic(address: string): Promise<void> {
  const client = await RawClient.connect(address);
  const answer = await client.ask(requests.CREATE_TOPIC, requests.topicHeader(TOPIC, QUEUE_COUNT));
  must(answer.code === ResponseCode.SUCCESS, `the topic was not created: ${answer.remark}`);
  client.close();
}

function isInBatch({ producer }: Acked): boolean {
  return KINDS[producer % KINDS.length] !== "single";
}

async function untilAcked(acks: readonly Acked[]): Promise<void> {
  for (const deadline = Date.now() + ACKED_MS_MAX; !acks.some(isInBatch); await sleep(5))
    must(Date.now() < deadline, "nothing is acknowledged");
}

async function createWholeTopic(address: string): Promise<void> {
  const client = await RawClient.connect(address);
  const header = { ...requests.topicHeader(WHOLE_TOPIC, WHOLE_QUEUE_COUNT), attributes: "+queue.type=BatchCQ" };
  const answer = await client.ask(requests.CREATE_TOPIC, header);
  must(answer.code === ResponseCode.SUCCESS, `the topic was not created: ${answer.remark}`);
  client.close();
}

/**
 * Each producer has a connection and a queue, and sends its next message, or batch, when the last one is acknowledged.
 * @param options  isMixed: half of them send batches, which also needs the topic of whole ones; acked: to be filled
 */
export async function sendUntilGone(
  address: string,
  random: Random,
  seqs: Uint32Array,
  options: { isMixed?: boolean; acked?: Acked[] } = {},
): Promise<Acked[]> {
  const { isMixed = false, acked = [] } = options;
  const produce = async (producer: number, sizes: Random): Promise<void> => {
    const client = await RawClient.connect(address);
    const kind = isMixed ? KINDS[producer % KINDS.length]! : "single";
    const nth = Math.floor(producer / KINDS.length);
    const queue = kind === "whole" ? QUEUE_COUNT + (nth % WHOLE_QUEUE_COUNT) : nth % QUEUE_COUNT;
    for (;;) {
      const first = seqs[producer]!;
      const count = kind === "single" ? 1 : sizes.between(2, BATCH_COUNT_MAX);
      seqs[producer] = first + count;
      const answer = await send(client, kind, queue, producer, first, count, sizes);
      if (answer.code === ResponseCode.SYSTEM_BUSY) continue;
      must(answer.code === ResponseCode.SUCCESS, `a send was answered ${answer.code}: ${answer.remark}`);
      const queueOffset = Number(answer.extFields["queueOffset"]);
      for (let i = 0; i < count; i++) acked.push({ queue, queueOffset: queueOffset + i, producer, seq: first + i });
    }
  };
  const all = Array.from({ length: PRODUCER_COUNT }, (_, producer) => produce(producer, random.fork()));
  for (const ended of await Promise.allSettled(all)) {
    const text = ended.status === "rejected" ? String(ended.reason) : "it ended by itself";
    must(!text.includes("violated"), text);
  }
  return acked;
}

function send(
  client: RawClient,
  kind: Kind,
  queue: number,
  producer: number,
  first: number,
  count: number,
  sizes: Random,
): Promise<RemotingCommand> {
  const where = topicOf(queue);
  const properties = (seq: number): { KEYS: string } => ({ KEYS: `${producer}-${seq}` });
  if (kind === "single") {
    const header = requests.sendHeaderV2({ ...where, properties: properties(first) });
    return client.ask(requests.SEND_V2, header, bodyOf(producer, first, sizes.below(1500)));
  }
  const messages = Array.from({ length: count }, (_, i) => {
    return { body: bodyOf(producer, first + i, sizes.below(400)), properties: properties(first + i) };
  });
  const header = requests.sendHeaderV2({ ...where, batch: true, properties: { UNIQ_KEY: `${producer}-${first}` } });
  return client.ask(requests.SEND_BATCH, header, requests.batchBody(messages));
}

function bodyOf(producer: number, seq: number, fillerSize: number): Buffer {
  const body = Buffer.alloc(BODY_HEAD_SIZE + fillerSize, (producer * 31 + seq) & 0xff);
  body.writeUInt32BE(producer, 0);
  body.writeUInt32BE(seq, 4);
  return body;
}

/** Reads what the queues have beyond what was read before, and checks all of it. */
export class NewMessages {
  readonly #next: Float64Array;
  readonly #lastSeqs = new Int32Array(PRODUCER_COUNT).fill(-1);
  count = 0;
  /** Acknowledged, but not there, or another message is. */
  lost = 0;
  corrupt = 0;
  orderBreaks = 0;
  #firstFault = "";

  /** @param hasWhole  the topic of whole batches is there, too */
  constructor(hasWhole = false) {
    this.#next = new Float64Array(QUEUE_COUNT + (hasWhole ? WHOLE_QUEUE_COUNT : 0));
  }

  #fault(text: string): number {
    this.#firstFault ||= text;
    return 1;
  }

  /** @throws Error with the figures, when anything is not as it must be */
  async readAll(address: string, acks: readonly Acked[]): Promise<void> {
    const client = await RawClient.connect(address);
    const stored = new Map<string, string>();
    for (let queue = 0; queue < this.#next.length; queue++) await this.#readQueue(client, queue, stored);
    for (const { queue, queueOffset, producer, seq } of acks) {
      const found = stored.get(`${queue}/${queueOffset}`);
      if (found === `${producer}-${seq}`) continue;
      this.lost += this.#fault(
        `acknowledged: message ${producer}-${seq} at ${queue}/${queueOffset}; there is ${found ?? "nothing"}`,
      );
    }
    client.close();
    const { lost, corrupt, orderBreaks } = this;
    must(
      this.#firstFault === "",
      () => `lost ${lost}, corrupt ${corrupt}, order breaks ${orderBreaks}; first: ${this.#firstFault}`,
    );
  }

  async #readQueue(client: RawClient, queue: number, stored: Map<string, string>): Promise<void> {
    const where = topicOf(queue);
    const bounds = await client.ask(requests.MAX_OFFSET, where);
    const end = Number(bounds.extFields["offset"]);
    must(end >= this.#next[queue]!, `queue ${queue} ends at ${end}, but ended at ${this.#next[queue]} before`);
    while (this.#next[queue]! < end) {
      const offset = this.#next[queue]!;
      const header = requests.pullHeader({ group: "torture", ...where, offset, count: 1000 });
      const answer = await client.ask(requests.PULL, header);
      must(answer.code === ResponseCode.SUCCESS, () => `pull at ${queue}/${offset}: ${answer.code} ${answer.remark}`);
      for (const message of decodeMessages(answer.body)) {
        must(
          message.queueOffset === this.#next[queue]! && message.queueId === where.queueId,
          () => `${queue}/${this.#next[queue]} is missing: then comes ${message.queueId}/${message.queueOffset}`,
        );
        if ((crc32(message.body, 0, message.body.length) & 0x7fff_ffff) !== message.bodyCrc)
          this.corrupt += this.#fault(`the CRC of ${queue}/${message.queueOffset} is wrong`);
        for (const { body } of singlesOf(message)) this.#take(queue, body, stored);
      }
    }
  }

  /** The body of the queue's next message. */
  #take(queue: number, body: Buffer, stored: Map<string, string>): void {
    const queueOffset = this.#next[queue]!;
    const producer = body.readUInt32BE(0);
    const seq = body.readUInt32BE(4);
    if (!body.equals(bodyOf(producer, seq, body.length - BODY_HEAD_SIZE)))
      this.corrupt += this.#fault(`${queue}/${queueOffset} is torn`);
    else {
      const last = this.#lastSeqs[producer] ?? -1;
      if (seq <= last) this.orderBreaks += this.#fault(`${producer}-${seq} comes after ${producer}-${last}`);
      this.#lastSeqs[producer] = seq;
    }
    stored.set(`${queue}/${queueOffset}`, `${producer}-${seq}`);
    this.#next[queue] = queueOffset + 1;
    this.count++;
  }
}
