// The generator itself: one thread with all connections. Closed loop: each connection keeps `depth` requests in flight.
// Open loop: requests are due at a fixed rate, whatever became of those before, and each counts from when it was due.
import { connect, type Socket } from "node:net";
import { createHistogram } from "node:perf_hooks";
import { parentPort, workerData } from "node:worker_threads";
import { AnswerStream, INPUT_SIZE } from "./answer-stream.ts";
import { KafkaFetches, KafkaProduces } from "./kafka.ts";
import { Answer, TOKEN_COUNT, TOKEN_MIN, type WireProtocol, type WireReader, type WireShape } from "./protocol.ts";
import { RedisAdds } from "./redis.ts";
import { RemotingPulls, RemotingSends } from "./remoting.ts";

/** What the thread is handed. */
export interface WireJob {
  host: string;
  port: number;
  shape: WireShape;
  /** flow: messages are sent at a rate and read at once, by connections of their own; the latencies are those of the way through. */
  kind: "send" | "read" | "flow";
  connections: number;
  /** Connections that read, in a flow. */
  readers?: number;
  /** Requests in flight of each connection; reads: one for each of its queues. */
  depth: number;
  /** Requests a second over all connections; 0: closed loop. */
  rate: number;
}

/**
 * What it is told. mark: tell what was since the last one. stop: that, and the end. drain: send nothing more, and tell when all is
 * answered, or nothing has been for some seconds. pause, resume: readers rest between two reads.
 */
export type WireCommand = "mark" | "stop" | "drain" | "pause" | "resume";

/** What it tells, in answer to all but pause and resume: everything since the last one. */
export interface WireMark {
  requests: number;
  answered: number;
  refused: number;
  /** Requests without an answer now. */
  inFlight: number;
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
/** Of an open loop: requests, and bytes of them. */
const IN_FLIGHT_MAX = 200_000;
const IN_FLIGHT_SIZE_MAX = 1_073_741_824;
/** Taken entries of a queue are thrown away together. */
const ORDERED_CUT = 65_536;

/** A drain ends when so long no answer has come, ms. */
const SILENCE_MS = 15_000;

const sends: WireProtocol | undefined = job.kind === "read" ? undefined : sendsOf(job.shape);
const reads: WireReader | undefined = job.kind === "send" ? undefined : readsOf(job.shape);
const input = Buffer.allocUnsafeSlow(INPUT_SIZE);
const startedMs = new Float64Array(TOKEN_COUNT);
const latency = createHistogram();
const lateness = createHistogram();
let nextToken = 0;
let nextTarget = 0;
let isStopping = false;
let isPaused = false;
let lastAnswerMs = 0;
let inFlight = 0;
type Counted = Omit<WireMark, "inFlight" | "p50" | "p99" | "p999" | "max" | "lateness">;
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
  readonly #stream = new AnswerStream();
  readonly #answer = new Answer();
  readonly #sends: WireProtocol | undefined;
  readonly #reads: WireReader | undefined;
  readonly #ordered: number[] = [];
  #orderedHead = 0;
  /** Of reads. */
  readonly #queues: number[] = [];
  readonly #queueOf = new Map<number, number>();
  /** Reads that wait for the end of a pause: queue and offset. */
  #parked: [queue: number, offset: number][] = [];
  /** Time of the answers that are being taken. */
  #now = 0;

  /** @param index of the connections of its role, `count` in all */
  constructor(socket: Socket, role: "send" | "read", index: number, count: number) {
    this.#socket = socket;
    this.#sends = role === "send" ? sends : undefined;
    this.#reads = role === "read" ? reads : undefined;
    if (role === "read") for (let queue = index; queue < job.shape.queues; queue += count) this.#queues.push(queue);
    socket.on("close", () => {
      if (!isStopping) throw new Error("the broker has closed a connection");
    });
  }

  start(): void {
    if (this.#reads !== undefined) for (const queue of this.#queues) this.#read(queue, 0);
    else if (job.rate === 0) this.send(job.depth);
  }

  /** @param dueMs of the first; 0: now */
  send(count: number, dueMs = 0): void {
    const protocol = this.#sends!;
    const now = performance.now();
    const isGathered = protocol.tail.length < GATHERED_MAX && protocol.more === undefined;
    const parts: Buffer[] = [];
    for (let i = 0; i < count; i++) {
      const index = nextToken++ % TOKEN_COUNT;
      startedMs[index] = dueMs === 0 ? now : dueMs;
      if (job.shape.protocol === "redis") this.#ordered.push(index);
      const target = nextTarget++ % protocol.targets;
      parts.push(protocol.head(target, TOKEN_MIN + index), protocol.tail);
      if (protocol.more !== undefined) parts.push(...protocol.more(target));
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
    if (isPaused) {
      this.#parked.push([queue, offset]);
      return;
    }
    const index = nextToken++ % TOKEN_COUNT;
    startedMs[index] = performance.now();
    this.#queueOf.set(index, queue);
    if (job.kind === "read") {
      mark.requests++;
      inFlight++;
    }
    this.#socket.write(this.#reads!.request(queue, offset, TOKEN_MIN + index));
  }

  resume(): void {
    const parked = this.#parked;
    this.#parked = [];
    for (const [queue, offset] of parked) this.#read(queue, offset);
  }

  onInput(bytes: Buffer): void {
    this.#now = performance.now();
    this.#stream.take(bytes, this.#consume);
  }

  readonly #consume = (bytes: Buffer, size: number): number => {
    const protocol = this.#sends ?? this.#reads!;
    let at = 0;
    let count = 0;
    for (;;) {
      const answerSize = protocol.answerSize(bytes, at, size);
      if (answerSize === 0) break;
      protocol.answer(bytes, at, at + answerSize, this.#answer);
      if (this.#sends === undefined) this.#onRead(bytes, at, at + answerSize);
      else this.#onSent();
      at += answerSize;
      count++;
    }
    if (count > 0 && job.kind === "send" && job.rate === 0 && !isStopping) this.send(count);
    return at;
  };

  /** Answers without a token come in the order of the requests. */
  #takeOrdered(): number {
    const index = this.#ordered[this.#orderedHead++]!;
    if (this.#orderedHead === ORDERED_CUT) {
      this.#ordered.splice(0, ORDERED_CUT);
      this.#orderedHead = 0;
    }
    return index;
  }

  #onSent(): void {
    const { token, isOk, remark } = this.#answer;
    const index = token < 0 ? this.#takeOrdered() : token - TOKEN_MIN;
    inFlight--;
    lastAnswerMs = this.#now;
    mark.answered++;
    if (job.kind === "send") note(index, this.#now);
    if (!isOk) {
      mark.refused++;
      if (mark.refusal === "") mark.refusal = remark;
      return;
    }
    if (job.kind === "flow") return;
    mark.messages += this.#sends!.messagesPerRequest;
    mark.bytes += this.#sends!.bodyBytesPerRequest;
  }

  #onRead(bytes: Buffer, start: number, end: number): void {
    const { token, isOk, remark, messages, nextOffset } = this.#answer;
    const index = token - TOKEN_MIN;
    if (job.kind === "read") {
      inFlight--;
      mark.answered++;
      note(index, this.#now);
    } else if (messages > 0) this.#reads!.tokens!(bytes, start, end, this.#onArrived);
    if (!isOk) {
      mark.refused++;
      if (mark.refusal === "") mark.refusal = remark;
    }
    const queue = this.#queueOf.get(index)!;
    this.#queueOf.delete(index);
    mark.messages += messages;
    mark.bytes += this.#answer.bytes;
    if (!isStopping) this.#read(queue, nextOffset < 0 ? 0 : nextOffset);
  }

  readonly #onArrived = (token: number): void => note(token - TOKEN_MIN, this.#now);

  close(): void {
    this.#socket.destroy();
  }
}

function note(index: number, now: number): void {
  latency.record(Math.max(1, Math.round(1e6 * (now - startedMs[index]!))));
}

function open(role: "send" | "read", index: number, count: number): Promise<Connection> {
  return new Promise((resolve, reject) => {
    let connection: Connection;
    const callback = (size: number): boolean => {
      connection.onInput(input.subarray(0, size));
      return true;
    };
    const onread = { buffer: input, callback };
    const socket = connect({ host: job.host, port: job.port, noDelay: true, onread }, () => resolve(connection));
    connection = new Connection(socket, role, index, count);
    socket.once("error", reject);
  });
}

function openAll(role: "send" | "read", count: number): Promise<Connection[]> {
  return Promise.all(Array.from({ length: count }, (_, index) => open(role, index, count)));
}

const readers = job.kind === "send" ? [] : await openAll("read", job.kind === "read" ? job.connections : (job.readers ?? 1));
const senders = job.kind === "read" ? [] : await openAll("send", job.connections);
for (const connection of [...readers, ...senders]) connection.start();

let pacer: NodeJS.Timeout | undefined;
if (job.rate > 0) {
  const start = performance.now();
  const inFlightMax = Math.min(IN_FLIGHT_MAX, Math.ceil(IN_FLIGHT_SIZE_MAX / sends!.tail.length));
  let sent = 0;
  pacer = setInterval(() => {
    const now = performance.now();
    const due = Math.floor(((now - start) * job.rate) / 1000);
    while (sent < due && inFlight < inFlightMax) {
      const dueMs = start + (1000 * sent) / job.rate;
      lateness.record(Math.max(1, Math.round(1e6 * (now - dueMs))));
      senders[sent % senders.length]!.send(1, dueMs);
      sent++;
    }
  }, TICK_MS);
}

function tell(): void {
  const ms = (percentile: number): number => Math.round(latency.percentile(percentile) / 1e3) / 1e3;
  const has = latency.count > 0;
  const told: WireMark = {
    ...mark,
    inFlight,
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
}

function drain(): void {
  isStopping = true;
  clearInterval(pacer);
  lastAnswerMs = performance.now();
  const timer = setInterval(() => {
    if (inFlight > 0 && performance.now() - lastAnswerMs < SILENCE_MS) return;
    clearInterval(timer);
    tell();
  }, TICK_MS);
}

parentPort!.on("message", (what: WireCommand) => {
  if (what === "pause") isPaused = true;
  else if (what === "resume") {
    isPaused = false;
    for (const connection of readers) connection.resume();
  } else if (what === "drain") drain();
  else tell();
  if (what !== "stop") return;
  isStopping = true;
  clearInterval(pacer);
  for (const connection of [...readers, ...senders]) connection.close();
  parentPort!.close();
});
parentPort!.postMessage("ready");
