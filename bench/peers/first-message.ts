import { connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { KafkaFetches, KafkaProduces } from "../wire/kafka.ts";
import { Answer, TOKEN_MIN, type WireProtocol, type WireReader } from "../wire/protocol.ts";
import { RedisAdds } from "../wire/redis.ts";
import { RemotingPulls, RemotingSends } from "../wire/remoting.ts";
import type { Peer } from "./peer.ts";
import { makeTopic } from "./topics.ts";

const TOPIC = "bench-start";
const SIZE = 100;
const PAUSE_MS = 5;
const ASK_MS_MAX = 5000;
const ALL_MS_MAX = 60_000;

/**
 * Makes a topic, stores a message in it and reads that back, each asked for again until it succeeds: a broker that takes
 * connections is not yet one that serves. Of Redis nothing is read.
 * @returns from the start of the process, ms
 */
export async function firstMessageMs(peer: Peer): Promise<number> {
  const started = performance.now();
  const isOver = (): boolean => performance.now() - started > ALL_MS_MAX;
  const shape = { protocol: "remoting", topic: TOPIC, queues: 1, size: SIZE, batch: 1 } as const;
  const sends =
    peer.name === "kafka" ? new KafkaProduces(shape) : peer.name === "redis" ? new RedisAdds(shape) : new RemotingSends(shape);
  const reads = peer.name === "kafka" ? new KafkaFetches(shape) : new RemotingPulls(shape);
  const until = async (isDone: () => Promise<boolean>): Promise<void> => {
    for (;;) {
      if (await isDone().catch(() => false)) return;
      if (isOver())
        throw new Error(`${peer.title} had not stored and handed out a message ${ALL_MS_MAX / 1000} s after its start`);
      await sleep(PAUSE_MS);
    }
  };
  await until(() => makeTopic(peer, TOPIC, 1, false, false).then(() => true));
  await until(async () => (await ask(peer.port, Buffer.concat([sends.head(0, TOKEN_MIN), sends.tail]), sends)).isOk);
  if (peer.name !== "redis") {
    await until(async () => (await ask(peer.port, reads.request(0, 0, TOKEN_MIN), reads)).messages > 0);
  }
  return Math.round(peer.startMs + performance.now() - started);
}

/** One request over a connection of its own. @throws Error when no answer comes */
function ask(port: number, request: Buffer, protocol: WireProtocol | WireReader): Promise<Answer> {
  return new Promise((resolve, reject) => {
    let bytes = Buffer.alloc(0);
    const socket = connect({ host: "127.0.0.1", port, noDelay: true }, () => socket.write(request));
    socket.setTimeout(ASK_MS_MAX, () => socket.destroy(new Error("no answer")));
    socket.once("error", reject);
    socket.once("close", () => reject(new Error("closed")));
    socket.on("data", (chunk: Buffer) => {
      bytes = Buffer.concat([bytes, chunk]);
      const size = protocol.answerSize(bytes, 0, bytes.length);
      if (size === 0) return;
      const answer = new Answer();
      protocol.answer(bytes, 0, size, answer);
      resolve(answer);
      socket.destroy();
    });
  });
}
