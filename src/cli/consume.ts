import { createWriteStream } from "node:fs";
import type { Writable } from "node:stream";
import { SystemClock } from "../base/clock.ts";
import { MillraceError } from "../base/errors.ts";
import type { MessageQueue } from "../client/connection/routes.ts";
import type { ConsumedMessage } from "../client/consume/consumed-message.ts";
import type { ConsumeFrom } from "../client/consume/consumer-options.ts";
import { TopicReader } from "../client/consume/topic-reader.ts";
import { isLineFeedAfter } from "./line-message.ts";
import { mergeByLine } from "./merge-by-line.ts";
import { formatBytes, formatCount, Progress } from "./progress.ts";
import { wholeNumber } from "./whole-number.ts";

export interface ConsumeFlags {
  topic: string;
  namesrv: string;
  queue?: string;
  from: string;
  count?: string;
  untilEnd?: boolean;
  inLineOrder?: boolean;
  withMeta?: boolean;
  output?: string;
  quiet?: boolean;
}

/** One queue, and the part of it that is wanted. */
interface Wanted {
  queue: MessageQueue;
  from: number;
  until: number;
}

const LINE_FEED: Buffer = Buffer.from("\n");

/**
 * `millrace consume`: writes the messages of a topic to standard output or a file, each queue in order, byte for
 * byte as `ingest` took them; without --until-end until a signal. Joins no group and moves nobody's offsets.
 */
export async function consume(flags: ConsumeFlags): Promise<void> {
  const clock = new SystemClock();
  const from = parseFrom(flags.from);
  const countMax =
    flags.count === undefined ? Number.POSITIVE_INFINITY : wholeNumber("--count", flags.count, 1, Number.MAX_SAFE_INTEGER);
  const reader = new TopicReader({ namesrvAddr: flags.namesrv, header: "binary" });
  const output = new Output(flags.output);
  const stop = new AbortController();
  const onSignal = (): void => stop.abort();
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.once(signal, onSignal);
  stop.signal.addEventListener("abort", () => void reader.close());
  output.onBroken = onSignal;
  try {
    const wanted = await wantedQueues(reader, flags, from);
    const total = wanted.reduce((sum, part) => sum + Math.max(0, part.until - part.from), 0);
    const progress = new Progress(
      "consume",
      "messages",
      Number.isFinite(total) ? { count: Math.min(total, countMax) } : {},
      () => output,
      flags.quiet === true ? { write() {} } : process.stderr,
      clock,
    );
    try {
      const form = flags.withMeta === true ? withMeta : asLine;
      await copy(reader, wanted, flags.inLineOrder === true, stop.signal, async (messages) => {
        for (const message of messages) {
          if (output.count >= countMax) break;
          form(message, output);
        }
        await output.drained();
        if (output.count >= countMax) stop.abort();
      });
      await output.end();
    } finally {
      progress.end();
    }
    const seconds = progress.elapsedMs / 1000;
    process.stderr.write(`${formatCount(output.count)} messages, ${formatBytes(output.bytes)} in ${seconds.toFixed(1)} s\n`);
  } catch (error) {
    if (!stop.signal.aborted) throw error;
    await output.end();
  } finally {
    await reader.close();
  }
}

type Take = (messages: readonly ConsumedMessage[]) => Promise<void>;

async function copy(
  reader: TopicReader,
  wanted: readonly Wanted[],
  inLineOrder: boolean,
  signal: AbortSignal,
  take: Take,
): Promise<void> {
  const read = ({ queue, from, until }: Wanted): AsyncGenerator<ConsumedMessage[]> => reader.read(queue, { from, until, signal });
  if (inLineOrder) {
    for await (const messages of mergeByLine(wanted.map(read))) {
      await take(messages);
      if (signal.aborted) return;
    }
    return;
  }
  await Promise.all(
    wanted.map(async (part) => {
      for await (const messages of read(part)) {
        if (signal.aborted) return;
        await take(messages);
      }
    }),
  );
}

async function wantedQueues(reader: TopicReader, flags: ConsumeFlags, from: ConsumeFrom): Promise<Wanted[]> {
  const all = await reader.queues(flags.topic);
  const queueId = flags.queue === undefined ? undefined : wholeNumber("--queue", flags.queue, 0, 65_535);
  const queues = all.filter((queue) => queueId === undefined || queue.queueId === queueId);
  if (queues.length === 0) {
    const message = `--queue ${queueId}: topic "${flags.topic}" has queues 0 to ${Math.max(...all.map((queue) => queue.queueId))}`;
    throw new MillraceError("MILLRACE_CONFIG_INVALID", message, { topic: flags.topic });
  }
  return Promise.all(
    queues.map(async (queue) => {
      const { max } = await reader.range(queue);
      return { queue, from: await reader.offsetAt(queue, from), until: flags.untilEnd === true ? max : Number.POSITIVE_INFINITY };
    }),
  );
}

/** `first`, `last`, milliseconds since 1970, or a date. @throws MillraceError MILLRACE_CONFIG_INVALID */
function parseFrom(text: string): ConsumeFrom {
  if (text === "first" || text === "last") return text;
  const timestamp = /^\d+$/.test(text) ? Number(text) : Date.parse(text);
  if (Number.isSafeInteger(timestamp) && timestamp >= 0) return { timestamp };
  const message = `--from ${text} is not valid; allowed: first, last, milliseconds since 1970, or a date such as 2026-11-21T10:00:00Z`;
  throw new MillraceError("MILLRACE_CONFIG_INVALID", message, { value: text });
}

function asLine(message: ConsumedMessage, output: Output): void {
  output.add(message.body);
  // Looking at one property is all that most messages cost.
  if (isLineFeedAfter(message.properties)) output.add(LINE_FEED);
  output.count++;
}

function withMeta(message: ConsumedMessage, output: Output): void {
  const { body } = message;
  const text = body.toString("utf8");
  const isText = Buffer.from(text).equals(body);
  const line = {
    topic: message.topic,
    brokerName: message.brokerName,
    queueId: message.queueId,
    queueOffset: message.queueOffset,
    msgId: message.msgId,
    bornTimestamp: message.bornTimestamp,
    storeTimestamp: message.storeTimestamp,
    properties: Object.fromEntries(message.properties),
    ...(isText ? { body: text } : { bodyBase64: body.toString("base64") }),
  };
  output.add(Buffer.from(`${JSON.stringify(line)}\n`));
  output.count++;
}

/** Gathers small writes, and waits when nobody takes them. */
class Output {
  bytes = 0;
  count = 0;
  /** Nobody reads any more: `| head` has what it wanted. */
  onBroken: () => void = () => {};
  readonly #stream: Writable;
  readonly #isFile: boolean;
  #pending: Buffer[] = [];
  #failure: Error | undefined;
  /** Several queues are copied at a time, and each waits for the stream. */
  #waiters: (() => void)[] = [];

  constructor(path: string | undefined) {
    this.#isFile = path !== undefined && path !== "-";
    this.#stream = this.#isFile ? createWriteStream(path!) : process.stdout;
    const resume = (): void => {
      for (const waiter of this.#waiters.splice(0)) waiter();
    };
    for (const event of ["drain", "close"]) this.#stream.on(event, resume);
    this.#stream.on("error", (error: NodeJS.ErrnoException) => {
      this.#failure = error.code === "EPIPE" ? undefined : error;
      this.onBroken();
    });
  }

  add(bytes: Buffer): void {
    this.#pending.push(bytes);
    this.bytes += bytes.length;
  }

  /** Rejects with MILLRACE_STORE_IO when the file cannot be written. */
  async drained(): Promise<void> {
    if (this.#pending.length > 0) {
      const pending = Buffer.concat(this.#pending);
      this.#pending = [];
      if (!this.#stream.write(pending) && !this.#stream.destroyed) {
        await new Promise<void>((resolve) => this.#waiters.push(resolve));
      }
    }
    this.#check();
  }

  async end(): Promise<void> {
    await this.drained();
    if (this.#isFile && !this.#stream.destroyed) await new Promise<void>((resolve) => this.#stream.end(resolve));
    this.#check();
  }

  #check(): void {
    if (this.#failure !== undefined) throw new MillraceError("MILLRACE_STORE_IO", `cannot write: ${this.#failure.message}`, {});
  }
}
