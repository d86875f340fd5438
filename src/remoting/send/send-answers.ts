import type { Clock } from "../../base/clock.ts";
import { DISK_FULL_REMARK, watermarkRemark } from "../../broker/send/send-responses.ts";
import type { HeaderScan } from "../../format/remoting/header-scan.ts";
import { ResponseCode } from "../../format/remoting/remoting-codes.ts";
import { encodeCommand, FLAG_ONEWAY, FLAG_RESPONSE, REMOTING_VERSION } from "../../format/remoting/remoting-command.ts";
import { SEND_ANSWER_PARTS, SendResponseWriter } from "../../format/remoting/send-response.ts";
import * as shared from "../../format/shared/shared-words.ts";
import { ACK_DUPLICATE, ACK_OK, ACK_STORE_FULL, ACK_WATERMARK, type LaneProducer } from "../../ring/lane.ts";
import type { SharedLog } from "../../store/shared-log.ts";
import type { IoConnection } from "../io-connection.ts";
import type { SendKernel } from "./send-kernel.ts";
import type { SendTickets } from "./send-tickets.ts";

export interface SendAnswersOptions {
  lane: LaneProducer;
  tickets: SendTickets;
  log: SharedLog;
  storeHost: Buffer;
  regionId: string;
  traceOn: boolean;
  isSyncFlush: boolean;
  syncFlushTimeoutMs: number;
  clock: Clock;
  /** The tickets stand in its memory. */
  kernel?: SendKernel | undefined;
}

/**
 * Turns the log writer's acks into answers. This is the one place that decides what an ack to a remoting
 * client means: with ASYNC_FLUSH the record is in the page cache, with SYNC_FLUSH (and WAIT not false) it is
 * on the disk. One instance an I/O worker.
 */
export class SendAnswers {
  readonly #lane: LaneProducer;
  readonly #tickets: SendTickets;
  readonly #log: SharedLog;
  readonly #clock: Clock;
  readonly #isSyncFlush: boolean;
  readonly #syncFlushTimeoutMs: number;
  readonly #writer: SendResponseWriter;
  /** Answers plain sends where nobody waits for the disk. */
  readonly #kernel: SendKernel | undefined;
  readonly #extFields: Record<string, string>;
  /** Acks that wait for the disk, in log order: a ring of parallel arrays. */
  readonly #waitTickets: Int32Array;
  readonly #waitQueueOffsets: Float64Array;
  readonly #waitPhysicalOffsets: Float64Array;
  readonly #waitSinceMs: Float64Array;
  #acked = 0;
  #waitHead = 0;
  #waitTail = 0;

  constructor(options: SendAnswersOptions) {
    this.#lane = options.lane;
    this.#tickets = options.tickets;
    this.#log = options.log;
    this.#clock = options.clock;
    this.#isSyncFlush = options.isSyncFlush;
    this.#syncFlushTimeoutMs = options.syncFlushTimeoutMs;
    this.#writer = new SendResponseWriter(options.storeHost, options.regionId, options.traceOn);
    const { kernel } = options;
    const parts = SEND_ANSWER_PARTS;
    const texts = [parts.queueId, parts.queueOffset, parts.transactionId, parts.end].map((text) => Buffer.from(text));
    const isServed = !this.#isSyncFlush && kernel?.setAnswer(this.#writer.start, texts) === true;
    this.#kernel = isServed ? kernel : undefined;
    this.#extFields = { MSG_REGION: options.regionId, TRACE_ON: String(options.traceOn) };
    const { capacity } = options.tickets;
    this.#waitTickets = new Int32Array(capacity);
    this.#waitQueueOffsets = new Float64Array(capacity);
    this.#waitPhysicalOffsets = new Float64Array(capacity);
    this.#waitSinceMs = new Float64Array(capacity);
  }

  get inFlight(): number {
    return this.#tickets.inFlight;
  }

  /** Sends whose ack has not come. */
  get unacked(): number {
    return this.#tickets.inFlight - (this.#waitTail - this.#waitHead);
  }

  /** Acks taken so far. */
  get acked(): number {
    return this.#acked;
  }

  /** Takes all acks that are there and stages the answers that are due. */
  drain(): void {
    const lane = this.#lane;
    const ready = lane.acksReady();
    const now = ready > 0 && this.#isSyncFlush ? this.#clock.now() : 0;
    const hasFailed = ready > 0 && this.#hasFlushFailed();
    const kernel = hasFailed ? undefined : this.#kernel;
    for (let i = 0; i < ready; i++) {
      if (kernel !== undefined) {
        i += this.#answerRun(kernel, ready - i);
        if (i === ready) break;
      }
      const ticket = lane.takeAck();
      if (lane.ackStatus === ACK_DUPLICATE)
        this.#tickets.queueIds[ticket] = lane.ackStoreTimestamp; // Where the first one is.
      else if (lane.ackStatus !== ACK_OK) {
        this.#refuse(ticket, lane.ackStatus);
        continue;
      }
      // After a failed flush nothing is told to be stored, also where nobody waits for the disk.
      if (hasFailed) this.#answer(ticket, ResponseCode.FLUSH_DISK_TIMEOUT, lane.ackQueueOffset, lane.ackPhysicalOffset);
      else if (this.#isSyncFlush && this.#tickets.noWaits[ticket] === 0) this.#await(ticket, now);
      else this.#answer(ticket, ResponseCode.SUCCESS, lane.ackQueueOffset, lane.ackPhysicalOffset);
    }
    this.#acked += ready;
    if (ready > 0) lane.releaseAcks();
    if (this.#waitHead === this.#waitTail) return;
    this.#releaseFlushed();
    if (this.#hasFlushFailed()) this.expire();
  }

  #hasFlushFailed(): boolean {
    return (Atomics.load(this.#log.words, shared.RUNNING_FLAGS) & shared.FLAG_FLUSH_FAILED) !== 0;
  }

  /** Answers plain sends of the connection that the next ack is for. @returns how many of those ready it took */
  #answerRun(kernel: SendKernel, ready: number): number {
    const lane = this.#lane;
    const tickets = this.#tickets;
    const first = lane.ackTicket(0);
    const connection = tickets.connections[first]!;
    if (connection.isClosed) return 0;
    const count = kernel.answer(lane.nextAck, ready, tickets.freeCount, tickets.owners[first]!);
    if (count === 0) return 0;
    lane.skipAcks(count);
    tickets.released(count);
    const { output, outputSize } = kernel;
    if (outputSize === 0) return count; // One-way, all of them.
    connection.reserve(outputSize);
    output.copy(connection.stage, connection.staged, 0, outputSize);
    connection.staged += outputSize;
    connection.markStaged();
    return count;
  }

  #await(ticket: number, now: number): void {
    const at = this.#waitTail++ % this.#tickets.capacity;
    this.#waitTickets[at] = ticket;
    this.#waitQueueOffsets[at] = this.#lane.ackQueueOffset;
    this.#waitPhysicalOffsets[at] = this.#lane.ackPhysicalOffset;
    this.#waitSinceMs[at] = now;
  }

  /** A flush reaches whole batches of appends, so a record that starts below the flushed offset ends below it as well. */
  #releaseFlushed(): void {
    const flushed = this.#log.offset(shared.FLUSHED_OFFSET);
    while (this.#waitHead !== this.#waitTail) {
      const at = this.#waitHead % this.#tickets.capacity;
      if (this.#waitPhysicalOffsets[at]! >= flushed) return;
      this.#waitHead++;
      this.#answer(this.#waitTickets[at]!, ResponseCode.SUCCESS, this.#waitQueueOffsets[at]!, this.#waitPhysicalOffsets[at]!);
    }
  }

  /** Answers what has waited too long for the disk. It is stored; the sender is told that it may not be on the disk. */
  expire(): void {
    if (this.#waitHead === this.#waitTail) return;
    this.#releaseFlushed();
    const limit = this.#clock.now() - this.#syncFlushTimeoutMs;
    const hasFailed = this.#hasFlushFailed();
    while (this.#waitHead !== this.#waitTail) {
      const at = this.#waitHead % this.#tickets.capacity;
      if (!hasFailed && this.#waitSinceMs[at]! > limit) return;
      this.#waitHead++;
      this.#answer(
        this.#waitTickets[at]!,
        ResponseCode.FLUSH_DISK_TIMEOUT,
        this.#waitQueueOffsets[at]!,
        this.#waitPhysicalOffsets[at]!,
      );
    }
  }

  #answer(ticket: number, code: number, queueOffset: number, physicalOffset: number): void {
    const tickets = this.#tickets;
    const connection = tickets.connections[ticket]!;
    if (tickets.oneways[ticket] === 0 && !connection.isClosed) {
      const batchCount = tickets.batchCounts[ticket]!;
      connection.reserve(this.#writer.sizeMax(Math.max(1, batchCount)));
      const keyStart = tickets.keyStart(ticket);
      const keyEnd = keyStart + tickets.keySizes[ticket]!;
      const opaque = tickets.opaques[ticket]!;
      const queueId = tickets.queueIds[ticket]!;
      connection.staged =
        batchCount === 0
          ? this.#writer.single(
              connection.stage,
              connection.stageView,
              connection.staged,
              code,
              opaque,
              queueId,
              queueOffset,
              physicalOffset,
              tickets.keysView,
              keyStart,
              keyEnd,
              tickets.innerBatches[ticket] === 1,
            )
          : this.#writer.batch(
              connection.stage,
              connection.stageView,
              connection.staged,
              code,
              opaque,
              queueId,
              queueOffset,
              physicalOffset,
              tickets.batchSizes[ticket]!,
              batchCount,
            );
      connection.markStaged();
    }
    tickets.release(ticket);
  }

  #refuse(ticket: number, status: number): void {
    const tickets = this.#tickets;
    const connection = tickets.connections[ticket]!;
    const opaque = tickets.opaques[ticket]!;
    if (tickets.oneways[ticket] === 0 && !connection.isClosed) {
      if (status === ACK_STORE_FULL) this.#writeError(connection, opaque, ResponseCode.SYSTEM_ERROR, DISK_FULL_REMARK);
      else this.#writeError(connection, opaque, ResponseCode.SERVICE_NOT_AVAILABLE, this.#unavailable(status));
    }
    tickets.release(ticket);
  }

  #unavailable(status: number): string {
    if (status !== ACK_WATERMARK) return "service not available now. the store has failed and takes no more messages";
    return watermarkRemark(this.#log.offset(shared.LOG_DISK_RATIO), this.#log.offset(shared.STORE_DISK_RATIO));
  }

  /** Answers a send request that was not taken. */
  error(connection: IoConnection, scan: HeaderScan, code: number, remark: string): void {
    if ((scan.flag & FLAG_ONEWAY) === 0) this.#writeError(connection, scan.opaque, code, remark);
  }

  #writeError(connection: IoConnection, opaque: number, code: number, remark: string): void {
    const command = { code, language: "JAVA", version: REMOTING_VERSION, opaque, flag: FLAG_RESPONSE, remark };
    connection.write(encodeCommand({ ...command, extFields: this.#extFields, body: Buffer.alloc(0) }));
  }
}
