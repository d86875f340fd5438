import { connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { RemotingClient } from "../../src/client/connection/remoting-client.ts";
import { request } from "../../src/format/remoting/remoting-command.ts";
import { CREATE_MS_MAX, createTopicRequest } from "../wire/kafka.ts";
import type { Peer } from "./peer.ts";

const SETTLE_MS = 500;

/** Makes a topic, and for readers a group. @throws Error when the broker refuses */
export async function makeTopic(peer: Peer, topic: string, queues: number, isWhole: boolean): Promise<void> {
  if (peer.name === "kafka") await makeKafkaTopic(peer.port, topic, queues);
  else if (peer.name !== "redis") await makeRemotingTopic(peer, topic, queues, isWhole);
}

async function makeRemotingTopic(peer: Peer, topic: string, queues: number, isWhole: boolean): Promise<void> {
  const client = new RemotingClient();
  try {
    const fields = {
      topic, defaultTopic: "TBW102", readQueueNums: queues, writeQueueNums: queues, perm: 6, topicFilterType: "SINGLE_TAG",
      topicSysFlag: 0, order: false, attributes: isWhole ? "+queue.type=BatchCQ" : undefined,
    }; // biome-ignore format: one thing.
    const group = Buffer.from(JSON.stringify({ groupName: "bench-readers", consumeEnable: true }));
    for (const command of [request(17, 0, fields), request(200, 0, {}, group)]) {
      const answer = await client.invoke(`127.0.0.1:${peer.port}`, command, 15_000);
      if (answer.code !== 0) throw new Error(`${peer.title}: ${answer.remark}`);
    }
  } finally {
    await client.close();
  }
}

/** The leader of a new partition takes a moment. */
async function makeKafkaTopic(port: number, topic: string, partitions: number): Promise<void> {
  const answer = await new Promise<Buffer>((resolve, reject) => {
    const socket = connect({ host: "127.0.0.1", port }, () => socket.write(createTopicRequest(topic, partitions)));
    socket.setTimeout(CREATE_MS_MAX, () => socket.destroy(new Error("kafka does not answer")));
    socket.once("error", reject);
    socket.once("data", (bytes: Buffer) => {
      socket.destroy();
      resolve(bytes);
    });
  });
  // size, correlationId, throttle, topics [name, errorCode …]
  const error = answer.readInt16BE(18 + answer.readInt16BE(16));
  if (error !== 0 && error !== 36) throw new Error(`kafka: topic ${topic} could not be made, error code ${error}`);
  await sleep(SETTLE_MS + (error === 36 ? 0 : 2 * partitions)); // 36: it is there already.
}
