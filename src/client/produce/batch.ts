import { BATCH_COUNT_MAX } from "../../format/files/batch-consume-queue.ts";
import { PROPERTY } from "../../format/record/properties.ts";
import type { MessageQueue } from "../connection/routes.ts";
import type { Compressor } from "./compression.ts";
import { ID_OFFSET, type OutgoingMessage, propertiesSizeMax, writeProperties } from "./outgoing-message.ts";
import type { SendResponse, SendStatus } from "./send-response.ts";
import { UNIQUE_ID_SIZE, type UniqueIds } from "./unique-id.ts";

/**
 * Hears what became of one buffered message: an error, or the queueOffset it has in queue `queueId` of
 * broker `brokerName`. A plain function with plain arguments: at a million messages a second, a Promise
 * and a result object for each are most of a producer's work.
 */
export type BufferedCallback = (error: Error | undefined, queueOffset: number, queueId: number, brokerName: string) => void;

/** What became of one message that was sent. */
export interface SendResult {
  status: SendStatus;
  /** UNIQ_KEY, made by the client: what consumers see as the message's id. */
  msgId: string;
  /** Made by the broker: address and physicalOffset. */
  offsetMsgId: string;
  topic: string;
  brokerName: string;
  queueId: number;
  queueOffset: number;
  transactionId?: string;
  recallHandle?: string;
}

/** A message whose sender awaits a Promise. */
export interface SendWaiter {
  resolve(result: SendResult): void;
  reject(error: Error): void;
}

/**
 * Messages of one queue on their way in one SEND_BATCH_MESSAGE. The body is written as they come:
 *   | size i32 | magic i32 = 0 | bodyCrc i32 = 0 | flag i32 | bodySize i32 | body | propertiesSize i16 | properties |  repeated
 * Source: Apache `MessageDecoder.encodeMessage`.
 */
export class Batch {
  /** Compression bits: of all messages of the batch, or, once it is packed, of the batch as a whole. */
  sysFlag: number;
  /** UNIQ_KEY of the batch as a whole. */
  readonly id: string;
  #bytes: Buffer;
  #size = 0;
  #count = 0;
  #tags: string | undefined;
  #isMixed = false;
  #packed: Buffer | undefined;
  /** By index in the batch; shorter than the batch where the last ones told nobody. */
  readonly #listeners: (BufferedCallback | SendWaiter | undefined)[] = [];
  /** UNIQ_KEYs of those messages whose senders await a Promise. */
  readonly #msgIds: string[] = [];
  /** Some message may go to no other queue. */
  pinned = false;
  /** Attempts made so far. */
  attempts = 0;
  /** A connection holds it. */
  isInFlight = false;
  /** When it must leave at the latest, ms; only while open. */
  dueMs = 0;
  /** Called when all of its messages are settled. */
  onSettled: (() => void)[] = [];

  constructor(bytes: Buffer, id: string, sysFlag: number) {
    this.#bytes = bytes;
    this.id = id;
    this.sysFlag = sysFlag;
  }

  get size(): number {
    return this.#size;
  }

  get count(): number {
    return this.#count;
  }

  /** The memory handed in, to be used for another batch. */
  get memory(): Buffer {
    return this.#bytes;
  }

  /** What goes out. */
  get body(): Buffer {
    return this.#packed ?? this.#bytes.subarray(0, this.#size);
  }

  /** Compresses the batch as a whole, once; it takes no more messages. */
  pack(compressor: Compressor): void {
    if (this.#packed !== undefined) return;
    this.#packed = compressor.compress(this.#bytes.subarray(0, this.#size));
    this.sysFlag = compressor.sysFlag;
  }

  /** What the header says of the batch: the tag that all its messages have, and, since a broker cannot look into it, how many they are. */
  get envelope(): OutgoingMessage {
    const envelope: OutgoingMessage = { topic: "", body: "" };
    if (this.#tags !== undefined && !this.#isMixed) envelope.tags = this.#tags;
    if (this.#packed !== undefined) envelope.properties = { [PROPERTY.INNER_NUM]: String(this.#count) };
    return envelope;
  }

  /** Most bytes that a message takes in a batch. @throws MillraceError MILLRACE_MESSAGE_ILLEGAL */
  static sizeMax(message: OutgoingMessage, bodySize: number): number {
    return FIXED_SIZE + bodySize + propertiesSizeMax(message, false);
  }

  /** Is there room for `sizeMax` more bytes? */
  fits(sizeMax: number): boolean {
    return this.#size + sizeMax <= this.#bytes.length && this.#count < BATCH_COUNT_MAX;
  }

  /**
   * Adds a message that `fits`. Nothing is added if it throws.
   * @param body  as it goes out: compressed, if the batch's sysFlag says so
   * @throws MillraceError MILLRACE_MESSAGE_ILLEGAL
   */
  add(message: OutgoingMessage, body: Buffer, ids: UniqueIds, listener: BufferedCallback | SendWaiter | undefined): void {
    const bytes = this.#bytes;
    const start = this.#size;
    const propertiesAt = start + FIXED_SIZE + body.length;
    const end = writeProperties(bytes, propertiesAt, message, ids, false);
    bytes.writeInt32BE(end - start, start);
    bytes.writeInt32BE(0, start + 4);
    bytes.writeInt32BE(0, start + 8);
    bytes.writeInt32BE(message.flag ?? 0, start + 12);
    bytes.writeInt32BE(body.length, start + 16);
    bytes.set(body, start + 20);
    bytes.writeInt16BE(end - propertiesAt, propertiesAt - 2);
    if (listener !== undefined) {
      while (this.#listeners.length < this.#count) this.#listeners.push(undefined);
      this.#listeners.push(listener);
      if (typeof listener !== "function") {
        const idAt = propertiesAt + ID_OFFSET;
        this.#msgIds[this.#count] = bytes.toString("latin1", idAt, idAt + UNIQUE_ID_SIZE);
      }
    }
    if (this.#count === 0) this.#tags = message.tags;
    else if (message.tags !== this.#tags) this.#isMixed = true;
    this.#size = end;
    this.#count++;
  }

  /**
   * Tells each message's listener. A listener that throws does not keep the others from hearing: its error
   * comes up as an uncaught one.
   * @returns number of messages that had no listener
   */
  settle(outcome: Error | SendResponse, queue: MessageQueue): number {
    let unheard = this.#count;
    let offsetMsgIds: string[] | undefined;
    for (let index = 0; index < this.#listeners.length; index++) {
      const listener = this.#listeners[index];
      if (listener === undefined) continue;
      unheard--;
      try {
        if (typeof listener === "function") {
          if (outcome instanceof Error) listener(outcome, -1, queue.queueId, queue.brokerName);
          else listener(undefined, outcome.queueOffset + index, outcome.queueId, queue.brokerName);
        } else if (outcome instanceof Error) listener.reject(outcome);
        else {
          offsetMsgIds ??= outcome.offsetMsgId.split(",");
          listener.resolve(sendResult(outcome, queue, this.#msgIds[index]!, index, offsetMsgIds[index]));
        }
      } catch (thrown) {
        queueMicrotask(() => {
          throw thrown;
        });
      }
    }
    for (const listener of this.onSettled) listener();
    return unheard;
  }
}

/** The result of the message at `index` of what the broker answered for a whole request. */
export function sendResult(
  response: SendResponse,
  queue: MessageQueue,
  msgId: string,
  index = 0,
  offsetMsgId: string = response.offsetMsgId,
): SendResult {
  const result: SendResult = {
    status: response.status,
    msgId,
    offsetMsgId,
    topic: queue.topic,
    brokerName: queue.brokerName,
    queueId: response.queueId,
    queueOffset: response.queueOffset + index,
  };
  if (response.transactionId !== undefined) result.transactionId = response.transactionId;
  if (response.recallHandle !== undefined) result.recallHandle = response.recallHandle;
  return result;
}

/** size, magic, bodyCrc, flag, bodySize, propertiesSize. */
const FIXED_SIZE = 22;
