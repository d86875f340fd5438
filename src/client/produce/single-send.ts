import { MillraceError } from "../../base/errors.ts";
import type { ClientInstance } from "../connection/client-instance.ts";
import type { ResponseSink } from "../connection/pending-requests.ts";
import type { RemotingConnection } from "../connection/remoting-connection.ts";
import { faultMs, isRetryable, isRouteStale } from "../consume/retry-policy.ts";
import { type SendResult, type SendWaiter, sendResult } from "./batch.ts";
import { type OutgoingMessage, propertiesSizeMax } from "./outgoing-message.ts";
import type { BrokerFaults, PublishQueue, TopicPublisher } from "./publish-table.ts";
import type { SendHeader } from "./send-header.ts";
import { readSendResponse } from "./send-response.ts";
import type { UniqueIds } from "./unique-id.ts";

export interface SingleSendContext {
  readonly instance: ClientInstance;
  readonly ids: UniqueIds;
  readonly faults: BrokerFaults;
  readonly retries: number;
  readonly retryDelayMs: number;
  readonly sendTimeoutMs: number;
  /** Nothing is tried again any more. */
  isClosing: boolean;
  /** Time stamp for messages of this turn of the event loop, ms. */
  stamp(): number;
}

/** A body up to this size is copied behind its header; a larger one is handed to the socket as it is. */
const COPY_BODY_MAX = 8_192;

/**
 * One message on its way by SEND_MESSAGE_V2, tried again on another broker (or later, on the same one)
 * after failures that may pass. Its UNIQ_KEY stays the same, so that consumers can tell a message that
 * was stored twice because an answer was lost.
 */
export class SingleSend implements ResponseSink {
  readonly #context: SingleSendContext;
  readonly #publisher: TopicPublisher;
  readonly #message: OutgoingMessage;
  readonly #body: Buffer;
  readonly #sysFlag: number;
  readonly #msgId: string;
  readonly #waiter: SendWaiter;
  #queue: PublishQueue;
  #attempts = 0;

  /** @throws MillraceError MILLRACE_MESSAGE_ILLEGAL, MILLRACE_TOPIC_UNKNOWN */
  constructor(
    context: SingleSendContext,
    publisher: TopicPublisher,
    message: OutgoingMessage,
    body: Buffer,
    sysFlag: number,
    waiter: SendWaiter,
  ) {
    this.#context = context;
    this.#publisher = publisher;
    this.#message = message;
    this.#body = body;
    this.#sysFlag = sysFlag;
    this.#msgId = context.ids.next();
    this.#waiter = waiter;
    this.#queue = publisher.pinned(message) ?? publisher.next(context.stamp());
  }

  start(): void {
    this.#attempts++;
    let connection: RemotingConnection | undefined;
    let opaque = -1;
    try {
      connection = connectionTo(this.#context.instance, this.#queue);
      opaque = connection.open(this, this.#context.sendTimeoutMs);
      writeSingle(
        connection,
        this.#queue.single,
        opaque,
        this.#context.stamp(),
        this.#message,
        this.#msgId,
        this.#body,
        this.#sysFlag,
      );
    } catch (error) {
      if (opaque >= 0) connection?.cancel(opaque);
      if (error instanceof MillraceError) this.onFailure(error);
      else this.#waiter.reject(error instanceof Error ? error : new Error(String(error)));
    }
  }

  onResponse(bytes: Buffer, start: number, end: number): void {
    const outcome = readSendResponse(bytes, start, end);
    if (outcome instanceof MillraceError) this.onFailure(outcome);
    else this.#waiter.resolve(sendResult(outcome, this.#queue, this.#msgId) satisfies SendResult);
  }

  onFailure(error: MillraceError): void {
    const { instance, faults, retries, retryDelayMs, isClosing } = this.#context;
    if (this.#attempts > retries || isClosing || !isRetryable(error)) {
      this.#waiter.reject(error);
      return;
    }
    const now = instance.clock.now();
    const penalty = faultMs(error);
    if (penalty > 0) faults.mark(this.#queue.brokerName, now + penalty);
    if (isRouteStale(error)) {
      instance.nameServers.refresh(this.#message.topic).catch((failure: unknown) => instance.report(failure));
    }
    const failed = this.#queue;
    const isPinned = this.#message.queueId !== undefined || this.#message.orderKey !== undefined;
    if (!isPinned && this.#publisher.queues.length > 0) this.#queue = this.#publisher.next(now, failed.brokerName);
    if (this.#queue.brokerName !== failed.brokerName) this.start();
    else instance.clock.setTimer(() => this.start(), retryDelayMs * this.#attempts);
  }
}

/** @throws MillraceError MILLRACE_CONNECTION, MILLRACE_CLOSED */
export function connectionTo(instance: ClientInstance, queue: PublishQueue): RemotingConnection {
  const address = instance.nameServers.brokerAddress(queue.brokerName);
  if (address === undefined) {
    throw new MillraceError("MILLRACE_CONNECTION", `the name servers know no address of broker ${queue.brokerName}`, {
      brokerName: queue.brokerName,
    });
  }
  return instance.remoting.connection(address);
}

/**
 * Writes the frame of one message.
 * @throws MillraceError MILLRACE_MESSAGE_ILLEGAL; nothing is then sent
 */
export function writeSingle(
  connection: RemotingConnection,
  header: SendHeader,
  opaque: number,
  bornTimestamp: number,
  message: OutgoingMessage,
  msgId: string,
  body: Buffer,
  sysFlag: number,
): void {
  const { writer } = connection;
  const isCopied = body.length <= COPY_BODY_MAX;
  const at = writer.reserve(header.sizeMax + propertiesSizeMax(message, true) + (isCopied ? body.length : 0));
  let end = header.write(writer.bytes, at, opaque, sysFlag, bornTimestamp, message, msgId, body.length);
  if (isCopied) {
    writer.bytes.set(body, end);
    end += body.length;
  }
  writer.commit(end - at);
  if (isCopied) connection.scheduleFlush();
  else connection.append(body);
}
