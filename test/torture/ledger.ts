// What producers were told, and whether the broker still has it.
import { setTimeout as sleep } from "node:timers/promises";
import { crc32 } from "../../src/base/crc32.ts";
import { type DecodedMessage, decodeMessages } from "../../src/format/record/message.ts";
import { ResponseCode } from "../../src/format/remoting/remoting-codes.ts";
import { RawClient } from "../broker-e2e/raw-client.ts";
import * as requests from "../broker-e2e/requests.ts";
import { must } from "./scenario.ts";

export const TOPIC = "Torture";
const QUEUE_COUNT = 4;

export interface Answer {
  code: number;
  remark: string | undefined;
  /** When it was sent and answered, ms. */
  sentMs: number;
  answeredMs: number;
}

/** Makes the topic that all of these use. */
export async function createTopic(address: string): Promise<void> {
  const client = await RawClient.connect(address);
  const answer = await client.ask(requests.CREATE_TOPIC, requests.topicHeader(TOPIC, QUEUE_COUNT));
  must(answer.code === ResponseCode.SUCCESS, `the topic was not made: ${answer.remark}`);
  client.close();
}

export class Ledger {
  /** `queueId/queueOffset` -> id of the message that was acknowledged there. */
  readonly #acked = new Map<string, number>();
  readonly answers: Answer[] = [];
  #nextId = 0;

  get acked(): number {
    return this.#acked.size;
  }

  countOf(code: number): number {
    return this.answers.filter((answer) => answer.code === code).length;
  }

  /** Sends one message after the other while `isOn` says so, or until the connection ends. */
  async produce(address: string, size: number, isOn: () => boolean): Promise<void> {
    const client = await RawClient.connect(address);
    try {
      while (isOn()) await this.send(client, size);
    } catch {
      // The connection has gone; what was not answered is nobody's loss.
    } finally {
      client.close();
    }
  }

  async send(client: RawClient, size: number): Promise<Answer> {
    const id = this.#nextId++;
    const queueId = id % QUEUE_COUNT;
    const body = Buffer.alloc(Math.max(8, size), id & 0xff);
    body.writeUInt32BE(id, 0);
    const sentMs = Date.now();
    const header = requests.sendHeaderV2({ topic: TOPIC, queueId, properties: { KEYS: `k${id}` } });
    const { code, remark, extFields } = await client.ask(requests.SEND_V2, header, body);
    const answer = { code, remark, sentMs, answeredMs: Date.now() };
    this.answers.push(answer);
    if (code === ResponseCode.SUCCESS) {
      const place = `${queueId}/${extFields["queueOffset"]}`;
      must(!this.#acked.has(place), `${place} was given out twice`);
      this.#acked.set(place, id);
    }
    return answer;
  }

  /** The same, while the queues may be behind for a moment. */
  async checkSoon(address: string): Promise<number> {
    for (let tries = 0; ; tries++) {
      try {
        return await this.check(address);
      } catch (error) {
        if (tries === 50) throw error;
        await sleep(100);
      }
    }
  }

  /** Reads all queues: what was acknowledged is there, at its place, whole. @returns how many messages there are */
  async check(address: string): Promise<number> {
    const left = new Map(this.#acked);
    let count = 0;
    await readTopic(address, QUEUE_COUNT, ({ queueOffset, body, bodyCrc }, queueId, next) => {
      must(queueOffset === next, `${queueId}/${next} is missing`);
      must((crc32(body, 0, body.length) & 0x7fff_ffff) === bodyCrc, `${queueId}/${next} is torn`);
      const place = `${queueId}/${queueOffset}`;
      const id = left.get(place);
      must(id === undefined || id === body.readUInt32BE(0), () => `${place} holds ${body.readUInt32BE(0)}, not ${id}`);
      left.delete(place);
      count++;
    });
    must(left.size === 0, () => `acknowledged, but lost: ${[...left].slice(0, 5).join(" ")} of ${left.size}`);
    return count;
  }
}

/**
 * Reads all of TOPIC's queues from their start.
 * @param take `next`: the offset that comes after the last message's
 */
export async function readTopic(
  address: string,
  queueCount: number,
  take: (message: DecodedMessage, queueId: number, next: number) => void,
): Promise<void> {
  const client = await RawClient.connect(address);
  for (let queueId = 0; queueId < queueCount; queueId++) {
    const bounds = await client.ask(requests.MAX_OFFSET, { topic: TOPIC, queueId });
    const end = Number(bounds.extFields["offset"]);
    for (let next = 0; next < end; ) {
      const header = requests.pullHeader({ group: "torture", topic: TOPIC, queueId, offset: next, count: 1000 });
      const answer = await client.ask(requests.PULL, header);
      must(answer.code === ResponseCode.SUCCESS, () => `pull at ${queueId}/${next}: ${answer.code} ${answer.remark}`);
      for (const message of decodeMessages(answer.body)) {
        take(message, queueId, next);
        next = message.queueOffset + 1;
      }
    }
  }
  client.close();
}
