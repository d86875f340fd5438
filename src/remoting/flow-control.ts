import type { HeaderScan } from "../format/remoting/header-scan.ts";
import { ResponseCode } from "../format/remoting/remoting-codes.ts";
import * as shared from "../format/shared/shared-words.ts";
import type { SharedLog } from "../store/shared-log.ts";
import { FRAME_BLOCKED, FRAME_DONE, type IoConnection } from "./io-connection.ts";
import type { SendAnswers } from "./send/send-answers.ts";

export interface FlowControlOptions {
  answers: SendAnswers;
  log: SharedLog;
  now: () => number;
  /** waitTimeMillsInSendQueue: a send that has waited that long for room is answered with busy. */
  sendWaitMsMax: number;
  /** osPageCacheBusyTimeOutMills: an append that takes longer makes the broker busy at once. */
  pageCacheBusyMs: number;
}

/** Appends that take less are not counted, ms. */
const HELD_MS_MIN = 10;

/**
 * Says whether a send is taken, waits, or is told that the broker is busy, so that nothing piles up before a slow disk:
 * a connection whose send waits is not read any further. One instance an I/O worker.
 * Source: Apache `BrokerFastFailure`, `SendMessageProcessor.rejectRequest`.
 */
export class FlowControl {
  readonly #o: FlowControlOptions;
  readonly #blocked = new Set<IoConnection>();
  /** Sends are taken without a further look. */
  isOpen = true;
  /** The log writer has acknowledged nothing for too long. */
  #isStalled = false;
  #isPageCacheBusy = false;
  /** How long this thread itself has just been held by the disk, for as long as what came meanwhile is read; else 0. */
  #lateMs = 0;
  /** Time and number of the long appends since the sockets were last read through. */
  #heldMs = 0;
  #heldCount = 0;
  #progressMs: number;
  #ackedSeen = 0;

  constructor(options: FlowControlOptions) {
    this.#o = options;
    this.#progressMs = options.now();
  }

  get hasBlocked(): boolean {
    return this.#blocked.size > 0;
  }

  /** A copy: the caller unblocks them. */
  blocked(): IoConnection[] {
    return [...this.#blocked];
  }

  /** Of a send while `isOpen` is not set, or of one that is overdue. @returns FRAME_DONE: it is answered; FRAME_BLOCKED: it waits */
  refuse(connection: IoConnection, scan: HeaderScan): number {
    if (!connection.isOverdue && this.#lateMs === 0 && !this.#isPageCacheBusy) return this.block(connection);
    this.answerBusy(connection, scan);
    return FRAME_DONE;
  }

  /** Its first frame waits until there is room. */
  block(connection: IoConnection): number {
    if (connection.blockedSinceMs === 0) connection.blockedSinceMs = this.#o.now();
    this.#blocked.add(connection);
    return FRAME_BLOCKED;
  }

  forget(connection: IoConnection): void {
    this.#blocked.delete(connection);
  }

  answerBusy(connection: IoConnection, scan: HeaderScan): void {
    const { answers, now, pageCacheBusyMs } = this.#o;
    const waitedMs = connection.blockedSinceMs === 0 ? this.#lateMs : now() - connection.blockedSinceMs;
    const isPageCacheBusy = this.#isPageCacheBusy || this.#lateMs >= pageCacheBusyMs;
    const figures = `period in queue: ${waitedMs}ms, size of queue: ${answers.inFlight}`;
    const remark =
      isPageCacheBusy && waitedMs === 0
        ? "[REJECTREQUEST]system busy, start flow control for a while"
        : `[${isPageCacheBusy ? "PCBUSY" : "TIMEOUT"}_CLEAN_QUEUE]broker busy, start flow control for a while, ${figures}`;
    answers.error(connection, scan, ResponseCode.SYSTEM_BUSY, remark);
  }

  /** Now and then. @param resume serves a blocked connection again; its overdue sends are answered then */
  tick(resume: (connection: IoConnection) => void): void {
    const { answers, log, now, sendWaitMsMax, pageCacheBusyMs } = this.#o;
    const nowMs = now();
    const writingSinceMs = log.offset(shared.WRITING_SINCE);
    this.#isPageCacheBusy = writingSinceMs > 0 && nowMs - writingSinceMs > pageCacheBusyMs;
    if (answers.unacked === 0 || answers.acked !== this.#ackedSeen) this.#progressMs = nowMs;
    this.#ackedSeen = answers.acked;
    this.#isStalled = nowMs - this.#progressMs >= sendWaitMsMax;
    this.#settle();
    for (const connection of this.blocked()) {
      const isDue = this.#isPageCacheBusy || nowMs - connection.blockedSinceMs >= sendWaitMsMax;
      if (connection.blockedSinceMs === 0 || !isDue) continue;
      connection.isOverdue = true;
      resume(connection);
      connection.isOverdue = false;
    }
  }

  /** There was no look for a while, as nothing was under way: waits count from now. */
  restart(): void {
    this.#progressMs = this.#o.now();
  }

  /** Acks have been taken. */
  onAcks(): void {
    if (!this.#isStalled || this.#o.answers.acked === this.#ackedSeen) return;
    this.#isStalled = false;
    this.#settle();
  }

  /**
   * Appending, in this thread, took so long. What clients sent meanwhile has waited as long in the sockets: what is read
   * of it is told so, once that is too long. One long append is chance, unless it was very long.
   */
  onWritten(ms: number): void {
    if (ms < HELD_MS_MIN) return;
    const { sendWaitMsMax, pageCacheBusyMs } = this.#o;
    this.#heldMs += ms;
    if (++this.#heldCount === 1) setImmediate(() => setImmediate(() => this.#onSocketsRead()));
    if (this.#heldMs < (this.#heldCount === 1 ? pageCacheBusyMs : sendWaitMsMax)) return;
    this.#lateMs = this.#heldMs;
    this.#settle();
  }

  /** All that had come by the time of the first long append has been read. */
  #onSocketsRead(): void {
    this.#heldMs = 0;
    this.#heldCount = 0;
    this.#lateMs = 0;
    this.#settle();
  }

  #settle(): void {
    this.isOpen = !this.#isStalled && !this.#isPageCacheBusy && this.#lateMs === 0;
  }
}
