import { connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { RemotingClient } from "../../src/client/connection/remoting-client.ts";
import { request } from "../../src/format/remoting/remoting-command.ts";
import { CREATE_MS_MAX, createPartitionsRequest, createTopicRequest, deleteTopicRequest } from "../wire/kafka.ts";
import type { Peer } from "./peer.ts";

const SETTLE_MS = 500;
const KAFKA_PARTITIONS_AT_ONCE = 5000;
const ERROR_UNKNOWN = 3;
const ERROR_EXISTS = 36;

/** Makes a topic, and for readers a group. @param settles until it can be used for sure. @throws Error when the broker refuses */
export async function makeTopic(peer: Peer, topic: string, queues: number, isWhole: boolean, settles = true): Promise<void> {
  if (peer.name === "kafka") await makeKafkaTopic(peer.port, topic, queues, settles);
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
async function makeKafkaTopic(port: number, topic: string, partitions: number, settles: boolean): Promise<void> {
  const first = Math.min(partitions, KAFKA_PARTITIONS_AT_ONCE);
  const error = await askKafka(port, createTopicRequest(topic, first));
  if (error === ERROR_EXISTS) return sleep(settles ? SETTLE_MS : 0);
  if (error !== 0) throw new Error(`kafka: topic ${topic} could not be made, error code ${error}`);
  for (let made = first; made < partitions; ) {
    made = Math.min(partitions, made + KAFKA_PARTITIONS_AT_ONCE);
    const code = await askKafka(port, createPartitionsRequest(topic, made));
    if (code !== 0) throw new Error(`kafka: topic ${topic} could not get ${made} partitions, error code ${code}`);
  }
  if (settles) await sleep(SETTLE_MS + 2 * partitions);
}

/** The topic and all that is in it; nothing, where there is none. @throws Error when the broker refuses */
export async function removeKafkaTopic(port: number, topic: string): Promise<void> {
  const error = await askKafka(port, deleteTopicRequest(topic));
  if (error !== 0 && error !== ERROR_UNKNOWN) throw new Error(`kafka: topic ${topic} could not be deleted, error code ${error}`);
  if (error === 0) await sleep(SETTLE_MS);
}

/** @returns the error code of the one topic that is asked about */
async function askKafka(port: number, request: Buffer): Promise<number> {
  const answer = await new Promise<Buffer>((resolve, reject) => {
    const socket = connect({ host: "127.0.0.1", port }, () => socket.write(request));
    socket.setTimeout(CREATE_MS_MAX, () => socket.destroy(new Error("kafka does not answer")));
    socket.once("error", reject);
    socket.once("close", () => reject(new Error("kafka has closed the connection")));
    socket.once("data", (bytes: Buffer) => {
      socket.destroy();
      resolve(bytes);
    });
  });
  // size, correlationId, throttle, topics [name, errorCode …]
  return answer.readInt16BE(18 + answer.readInt16BE(16));
}
