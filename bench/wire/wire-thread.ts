// The generator itself: one thread with all connections. Closed loop: each connection keeps `depth` requests in flight.
// Open loop: requests are due at a fixed rate, whatever became of those before, and each counts from when it was due.
import { connect, type Socket } from "node:net";
import { createHistogram } from "node:perf_hooks";
import { parentPort, workerData } from "node:worker_threads";
import { KafkaFetches, KafkaProduces } from "./kafka.ts";
import { Answer, TOKEN_COUNT, TOKEN_MIN, type WireProtocol, type WireReader, type WireShape } from "./protocol.ts";
import { RedisAdds } from "./redis.ts";
import { RemotingPulls, RemotingSends } from "./remoting.ts";

/** What the thread is handed. */
export interface WireJob {
  host: string;
  port: number;
  shape: WireShape;
  kind: "send" | "read";
  connections: number;
  /** Requests in flight of each connection; reads: one for each of its queues. */
  depth: number;
  /** Requests a second over all connections; 0: closed loop. */
  rate: number;
}

/** What it tells, in answer to "mark": everything since the last one. */
export interface WireMark {
  requests: number;
  answered: number;
  refused: number;
  messages: number;
  bytes: number;
  /** Remark of the first refusal. */
  refusal: string;
  /** ms, from the due time or the write. */
  p50: number;
  p99: number;
  p999: number;
  max: number;
  /** How late the generator was with what was due, p99, ms. */
  lateness: number;
}

const job = workerData as WireJob;
const TICK_MS = 1;
/** Requests smaller than this are gathered in one buffer. */
const GATHERED_MAX = 8192;
const IN_FLIGHT_MAX = 200_000;
/** Taken entries of a queue are thrown away together. */
const ORDERED_CUT = 65_536;

const sends: WireProtocol | undefined = job.kind === "send" ? sendsOf(job.shape) : undefined;
const reads: WireReader | undefined = job.kind === "read" ? readsOf(job.shape) : undefined;
const startedMs = new Float64Array(TOKEN_COUNT);
const latency = createHistogram();
const lateness = createHistogram();
let nextToken = 0;
let nextQueue = 0;
let isStopping = false;
let inFlight = 0;
type Counted = Pick<WireMark, "requests" | "answered" | "refused" | "messages" | "bytes" | "refusal">;
const NOTHING: Counted = { requests: 0, answered: 0, refused: 0, messages: 0, bytes: 0, refusal: "" };
const mark: Counted = { ...NOTHING };

function sendsOf(shape: WireShape): WireProtocol {
  if (shape.protocol === "kafka") return new KafkaProduces(shape);
  return shape.protocol === "redis" ? new RedisAdds(shape) : new RemotingSends(shape);
}

function readsOf(shape: WireShape): WireReader {
  return shape.protocol === "kafka" ? new KafkaFetches(shape) : new RemotingPulls(shape);
}

class Connection {
  readonly #socket: Socket;
  readonly #answer = new Answer();
  readonly #ordered: number[] = [];
  #orderedHead = 0;
  #rest: Buffer = Buffer.alloc(0);
  /** Of reads. */
  readonly #queues: number[] = [];
  readonly #offsets = new Map<number, number>();
  readonly #queueOf = new Map<number, number>();

  constructor(socket: Socket, index: number) {
    this.#socket = socket;
    for (let queue = index; queue < job.shape.queues; queue += job.connections) this.#queues.push(queue);
    socket.on("data", (chunk: Buffer) => this.#onData(chunk));
    socket.on("close", () => {
      if (!isStopping) throw new Error("the broker has closed a connection");
    });
  }

  start(): void {
    if (job.kind === "read") for (const queue of this.#queues) this.#read(queue, 0);
    else if (job.rate === 0) this.send(job.depth);
  }

  /** @param dueMs of the first; 0: now */
  send(count: number, dueMs = 0): void {
    const protocol = sends!;
    const now = performance.now();
    const isGathered = protocol.tail.length < GATHERED_MAX;
    const parts: Buffer[] = [];
    for (let i = 0; i < count; i++) {
      const index = nextToken++ % TOKEN_COUNT;
      startedMs[index] = dueMs === 0 ? now : dueMs;
      if (job.shape.protocol === "redis") this.#ordered.push(index);
      parts.push(protocol.head(nextQueue++ % job.shape.queues, TOKEN_MIN + index), protocol.tail);
    }
    mark.requests += count;
    inFlight += count;
    if (isGathered) {
      this.#socket.write(Buffer.concat(parts));
      return;
    }
    this.#socket.cork();
    for (const part of parts) this.#socket.write(part);
    this.#socket.uncork();
  }

  #read(queue: number, offset: number): void {
    const index = nextToken++ % TOKEN_COUNT;
    startedMs[index] = performance.now();
    this.#offsets.set(queue, offset);
    this.#queueOf.set(index, queue);
    mark.requests++;
    this.#socket.write(reads!.request(queue, offset, TOKEN_MIN + index));
  }

  #onData(chunk: Buffer): void {
    const protocol = sends ?? reads!;
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    let at = 0;
    let count = 0;
    const now = performance.now();
    for (;;) {
      const size = protocol.answerSize(bytes, at, bytes.length);
      if (size === 0) break;
      protocol.answer(bytes, at, at + size, this.#answer);
      at += size;
      count++;
      this.#onAnswer(now);
    }
    this.#rest = at === bytes.length ? Buffer.alloc(0) : at === 0 ? bytes : Buffer.from(bytes.subarray(at));
    if (count > 0 && job.kind === "send" && job.rate === 0 && !isStopping) this.send(count);
  }

  /** Answers without a token come in the order of the requests. */
  #takeOrdered(): number {
    const index = this.#ordered[this.#orderedHead++]!;
    if (this.#orderedHead === ORDERED_CUT) {
      this.#ordered.splice(0, ORDERED_CUT);
      this.#orderedHead = 0;
    }
    return index;
  }

  #onAnswer(now: number): void {
    const { token, isOk, remark } = this.#answer;
    const index = token < 0 ? this.#takeOrdered() : token - TOKEN_MIN;
    inFlight--;
    mark.answered++;
    latency.record(Math.max(1, Math.round(1e6 * (now - startedMs[index]!))));
    if (!isOk) {
      mark.refused++;
      if (mark.refusal === "") mark.refusal = remark;
    }
    if (sends !== undefined) {
      if (!isOk) return;
      mark.messages += sends.messagesPerRequest;
      mark.bytes += sends.bodyBytesPerRequest;
      return;
    }
    const queue = this.#queueOf.get(index)!;
    this.#queueOf.delete(index);
    mark.messages += this.#answer.messages;
    mark.bytes += this.#answer.bytes;
    if (!isStopping) this.#read(queue, this.#answer.nextOffset < 0 ? 0 : this.#answer.nextOffset);
  }

  close(): void {
    this.#socket.destroy();
  }
}

const connections = await Promise.all(
  Array.from(
    { length: job.connections },
    (_, index) =>
      new Promise<Connection>((resolve, reject) => {
        const socket = connect({ host: job.host, port: job.port, noDelay: true }, () => resolve(new Connection(socket, index)));
        socket.once("error", reject);
      }),
  ),
);
for (const connection of connections) connection.start();

let pacer: NodeJS.Timeout | undefined;
if (job.rate > 0) {
  const start = performance.now();
  let sent = 0;
  pacer = setInterval(() => {
    const now = performance.now();
    const due = Math.floor(((now - start) * job.rate) / 1000);
    while (sent < due && inFlight < IN_FLIGHT_MAX) {
      const dueMs = start + (1000 * sent) / job.rate;
      lateness.record(Math.max(1, Math.round(1e6 * (now - dueMs))));
      connections[sent % connections.length]!.send(1, dueMs);
      sent++;
    }
  }, TICK_MS);
}

parentPort!.on("message", (what: "mark" | "stop") => {
  const ms = (percentile: number): number => Math.round(latency.percentile(percentile) / 1e3) / 1e3;
  const has = latency.count > 0;
  const told: WireMark = {
    ...mark,
    p50: has ? ms(50) : 0,
    p99: has ? ms(99) : 0,
    p999: has ? ms(99.9) : 0,
    max: has ? ms(100) : 0,
    lateness: lateness.count > 0 ? Math.round(lateness.percentile(99) / 1e3) / 1e3 : 0,
  };
  Object.assign(mark, NOTHING);
  latency.reset();
  lateness.reset();
  parentPort!.postMessage(told);
  if (what !== "stop") return;
  isStopping = true;
  clearInterval(pacer);
  for (const connection of connections) connection.close();
  parentPort!.close();
});
parentPort!.postMessage("ready");
