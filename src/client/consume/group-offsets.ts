import { MillraceError } from "../../base/errors.ts";
import { RequestCode, ResponseCode } from "../../format/remoting/remoting-codes.ts";
import type { RemotingCommand } from "../../format/remoting/remoting-command.ts";
import { readReplacedFile, replaceFile } from "../../os/replace-file.ts";
import type { ClientInstance } from "../connection/client-instance.ts";
import { clientRequest, requestFailed } from "../connection/client-request.ts";
import { type MessageQueue, queueKey } from "../connection/routes.ts";
import type { ConsumeFrom } from "./consumer-options.ts";

/** Offset of one queue to be committed: that of the first message not done. */
export interface QueueCommit {
  queue: MessageQueue;
  offset: number;
}

/** Where a group's progress is kept. */
export interface GroupOffsets {
  /** The stored offset; undefined when the group has none for this queue. Rejects as `invoke`. */
  load(queue: MessageQueue): Promise<number | undefined>;
  /** With `isFinal`, resolves when they are safely stored; else they are handed over. Rejects as `invoke`. */
  commit(commits: readonly QueueCommit[], isFinal: boolean): Promise<void>;
}

const TIMEOUT_MS = 3_000;

/** Clustering: offsets lie on the brokers. */
export class BrokerOffsets implements GroupOffsets {
  readonly #instance: ClientInstance;
  readonly #group: string;

  constructor(instance: ClientInstance, group: string) {
    this.#instance = instance;
    this.#group = group;
  }

  async load(queue: MessageQueue): Promise<number | undefined> {
    const answer = await askBroker(this.#instance, queue, RequestCode.QUERY_CONSUMER_OFFSET, { consumerGroup: this.#group });
    if (answer.code === ResponseCode.QUERY_NOT_FOUND) return undefined;
    return offsetOf(answer);
  }

  async commit(commits: readonly QueueCommit[], isFinal: boolean): Promise<void> {
    await Promise.all(commits.map((commit) => this.#commitOne(commit, isFinal)));
  }

  async #commitOne({ queue, offset }: QueueCommit, isFinal: boolean): Promise<void> {
    const { topic, queueId } = queue;
    const command = clientRequest(RequestCode.UPDATE_CONSUMER_OFFSET, {
      consumerGroup: this.#group,
      topic,
      queueId,
      commitOffset: offset,
    });
    const address = addressOf(this.#instance, queue);
    if (!isFinal) {
      this.#instance.remoting.invokeOneway(address, command);
      return;
    }
    const answer = await this.#instance.remoting.invoke(address, command, TIMEOUT_MS);
    if (answer.code !== ResponseCode.SUCCESS) throw requestFailed(`${address}: commit of ${queueKey(queue)}:`, answer);
  }
}

/** Broadcasting: offsets are the consumer's own, in a file or only in memory. */
export class LocalOffsets implements GroupOffsets {
  readonly #file: string | undefined;
  readonly #offsets: Map<string, number>;
  #writing: Promise<void> = Promise.resolve();

  /** @throws MillraceError MILLRACE_CONFIG_INVALID when the file is no offset file, MILLRACE_STORE_IO when it cannot be read */
  constructor(file: string | undefined, onFallback: (reason: string) => void) {
    this.#file = file;
    this.#offsets = (file === undefined ? undefined : readReplacedFile(file, parseOffsets, onFallback)) ?? new Map();
  }

  async load(queue: MessageQueue): Promise<number | undefined> {
    return this.#offsets.get(queueKey(queue));
  }

  commit(commits: readonly QueueCommit[]): Promise<void> {
    for (const { queue, offset } of commits) this.#offsets.set(queueKey(queue), offset);
    const file = this.#file;
    if (file === undefined || commits.length === 0) return Promise.resolve();
    // One writer at a time; each writes what is known when its turn comes.
    const written = this.#writing.then(() =>
      replaceFile(file, Buffer.from(JSON.stringify({ offsets: Object.fromEntries(this.#offsets) }))),
    );
    this.#writing = written.catch(() => {});
    return written;
  }
}

function parseOffsets(bytes: Buffer): Map<string, number> {
  const offsets = new Map<string, number>();
  const parsed: unknown = JSON.parse(bytes.toString("utf8"));
  if (typeof parsed !== "object" || parsed === null || !("offsets" in parsed) || typeof parsed.offsets !== "object") {
    throw new MillraceError("MILLRACE_CONFIG_INVALID", "offsetFile: the file holds no offsets; name another one or remove it", {
      key: "offsetFile",
    });
  }
  for (const [key, offset] of Object.entries(parsed.offsets ?? {})) {
    if (Number.isSafeInteger(offset)) offsets.set(key, Number(offset));
  }
  return offsets;
}

/**
 * Where a queue without a stored offset begins. Rejects as `invoke`.
 * Source: Apache `RebalancePushImpl.computePullFromWhere`.
 */
export async function initialOffset(instance: ClientInstance, queue: MessageQueue, from: ConsumeFrom): Promise<number> {
  const isRetry = queue.topic.startsWith("%RETRY%");
  // A retry queue that we have no offset for holds what failed before anyone noticed: take all of it.
  if (from === "first" || (from === "last" && isRetry)) return 0;
  if (from === "last" || isRetry) return maxOffset(instance, queue);
  const header = { timestamp: from.timestamp, boundaryType: "LOWER" };
  return offsetOf(await askBroker(instance, queue, RequestCode.SEARCH_OFFSET_BY_TIMESTAMP, header));
}

/** One past the last message of the queue. Rejects as `invoke`. */
export async function maxOffset(instance: ClientInstance, queue: MessageQueue): Promise<number> {
  return offsetOf(await askBroker(instance, queue, RequestCode.GET_MAX_OFFSET, { committed: true }));
}

/** Sends a request about one queue to its broker. Rejects as `invoke`. */
export function askBroker(
  instance: ClientInstance,
  queue: MessageQueue,
  code: number,
  header: Readonly<Record<string, string | number | boolean>>,
): Promise<RemotingCommand> {
  const { topic, queueId } = queue;
  return instance.remoting.invoke(addressOf(instance, queue), clientRequest(code, { topic, queueId, ...header }), TIMEOUT_MS);
}

/** @throws MillraceError MILLRACE_REQUEST_FAILED unless `answer` is a success with an offset */
export function offsetOf(answer: RemotingCommand): number {
  const offset = Number(answer.extFields["offset"]);
  if (answer.code !== ResponseCode.SUCCESS || !Number.isSafeInteger(offset)) throw requestFailed("the broker", answer);
  return offset;
}

function addressOf(instance: ClientInstance, queue: MessageQueue): string {
  const address = instance.nameServers.readAddress(queue.brokerName);
  if (address !== undefined) return address;
  throw new MillraceError("MILLRACE_CONNECTION", `the name servers know no address of broker ${queue.brokerName}`, {
    brokerName: queue.brokerName,
  });
}
