import { encodeMessage, PHYSICAL_OFFSET_OFFSET, QUEUE_OFFSET_OFFSET, writeInt64 } from "../../src/format/record/message.ts";
import { encodeProperties } from "../../src/format/record/properties.ts";
import { type RemotingCommand, response } from "../../src/format/remoting/remoting-command.ts";
import type { FakeConnection, FakeServer } from "./fake-server.ts";

interface HeldPull {
  command: RemotingCommand;
  connection: FakeConnection;
}

export interface FakeMessage {
  body: string;
  tags?: string;
  properties?: Record<string, string>;
  reconsumeTimes?: number;
}

/** The consuming side of a broker: queues in memory, pulls held until there is something, offsets, members, locks. */
export class FakeQueues {
  /** Stored offsets by `topic/queueId`; all groups in one. */
  readonly committed: Map<string, number> = new Map();
  /** What 36 asked for. */
  readonly sentBack: { offset: number; delayLevel: number; topic: string }[] = [];
  /** What 38 answers. By default, the clients that sent a heartbeat. */
  members: string[] | undefined;
  /** Queues, as `topic/queueId`, that 41 refuses. */
  readonly lockedByOthers: Set<string> = new Set();
  readonly unlocked: string[] = [];
  readonly #server: FakeServer;
  readonly #queues = new Map<string, Buffer[]>();
  readonly #minOffsets = new Map<string, number>();
  readonly #alive = new Set<string>();
  #held: HeldPull[] = [];
  #physical = 0;

  constructor(server: FakeServer) {
    this.#server = server;
    server
      .on(34, (command) => {
        this.#alive.add(JSON.parse(command.body.toString()).clientID);
        return response(command, 0);
      })
      .on(35, (command) => {
        this.#alive.delete(command.extFields["clientID"]!);
        return response(command, 0);
      })
      .on(38, (command) => {
        const body = { consumerIdList: this.members ?? [...this.#alive] };
        return response(command, 0, undefined, {}, Buffer.from(JSON.stringify(body)));
      })
      .on(14, (command) => {
        const offset = this.committed.get(keyOf(command));
        return offset === undefined ? response(command, 22, "Not found") : response(command, 0, undefined, { offset });
      })
      .on(15, (command) => {
        this.committed.set(keyOf(command), Number(command.extFields["commitOffset"]));
        return response(command, 0);
      })
      .on(29, (command) => response(command, 0, undefined, { offset: 1 }))
      .on(30, (command) => response(command, 0, undefined, { offset: this.maxOffset(keyOf(command)) }))
      .on(36, (command) => {
        const { offset, delayLevel, originTopic } = command.extFields;
        this.sentBack.push({ offset: Number(offset), delayLevel: Number(delayLevel), topic: originTopic! });
        return response(command, 0);
      })
      .on(41, (command) => {
        const { mqSet } = JSON.parse(command.body.toString()) as { mqSet: { topic: string; queueId: number }[] };
        const lockOKMQSet = mqSet.filter(({ topic, queueId }) => !this.lockedByOthers.has(`${topic}/${queueId}`));
        return response(command, 0, undefined, {}, Buffer.from(JSON.stringify({ lockOKMQSet })));
      })
      .on(42, (command) => {
        const { mqSet } = JSON.parse(command.body.toString()) as { mqSet: { topic: string; queueId: number }[] };
        this.unlocked.push(...mqSet.map(({ topic, queueId }) => `${topic}/${queueId}`));
        return response(command, 0);
      })
      .on(11, (command, connection) => this.#pull(command, connection));
  }

  /** Appends messages and answers the pulls that wait for them. */
  append(topic: string, queueId: number, messages: readonly FakeMessage[]): void {
    const key = `${topic}/${queueId}`;
    const queue = this.#queues.get(key) ?? [];
    this.#queues.set(key, queue);
    for (const message of messages) {
      const record = fakeRecord(
        topic,
        queueId,
        { ...message, properties: { UNIQ_KEY: `id-${key}-${queue.length}`, ...message.properties } },
        this.#server.address,
      );
      writeInt64(record, queue.length, QUEUE_OFFSET_OFFSET);
      writeInt64(record, this.#physical, PHYSICAL_OFFSET_OFFSET);
      this.#physical += record.length;
      queue.push(record);
    }
    const held = this.#held;
    this.#held = [];
    for (const { command, connection } of held) {
      const answer = this.#pull(command, connection);
      if (answer !== undefined) connection.send(answer);
    }
  }

  /** Forgets the messages before `offset`. */
  truncate(topic: string, queueId: number, offset: number): void {
    this.#minOffsets.set(`${topic}/${queueId}`, offset);
  }

  maxOffset(key: string): number {
    return this.#queues.get(key)?.length ?? 0;
  }

  /** Pulls that came for a queue. */
  pullsOf(topic: string, queueId: number): RemotingCommand[] {
    return this.#server.receivedOf(11).filter((command) => keyOf(command) === `${topic}/${queueId}`);
  }

  #pull(command: RemotingCommand, connection: FakeConnection): RemotingCommand | undefined {
    const key = keyOf(command);
    const fields = command.extFields;
    const offset = Number(fields["queueOffset"]);
    if ((Number(fields["sysFlag"]) & 1) === 1) this.committed.set(key, Number(fields["commitOffset"]));
    const min = this.#minOffsets.get(key) ?? 0;
    const max = this.maxOffset(key);
    const header = { suggestWhichBrokerId: 0, minOffset: min, maxOffset: max };
    if (offset < min || offset > max) return response(command, 21, "", { ...header, nextBeginOffset: offset < min ? min : max });
    if (offset === max) {
      this.#held.push({ command, connection });
      return undefined;
    }
    const records = this.#queues.get(key)!.slice(offset, offset + Number(fields["maxMsgNums"]));
    return response(command, 0, "FOUND", { ...header, nextBeginOffset: offset + records.length }, Buffer.concat(records));
  }
}

function keyOf(command: RemotingCommand): string {
  return `${command.extFields["topic"]}/${command.extFields["queueId"]}`;
}

/** A record whose offsets are 0. */
export function fakeRecord(topic: string, queueId: number, message: FakeMessage, storeHost: string): Buffer {
  const { body, tags, properties, reconsumeTimes } = message;
  const pairs = new Map(Object.entries({ ...properties, ...(tags === undefined ? {} : { TAGS: tags }) }));
  return encodeMessage({
    topic,
    queueId,
    flag: 0,
    sysFlag: 0,
    bornTimestamp: 1_000,
    bornHost: "127.0.0.1:5000",
    storeHost,
    reconsumeTimes: reconsumeTimes ?? 0,
    preparedTransactionOffset: 0,
    properties: encodeProperties(pairs),
    body: Buffer.from(body),
    bodyCrc: 0,
  });
}
