import type { Worker } from "node:worker_threads";
import { type Clock, SystemClock, sleep, type Timer } from "../base/clock.ts";
import { MillraceError } from "../base/errors.ts";
import type { Channel } from "../broker/channel.ts";
import type { PublishedGroup, PublishedTopic, TablePublisher } from "../broker/table-publisher.ts";
import { decodeCommand, encodeCommand, isResponse, type RemotingCommand } from "../format/remoting/remoting-command.ts";
import type { Log } from "../observe/log.ts";
import type { ToControl, ToIoWorker } from "../remoting/control-messages.ts";
import type { IoWorkerInit } from "../remoting/io-worker-init.ts";
import { settleOrphan } from "../ring/lane.ts";
import { writerDoorbell } from "../store/engine-init.ts";
import type { TopicSlotsUpdate } from "../store/queue/topic-slots.ts";
import { SharedLog } from "../store/shared-log.ts";
import { onEnd, RestartBudget } from "./supervisor.ts";
import { ended, startThread } from "./threads.ts";

/** What the control plane makes of a request that an I/O worker did not answer itself. */
export type Verdict = "replay" | RemotingCommand | undefined;

export interface IoPoolHandlers {
  onRequest(command: RemotingCommand, channel: Channel): Verdict | Promise<Verdict>;
  onCommit(group: string, topic: string, queueId: number, offset: number): void;
  onClosed(channel: Channel): void;
  onFailure(error: Error): void;
}

/** The I/O workers as the control thread sees them: their connections, and the tables that they are sent. */
export class IoPool implements TablePublisher {
  readonly #workers: Worker[] = [];
  readonly #channels = new Map<number, WorkerChannel>();
  readonly #handlers: IoPoolHandlers;
  readonly #clock: Clock;
  readonly #log: Log;
  /** For a worker that is started later: the tables as they are now. */
  readonly #tables = new Map<string, ToIoWorker>();
  #isStopping = false;
  port = 0;

  constructor(handlers: IoPoolHandlers, clock: Clock, log: Log) {
    this.#handlers = handlers;
    this.#clock = clock;
    this.#log = log;
  }

  /**
   * Starts one worker and waits until it listens. It is replaced when it ends by itself, but for the one that runs the
   * log writer: that one's end is the end of the store. @throws MillraceError MILLRACE_ADDRESS_IN_USE naming host and port
   */
  async start(init: IoWorkerInit): Promise<Worker> {
    const worker = await this.#launch(init);
    if (init.worker !== init.engine.writerLane) this.#watch(worker, init, new RestartBudget(this.#clock));
    return worker;
  }

  async #launch(init: IoWorkerInit): Promise<Worker> {
    const worker = startThread("io", init);
    this.#workers.push(worker);
    for (const message of this.#tables.values()) worker.postMessage(message);
    this.port = await new Promise<number>((resolve, reject) => {
      worker.on("message", (message: ToControl) => {
        if (message.kind === "listening") resolve(message.port);
        else if (message.kind === "listen-failed") reject(listenError(init.host, init.port, message.code, message.text));
        else this.#onMessage(worker, message);
      });
      onEnd(worker, (reason) => reject(reason ?? new Error("an I/O worker ended before it listened")));
    });
    return worker;
  }

  #watch(worker: Worker, init: IoWorkerInit, budget: RestartBudget): void {
    onEnd(worker, (reason) => {
      if (this.#isStopping) return;
      const error = reason ?? new Error("an I/O worker has ended");
      this.#workers.splice(this.#workers.indexOf(worker), 1);
      for (const [id, channel] of this.#channels) if (channel.worker === worker) this.#lose(id, channel);
      if (!budget.spend()) {
        this.#handlers.onFailure(error);
        return;
      }
      this.#log.error({ thread: "io", error: error.stack ?? error.message }, "a thread has ended and is replaced");
      this.#replace(init, budget).catch((failure: Error) => this.#handlers.onFailure(failure));
    });
  }

  /** The next worker takes over the lane of the one that has ended, once the log writer has dealt with what is in it. */
  async #replace(init: IoWorkerInit, budget: RestartBudget): Promise<void> {
    const lane = init.engine.lanes[init.worker]!;
    const writer = new SharedLog(init.engine.shared).doorbell(writerDoorbell(init.engine));
    while (!settleOrphan(lane) && !this.#isStopping) {
      writer.ring(); // It may have waited for room for its acks.
      await sleep(new SystemClock(), 1);
    }
    if (this.#isStopping) return;
    const worker = await this.#launch(init);
    this.#watch(worker, init, budget);
  }

  #lose(id: number, channel: WorkerChannel): void {
    this.#channels.delete(id);
    channel.fail();
    this.#handlers.onClosed(channel);
  }

  #onMessage(worker: Worker, message: ToControl): void {
    switch (message.kind) {
      case "request":
        void this.#onRequest(worker, message.connection, message.remoteAddress, message.frame);
        return;
      case "commit":
        this.#handlers.onCommit(message.group, message.topic, message.queueId, message.offset);
        return;
      case "closed": {
        const channel = this.#channels.get(message.connection);
        if (channel !== undefined) this.#lose(message.connection, channel);
        return;
      }
      case "log":
        this.#log[message.level](message.fields, message.text);
        return;
      default:
    }
  }

  async #onRequest(worker: Worker, connection: number, remoteAddress: string, frame: Uint8Array<ArrayBuffer>): Promise<void> {
    const settled = (replay?: Uint8Array<ArrayBuffer>): void => {
      const message: ToIoWorker = { kind: "settled", connection, size, ...(replay === undefined ? {} : { replay }) };
      worker.postMessage(message, replay === undefined ? [] : [replay.buffer]);
    };
    const size = frame.length;
    let channel = this.#channels.get(connection);
    if (channel === undefined) {
      channel = new WorkerChannel(worker, connection, remoteAddress, this.#clock);
      this.#channels.set(connection, channel);
    }
    let command: RemotingCommand;
    try {
      command = decodeCommand(Buffer.from(frame.buffer));
    } catch (error) {
      this.#log.warn({ remoteAddress, error: String(error) }, "request cannot be decoded, connection closed");
      channel.close();
      return;
    }
    if (isResponse(command)) {
      channel.settle(command);
      settled();
      return;
    }
    const verdict = await this.#handlers.onRequest(command, channel);
    if (verdict === "replay") {
      // Written anew: what the worker's scan could not read as it came (a name with JSON escapes) it reads now.
      settled(new Uint8Array(encodeCommand(command)));
      return;
    }
    if (verdict !== undefined) channel.write(verdict);
    settled();
  }

  #send(key: string, message: ToIoWorker, isGone: boolean): void {
    if (isGone) this.#tables.delete(key);
    else this.#tables.set(key, message);
    for (const worker of this.#workers) worker.postMessage(message);
  }

  slotsChanged(update: TopicSlotsUpdate): void {
    this.#send(`s ${update.topic}`, { kind: "slots", update }, update.slots.length === 0);
  }

  topicChanged(topic: PublishedTopic): void {
    this.#send(`t ${topic.topic}`, { kind: "topic", topic }, false);
  }

  topicRemoved(topic: string): void {
    this.#send(`t ${topic}`, { kind: "topic-removed", topic }, true);
  }

  groupChanged(group: PublishedGroup): void {
    this.#send(`g ${group.group}`, { kind: "group", group }, false);
  }

  groupRemoved(group: string): void {
    this.#send(`g ${group}`, { kind: "group-removed", group }, true);
  }

  offsetCell(group: string, topic: string, queueId: number, cell: number): void {
    this.#send(`c ${group}@${topic}@${queueId}`, { kind: "cell", group, topic, queueId, cell }, false);
  }

  /** After a virtual clock was moved. */
  tick(): void {
    for (const worker of this.#workers) worker.postMessage({ kind: "tick" } satisfies ToIoWorker);
  }

  /** There is time for it: they give back memory that they do not need. */
  shrink(): void {
    for (const worker of this.#workers) worker.postMessage({ kind: "shrink" } satisfies ToIoWorker);
  }

  /** Answers what is in the rings, then closes all connections. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    const all = this.#workers.map(left);
    for (const worker of this.#workers) worker.postMessage({ kind: "stop" } satisfies ToIoWorker);
    await Promise.all(all);
  }
}

/** Resolves when the worker has closed its connections, or has ended. */
function left(worker: Worker): Promise<unknown> {
  const said = new Promise<void>((resolve) => {
    worker.on("message", (message: ToControl) => {
      if (message.kind === "left") resolve();
    });
  });
  return Promise.race([said, ended(worker)]);
}

export function listenError(host: string, port: number, code: string, text: string): MillraceError {
  if (code === "EADDRINUSE") {
    return new MillraceError("MILLRACE_ADDRESS_IN_USE", `broker port in use: ${host}:${port}`, { host, port });
  }
  return new MillraceError("MILLRACE_CONNECTION", `cannot listen on ${host}:${port}: ${text}`, { host, port });
}

interface PendingInvoke {
  resolve: (command: RemotingCommand) => void;
  reject: (error: MillraceError) => void;
  timer: Timer;
}

/** A client connection that lives in an I/O worker. */
class WorkerChannel implements Channel {
  readonly id: number;
  readonly remoteAddress: string;
  readonly worker: Worker;
  readonly #clock: Clock;
  readonly #pending = new Map<number, PendingInvoke>();
  #opaque = 0;
  #isClosed = false;

  constructor(worker: Worker, id: number, remoteAddress: string, clock: Clock) {
    this.worker = worker;
    this.id = id;
    this.remoteAddress = remoteAddress;
    this.#clock = clock;
  }

  nextOpaque(): number {
    this.#opaque = (this.#opaque + 1) & 0x7fff_ffff;
    return this.#opaque;
  }

  write(command: RemotingCommand): void {
    if (this.#isClosed) return;
    const encoded = encodeCommand(command);
    const frame = new Uint8Array(encoded.length);
    frame.set(encoded);
    this.worker.postMessage({ kind: "write", connection: this.id, frame } satisfies ToIoWorker, [frame.buffer]);
  }

  writeRecords(command: RemotingCommand, records: readonly number[]): void {
    if (this.#isClosed) return;
    const frame = new Uint8Array(encodeCommand(command));
    const message = { kind: "records", connection: this.id, frame, records: new Float64Array(records) } satisfies ToIoWorker;
    this.worker.postMessage(message, [frame.buffer, message.records.buffer]);
  }

  invoke(command: RemotingCommand, timeoutMs: number): Promise<RemotingCommand> {
    if (this.#isClosed) return Promise.reject(gone(this.remoteAddress));
    return new Promise((resolve, reject) => {
      const timer = this.#clock.setTimer(() => {
        this.#pending.delete(command.opaque);
        const text = `no answer from ${this.remoteAddress} within ${timeoutMs} ms`;
        reject(new MillraceError("MILLRACE_TIMEOUT", text, { remoteAddress: this.remoteAddress, timeoutMs }));
      }, timeoutMs);
      this.#pending.set(command.opaque, { resolve, reject, timer });
      this.write(command);
    });
  }

  settle(command: RemotingCommand): void {
    const pending = this.#pending.get(command.opaque);
    if (pending === undefined) return;
    this.#pending.delete(command.opaque);
    pending.timer.cancel();
    pending.resolve(command);
  }

  /** The connection has gone. */
  fail(): void {
    this.#isClosed = true;
    for (const { reject, timer } of this.#pending.values()) {
      timer.cancel();
      reject(gone(this.remoteAddress));
    }
    this.#pending.clear();
  }

  close(): void {
    this.worker.postMessage({ kind: "close", connection: this.id } satisfies ToIoWorker);
  }
}

function gone(remoteAddress: string): MillraceError {
  return new MillraceError("MILLRACE_CONNECTION", `the connection to ${remoteAddress} is gone`, { remoteAddress });
}
