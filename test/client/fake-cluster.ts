import { type RemotingCommand, response } from "../../src/format/remoting/remoting-command.ts";
import { FakeServer } from "./fake-server.ts";

export interface FakeTopic {
  queueCount: number;
  /** Names of brokers that have it. */
  brokers: readonly string[];
  perm?: number;
}

/** A name server and brokers of which tests say how they answer; stores nothing. */
export class FakeCluster {
  readonly nameServer: FakeServer;
  readonly brokers: ReadonlyMap<string, FakeServer>;
  readonly topics: Map<string, FakeTopic>;

  private constructor(nameServer: FakeServer, brokers: ReadonlyMap<string, FakeServer>, topics: Record<string, FakeTopic>) {
    this.nameServer = nameServer;
    this.brokers = brokers;
    this.topics = new Map(Object.entries(topics));
    nameServer.on(105, (command) => this.#route(command));
    for (const broker of brokers.values()) {
      broker.on(34, (command) => response(command, 0));
      broker.on(35, (command) => response(command, 0));
    }
  }

  static async start(brokerNames: readonly string[], topics: Record<string, FakeTopic>): Promise<FakeCluster> {
    const brokers = new Map<string, FakeServer>();
    for (const name of brokerNames) brokers.set(name, await FakeServer.start());
    return new FakeCluster(await FakeServer.start(), brokers, topics);
  }

  get namesrvAddr(): string {
    return this.nameServer.address;
  }

  broker(name: string): FakeServer {
    return this.brokers.get(name)!;
  }

  async stop(): Promise<void> {
    await Promise.all([this.nameServer, ...this.brokers.values()].map((server) => server.stop()));
  }

  #route(command: RemotingCommand): RemotingCommand {
    const topic = this.topics.get(command.extFields["topic"]!);
    if (topic === undefined) return response(command, 17, "No topic route info");
    const body = {
      brokerDatas: topic.brokers.map((brokerName) => ({
        brokerName,
        cluster: "c",
        brokerAddrs: { 0: this.broker(brokerName).address },
      })),
      queueDatas: topic.brokers.map((brokerName) => ({
        brokerName,
        perm: topic.perm ?? 6,
        readQueueNums: topic.queueCount,
        writeQueueNums: topic.queueCount,
        topicSysFlag: 0,
      })),
    };
    return response(command, 0, undefined, {}, Buffer.from(JSON.stringify(body)));
  }
}

/** Answers to 310 and 320, with offsets counted up for each queue. */
export function acceptSends(broker: FakeServer): { offsets: Map<string, number> } {
  const offsets = new Map<string, number>();
  const accept = (count: (command: RemotingCommand) => number) => (command: RemotingCommand) => {
    const { e: queueId, b: topic } = command.extFields;
    const key = `${topic}/${queueId}`;
    const queueOffset = offsets.get(key) ?? 0;
    const stored = count(command);
    offsets.set(key, queueOffset + stored);
    const msgId = Array.from({ length: stored }, (_, index) => `${key}#${queueOffset + index}`).join(",");
    return response(command, 0, undefined, { msgId, queueId: queueId!, queueOffset, transactionId: "t" });
  };
  broker.on(
    310,
    accept(() => 1),
  );
  broker.on(
    320,
    accept((command) => batchMessages(command.body).length),
  );
  return { offsets };
}

export interface BatchedMessage {
  flag: number;
  body: Buffer;
  properties: string;
}

/** Takes the body of a 320 apart; throws on anything odd. */
export function batchMessages(body: Buffer): BatchedMessage[] {
  const messages: BatchedMessage[] = [];
  for (let at = 0; at < body.length; ) {
    const size = body.readInt32BE(at);
    if (body.readInt32BE(at + 4) !== 0 || body.readInt32BE(at + 8) !== 0)
      throw new Error("magic and CRC of a batched message are 0");
    const flag = body.readInt32BE(at + 12);
    const bodyEnd = at + 20 + body.readInt32BE(at + 16);
    const propertiesEnd = bodyEnd + 2 + body.readUInt16BE(bodyEnd);
    if (propertiesEnd !== at + size) throw new Error("the sizes in a batched message do not add up");
    messages.push({ flag, body: body.subarray(at + 20, bodyEnd), properties: body.toString("utf8", bodyEnd + 2, propertiesEnd) });
    at += size;
  }
  return messages;
}
