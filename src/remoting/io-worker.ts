import net from "node:net";
import type { MessagePort } from "node:worker_threads";
import { type Clock, clockFrom, monotonicMs, SystemClock, VirtualClock } from "../base/clock.ts";
import { shrinkHeap } from "../base/heap.ts";
import { HeaderScan } from "../format/remoting/header-scan.ts";
import { RequestCode } from "../format/remoting/remoting-codes.ts";
import { FLAG_RESPONSE } from "../format/remoting/remoting-command.ts";
import { OffsetCells } from "../format/shared/offset-cells.ts";
import * as shared from "../format/shared/shared-words.ts";
import type { Drive } from "../os/api.ts";
import { loadDrive } from "../os/choose.ts";
import type { Doorbell } from "../ring/doorbell.ts";
import { LaneProducer } from "../ring/lane.ts";
import { WakeRing } from "../ring/wake-ring.ts";
import { writerDoorbell } from "../store/engine-init.ts";
import { LogReader } from "../store/log/log-reader.ts";
import { LogWriter } from "../store/log/log-writer.ts";
import { QueueReader } from "../store/queue/queue-reader.ts";
import { QueueSlots } from "../store/queue/queue-slots.ts";
import { RecentRecords } from "../store/queue/recent-records.ts";
import { TopicSlotsTable } from "../store/queue/topic-slots.ts";
import { SharedLog } from "../store/shared-log.ts";
import { StorePaths } from "../store/store-paths.ts";
import type { ToControl, ToIoWorker } from "./control-messages.ts";
import { FlowControl } from "./flow-control.ts";
import { FRAME_BLOCKED, FRAME_DONE, IoConnection, type RunHandler } from "./io-connection.ts";
import { IoTables } from "./io-tables.ts";
import type { IoWorkerInit } from "./io-worker-init.ts";
import { FRAME_BUFFERS, KeptBuffers } from "./kept-buffers.ts";
import { ChosenRecords } from "./pull/chosen-records.ts";
import { ColdReads } from "./pull/cold-reads.ts";
import { CommitPath } from "./pull/commit-path.ts";
import { PULL_TAKEN, PullPath } from "./pull/pull-path.ts";
import { PullResponder } from "./pull/pull-responder.ts";
import type { SendAnswers } from "./send/send-answers.ts";
import { INPUT_SIZE } from "./send/send-kernel.ts";
import { SEND_BLOCKED, SEND_TAKEN, type SendPath } from "./send/send-path.ts";
import { sendSide } from "./send/send-side.ts";
import { SendTicker } from "./send/send-ticker.ts";
import { openReads } from "./transport/open-reads.ts";
import type { SocketReads } from "./transport/socket-reads.ts";
import { answerUnservable } from "./unservable.ts";
import { WorkCount } from "./work-count.ts";

/** Connection ids are unique over all workers. */
const CONNECTIONS_PER_WORKER = 2 ** 32;
/** Requests of one connection that may wait for the control thread, bytes; one is always let through. */
const FORWARDED_SIZE_MAX = 1_048_576;
/** A turn takes from several sockets, so that one write to the log serves them; from this size on who came first waits no longer. */
const TURN_SIZE_MAX = 16_384;
/** Time for the last answers to leave at the stop, ms. */
const FAREWELL_MS = 500;

/**
 * One network I/O worker: accepts connections, serves the hot requests by itself and hands everything else
 * to the control thread. Runs on the thread's event loop; nothing in it blocks.
 */
export class IoWorker {
  readonly #init: IoWorkerInit;
  readonly #control: MessagePort;
  readonly #clock: Clock;
  readonly #log: SharedLog;
  readonly #doorbell: Doorbell;
  readonly #writerDoorbell: Doorbell;
  /** The log writer, where it runs in this worker. */
  readonly #writer: LogWriter | undefined;
  readonly #recent: RecentRecords | undefined;
  readonly #lane: LaneProducer;
  readonly #wakeRing: WakeRing;
  readonly #scan = new HeaderScan();
  readonly #tables = new IoTables();
  readonly #queues: TopicSlotsTable;
  readonly #logReader: LogReader;
  readonly #send: SendPath;
  readonly #answers: SendAnswers;
  readonly #chosen: ChosenRecords;
  readonly #responder: PullResponder;
  readonly #pull: PullPath;
  readonly #commit: CommitPath;
  readonly #connections = new Map<number, IoConnection>();
  #reads: SocketReads | undefined;
  readonly #work: WorkCount;
  /** What sockets are read into, where that matters. */
  readonly #input: Buffer | undefined;
  readonly #staged: IoConnection[] = [];
  readonly #buffers = new KeptBuffers(FRAME_BUFFERS);
  readonly #flow: FlowControl;
  readonly #server: net.Server;
  readonly #slots: QueueSlots;
  readonly #ticker: SendTicker;
  #minOffset = 0;
  #nextConnection: number;
  #isReplaying = false;
  /** Bytes read in this turn. */
  #turnSize = 0;
  #isStopping = false;
  #isFinished = false;
  #hasLeft = false;

  static async start(init: IoWorkerInit, control: MessagePort): Promise<IoWorker> {
    return new IoWorker(init, control, await loadDrive(init.engine.drive));
  }

  private constructor(init: IoWorkerInit, control: MessagePort, drive: Drive) {
    this.#init = init;
    this.#control = control;
    const { engine, worker } = init;
    const paths = new StorePaths(engine.storePath, engine.commitLogPath);
    this.#clock = clockFrom(engine.clock);
    this.#log = new SharedLog(engine.shared);
    this.#doorbell = this.#log.doorbell(shared.DOORBELL_LANES + worker);
    this.#writerDoorbell = this.#log.doorbell(writerDoorbell(engine));
    const isWriter = engine.writerLane === worker;
    // With SYNC_FLUSH nothing is handed out that is not on the disk: the queue indexer sees to that.
    this.#recent = isWriter && !engine.isSyncFlush ? new RecentRecords() : undefined;
    this.#writer = isWriter ? new LogWriter(engine, drive, worker, this.#recent) : undefined;
    this.#lane = new LaneProducer(engine.lanes[worker]!);
    this.#wakeRing = new WakeRing(engine.wakeRings[worker]!);
    this.#slots = new QueueSlots(engine.queueSlots);
    const batch = { root: paths.batchConsumeQueue, fileSize: engine.batchQueueFileSize };
    this.#queues = new TopicSlotsTable(drive, paths.consumeQueue, engine.queueFileSize, false, batch, this.#slots);
    if (engine.queueExtFileSize > 0) this.#queues.ext = { root: paths.consumeQueueExt, fileSize: engine.queueExtFileSize };
    this.#logReader = new LogReader(drive, paths.commitLog, engine.logFileSize, { isScattered: true });
    this.#nextConnection = worker * CONNECTIONS_PER_WORKER;
    const cells = new OffsetCells(init.offsetCells);
    const gather = drive.gatherWriter();
    const sends = sendSide(init, this.#lane, this.#tables, this.#log, this.#clock);
    this.#send = sends.path;
    this.#answers = sends.answers;
    this.#input = sends.input;
    this.#flow = new FlowControl({
      answers: this.#answers,
      log: this.#log,
      now: () => this.#clock.now(),
      sendWaitMsMax: init.sendWaitMsMax,
      pageCacheBusyMs: init.pageCacheBusyMs,
    });
    const chosenReader = new QueueReader(this.#logReader, init.limits);
    this.#responder = new PullResponder(gather, drive.gatherWriter(), init.counters, chosenReader);
    // With SYNC_FLUSH it waits for the disk, not for its nap to end.
    const indexer = engine.isSyncFlush ? undefined : this.#log.doorbell(shared.DOORBELL_QUEUE_INDEXER);
    const cold = new ColdReads(() => this.#clock.now());
    this.#pull = new PullPath({
      tables: this.#tables,
      queues: this.#queues,
      slots: this.#slots,
      reader: new QueueReader(this.#logReader, init.limits),
      responder: this.#responder,
      recent: this.#recent,
      cells,
      worker,
      now: () => this.#clock.now(),
      logEnd: () => this.#log.offset(shared.APPENDED_OFFSET),
      isLongPolling: init.isLongPolling,
      shortPollingMs: init.shortPollingMs,
      cold,
      startOffset: this.#log.offset(shared.APPENDED_OFFSET),
      onAwaited: () => indexer?.wake(),
      onServed: () => this.#endTurn(),
      onCommit: (group, topic, queueId, offset) => this.#post({ kind: "commit", group, topic, queueId, offset }),
    });
    this.#chosen = new ChosenRecords({
      reader: chosenReader,
      cold,
      isHot: (physicalOffset) => this.#pull.isHot(physicalOffset),
      connection: (id) => this.#connections.get(id),
      answer: (connection, message) => this.#responder.records(connection, message),
      onServed: () => this.#endTurn(),
    });
    this.#work = new WorkCount(init.counters);
    this.#commit = new CommitPath(this.#tables, cells);
    this.#server = net.createServer({ noDelay: true, highWaterMark: 262_144, pauseOnConnect: true }, (socket) =>
      this.#accept(socket, drive, gather),
    );
    this.#server.maxConnections = init.connectionsMax;
    this.#server.on("drop", (data) =>
      this.#warn("connection limit reached, connection refused", { remoteAddress: data?.remoteAddress ?? "" }),
    );
    control.on("message", (message: ToIoWorker) => this.#onMessage(message));
    this.#ticker = new SendTicker(this.#clock, () => this.#tick());
    this.#listen();
    this.#awaitWake();
  }

  #post(message: ToControl, transfer: ArrayBuffer[] = []): void {
    this.#control.postMessage(message, transfer);
  }

  #warn(text: string, fields: Record<string, string | number>): void {
    this.#post({ kind: "log", level: "warn", text, fields });
  }

  #listen(): void {
    const { host, port, reusePort } = this.#init;
    this.#server.on("error", (error: NodeJS.ErrnoException) => {
      // While it listens: a connection could not be accepted, for want of descriptors or memory.
      if (this.#server.listening) this.#warn("a connection could not be accepted", { code: error.code ?? "" });
      else this.#post({ kind: "listen-failed", code: error.code ?? "", text: error.message });
    });
    this.#server.listen({ host, port, reusePort, backlog: 1024 }, () => {
      this.#post({ kind: "listening", port: (this.#server.address() as net.AddressInfo).port });
    });
  }

  /** With the first connection: the event loop waits for our server by then. */
  #openReads(drive: Drive): SocketReads {
    const { transport, idleMsMax } = this.#init;
    return openReads({
      transport,
      drive,
      server: this.#server,
      inputSize: INPUT_SIZE,
      input: this.#input,
      idleMsMax,
      work: this.#work.total,
      onRound: () => this.#endTurn(),
      now: monotonicMs, // Who is silent is so in real time: a virtual clock leaps over hours.
    });
  }

  #accept(socket: net.Socket, drive: Drive, gather: ReturnType<Drive["gatherWriter"]>): void {
    const connection: IoConnection = new IoConnection(
      this.#nextConnection++,
      socket,
      (...frame) => this.#onFrame(...frame),
      () => this.#serveOn(connection),
      gather,
      (this.#reads ??= this.#openReads(drive)),
      this.#staged,
      this.#buffers,
    );
    connection.onRun = this.#onRun;
    this.#connections.set(connection.id, connection);
    connection.read((bytes, size) => {
      if (!connection.receive(bytes, size)) this.#refuse(connection);
      this.#turnSize += size;
      if (this.#turnSize >= TURN_SIZE_MAX) this.#endTurn();
    });
    socket.on("drain", () => this.#serveOn(connection));
    socket.on("error", () => socket.destroy()); // A peer that is gone is nothing to report.
    socket.on("close", () => this.#forget(connection));
  }

  /** It takes messages again. */
  #serveOn(connection: IoConnection): void {
    while (connection.replays.length > 0 && !connection.isChoked) {
      const frame = connection.replays.shift()!;
      connection.forwardedSize -= frame.length;
      this.#replay(connection, frame);
    }
    this.#pull.wakeStarved();
    this.#unblock(connection);
  }

  #refuse(connection: IoConnection): void {
    this.#warn("malformed frame, connection closed", { remoteAddress: connection.remoteAddress });
    this.#responder.flush();
    connection.flush();
    connection.socket.destroy();
  }

  #forget(connection: IoConnection): void {
    connection.isClosed = true;
    this.#connections.delete(connection.id);
    this.#flow.forget(connection);
    this.#post({ kind: "closed", connection: connection.id });
    if (this.#isFinished && this.#connections.size === 0) this.#leave();
  }

  readonly #onRun: RunHandler = (connection, bytes, start, end) => {
    if (!this.#flow.isOpen || connection.isOverdue) return start; // What is refused is refused one by one.
    const stoppedAt = this.#send.takeRun(connection, bytes, start, end);
    this.#work.taken += this.#send.runCount;
    return stoppedAt;
  };

  #onFrame(connection: IoConnection, bytes: Buffer, start: number, size: number): number {
    const scan = this.#scan;
    this.#work.taken++;
    if (scan.scan(bytes, start, connection.id) && (scan.flag & FLAG_RESPONSE) === 0) {
      switch (scan.code) {
        case RequestCode.SEND_MESSAGE:
        case RequestCode.SEND_MESSAGE_V2:
        case RequestCode.SEND_BATCH_MESSAGE: {
          if (!this.#flow.isOpen || connection.isOverdue) return this.#flow.refuse(connection, scan);
          const outcome = this.#send.take(connection, bytes, start, size, scan);
          if (outcome === SEND_TAKEN) return FRAME_DONE;
          if (outcome === SEND_BLOCKED) return this.#flow.block(connection);
          break;
        }
        case RequestCode.PULL_MESSAGE:
        case RequestCode.LITE_PULL_MESSAGE:
          this.#work.taken--;
          if (this.#pull.take(connection, bytes, scan) === PULL_TAKEN) return FRAME_DONE;
          break;
        case RequestCode.UPDATE_CONSUMER_OFFSET:
          if (this.#commit.take(connection, bytes, scan)) return FRAME_DONE;
          break;
        default:
      }
    }
    return this.#forward(connection, bytes, start, size);
  }

  #forward(connection: IoConnection, bytes: Buffer, start: number, size: number): number {
    const scan = this.#scan;
    const { maxMessageSize } = this.#init;
    const isFull = connection.forwardedSize > 0 && connection.forwardedSize + size > FORWARDED_SIZE_MAX;
    if (isFull && !this.#isReplaying) return FRAME_BLOCKED; // Goes on when the control thread has settled some.
    const frame = new Uint8Array(size);
    frame.set(bytes.subarray(start, start + size));
    if (this.#isReplaying) return answerUnservable(connection, Buffer.from(frame.buffer), this.#answers, scan, maxMessageSize);
    connection.forwardedSize += size;
    this.#post({ kind: "request", connection: connection.id, remoteAddress: connection.remoteAddress, frame }, [frame.buffer]);
    return FRAME_DONE;
  }

  #unblock(connection: IoConnection): void {
    const { handledCount } = connection;
    if (!connection.resume()) this.#refuse(connection);
    if (!connection.isBlocked) {
      connection.blockedSinceMs = 0;
      this.#flow.forget(connection);
    } else if (connection.handledCount > handledCount && connection.blockedSinceMs !== 0) {
      connection.blockedSinceMs = this.#clock.now(); // Another frame is the first to wait now.
    }
    this.#endTurn();
  }

  /** Hands over what this turn produced: records to the log writer, answers to the sockets. */
  #endTurn(): void {
    this.#turnSize = 0;
    this.#responder.flush(); // Before the log is written: that may take its time.
    if (this.#send.hasCommitted) {
      this.#send.hasCommitted = false;
      if (this.#ticker.noteSend()) this.#flow.restart();
      this.#lane.publish();
      if (this.#writer === undefined) this.#writerDoorbell.ring();
      else this.#write(this.#writer);
    }
    this.#responder.flush();
    for (const connection of this.#staged) connection.flushTurn();
    this.#staged.length = 0;
  }

  /** Appends what is in the lanes, and stages the answers to our own. */
  #write(writer: LogWriter): void {
    const startedMs = this.#clock.now();
    while (writer.work()) this.#answers.drain();
    this.#pull.wakeRecent();
    this.#flow.onWritten(this.#clock.now() - startedMs);
  }

  #awaitWake(): void {
    for (;;) {
      const seen = this.#doorbell.seen();
      this.#takeNews();
      if (this.#doorbell.parkAsync(seen, () => this.#awaitWake())) return;
    }
  }

  #takeNews(): void {
    if (this.#writer !== undefined) this.#write(this.#writer);
    this.#answers.drain();
    this.#flow.onAcks();
    if (this.#wakeRing.drain((slot) => this.#pull.wake(slot))) this.#pull.wakeAll();
    if (this.#flow.hasBlocked) for (const connection of this.#flow.blocked()) this.#unblock(connection);
    this.#endTurn();
    if (this.#isStopping) this.#finish();
    if (this.#hasLeft && Atomics.load(this.#log.words, shared.STOPPING) !== 0) this.#exit();
  }

  #tick(): void {
    this.#ticker.rest(this.#answers.inFlight > 0 || this.#flow.hasBlocked);
    this.#flow.tick((connection) => this.#unblock(connection));
    this.#answers.expire();
    this.#pull.expire();
    this.#recent?.tick();
    this.#forgetDeleted();
    if (this.#isStopping) this.#finish();
    this.#endTurn();
  }

  /** Closes files that retention has deleted: until then they keep their disk space. Nothing is read from them at this time. */
  #forgetDeleted(): void {
    const minOffset = this.#log.offset(shared.MIN_OFFSET);
    if (minOffset === this.#minOffset) return;
    this.#minOffset = minOffset;
    this.#responder.flush();
    this.#logReader.forgetBelow(minOffset);
    this.#queues.forgetBelow((slot) => this.#slots.minOffset(slot));
  }

  #onMessage(message: ToIoWorker): void {
    switch (message.kind) {
      case "write":
        this.#connections.get(message.connection)?.write(Buffer.from(message.frame.buffer));
        break;
      case "records":
        this.#chosen.serve(message);
        break;
      case "settled":
        this.#settle(message.connection, message.size, message.replay);
        break;
      case "close":
        this.#connections.get(message.connection)?.socket.destroy();
        break;
      case "slots":
        this.#queues.update(message.update);
        this.#recent?.clear();
        this.#tables.slotsChanged(message.update);
        break;
      case "tick":
        if (this.#clock instanceof VirtualClock) this.#clock.runDue();
        break;
      case "shrink":
        this.#logReader.dropPages();
        this.#buffers.clear();
        shrinkHeap();
        break;
      case "stop":
        this.#stop();
        break;
      default:
        this.#tables.take(message);
    }
    this.#endTurn();
  }

  #settle(id: number, size: number, replay: Uint8Array<ArrayBuffer> | undefined): void {
    const connection = this.#connections.get(id);
    if (connection === undefined) return;
    connection.forwardedSize -= size;
    if (replay !== undefined) {
      const frame = Buffer.from(replay.buffer);
      if (connection.isChoked || connection.replays.length > 0) {
        connection.forwardedSize += frame.length;
        connection.replays.push(frame);
      } else this.#replay(connection, frame);
    }
    if (connection.isBlocked) this.#unblock(connection);
  }

  #replay(connection: IoConnection, frame: Buffer): void {
    this.#isReplaying = true;
    try {
      const outcome = this.#onFrame(connection, frame, 0, frame.length);
      // The rings are full: the frame was read before, so it is answered rather than kept.
      if (outcome === FRAME_BLOCKED) this.#flow.answerBusy(connection, this.#scan);
    } finally {
      this.#isReplaying = false;
    }
  }

  /** No new connections; what is in the rings is answered, then the connections end. */
  #stop(): void {
    this.#isStopping = true;
    this.#server.close();
    this.#finish();
  }

  /** Nobody will ever say what became of the sends under way. */
  #isStoreLost(): boolean {
    return (Atomics.load(this.#log.words, shared.RUNNING_FLAGS) & shared.FLAG_THREAD_LOST) !== 0;
  }

  #finish(): void {
    if (this.#isFinished || (this.#answers.inFlight > 0 && !this.#isStoreLost())) return;
    this.#isFinished = true;
    this.#responder.flush();
    for (const connection of this.#connections.values()) {
      connection.flush();
      connection.socket.destroySoon();
    }
    // By the system's time, since a virtual clock stands still.
    if (this.#connections.size === 0) this.#leave();
    else new SystemClock().setTimer(() => this.#leave(), FAREWELL_MS);
  }

  /** The network side is over. With the log writer on board the thread goes on for the other lanes, until the engine stops it. */
  #leave(): void {
    if (this.#hasLeft) return;
    this.#hasLeft = true;
    this.#post({ kind: "left" });
    if (this.#writer === undefined) this.#exit();
  }

  #exit(): void {
    this.#writer?.close();
    this.#reads?.close();
    this.#control.close();
    setImmediate(() => process.exit(0)); // In a worker this ends the thread only.
  }
}
