import { createReadStream, statSync } from "node:fs";
import type { Readable } from "node:stream";
import { SystemClock } from "../base/clock.ts";
import { MillraceError } from "../base/errors.ts";
import { type OutgoingMessage } from "../client/produce/outgoing-message.ts";
import { Producer } from "../client/produce/producer.ts";
import { type FieldReader, fieldReader, type LineFormat } from "./line-fields.ts";
import { messageOfLine } from "./line-message.ts";
import { type Line, LineSplitter } from "./line-splitter.ts";
import { LINE_NUMBER } from "./merge-by-line.ts";
import { formatBytes, formatCount, Progress } from "./progress.ts";
import { wholeNumber } from "./whole-number.ts";

export interface IngestFlags {
  topic: string;
  namesrv: string;
  format: LineFormat;
  keyField?: string;
  queueBy: string;
  tag?: string;
  queues: string;
  split?: boolean;
  numberLines?: boolean;
  quiet?: boolean;
}

const BATCH_SIZE = 262_144;
const LINGER_MS = 5;
const BUFFER_MEMORY = 67_108_864;
const READ_SIZE = 1_048_576;
/** RocketMQ's limit of a message's body is 4 MiB; a batch of one line has its frame and properties beside it. */
const LINE_SIZE_MAX: number = 4_194_304 - 4096;
/** Beyond this a key is of no use for looking anything up. */
const KEY_SIZE_MAX = 255;

/** What became of the lines of one queue. */
interface QueueCount {
  acknowledged: number;
  lastOffset: number;
}

/**
 * `millrace ingest`: sends a file, or standard input, line by line to a topic, byte for byte. Ends with code 0
 * only if every line was acknowledged, in order in each queue.
 */
export async function ingest(file: string | undefined, flags: IngestFlags): Promise<void> {
  const clock = new SystemClock();
  const route = routeOf(flags);
  const producer = new Producer({
    namesrvAddr: flags.namesrv,
    group: "millrace-ingest",
    batchSize: BATCH_SIZE,
    lingerMs: LINGER_MS,
    bufferMemory: BUFFER_MEMORY,
    retries: 10,
    defaultTopicQueueNums: wholeNumber("--queues", flags.queues, 1, 1024),
    header: "binary",
  });
  const { stream, size } = openInput(file);
  const tally = new Tally();
  const state = { bytes: 0, count: 0 };
  await producer.start();
  const progress = new Progress(
    "ingest",
    "lines",
    size === undefined ? {} : { bytes: size },
    () => state,
    flags.quiet === true ? { write() {} } : process.stderr,
    clock,
  );
  try {
    const splitter = new LineSplitter(LINE_SIZE_MAX, flags.split === true);
    const sendAll = async (lines: Iterable<Line>): Promise<void> => {
      for (const line of lines) {
        const message = route.messageOf(line, splitter.lineNumber);
        while (!producer.sendBuffered(message, tally.callback)) await producer.drained();
        tally.sent++;
        if (line.isEnded) state.count++;
        if (tally.failure !== undefined) throw tally.failure;
      }
    };
    for await (const chunk of stream as AsyncIterable<Buffer>) {
      await sendAll(splitter.push(chunk));
      state.bytes += chunk.length;
    }
    await sendAll(splitter.end());
    await producer.flush();
  } finally {
    progress.end();
    stream.destroy();
    await producer.close();
  }
  if (tally.failure !== undefined) throw tally.failure;
  tally.check();
  const seconds = progress.elapsedMs / 1000;
  const shares = tally.shares().map(([queue, { acknowledged }]) => `${queue}: ${formatCount(acknowledged)}`);
  process.stdout.write(
    `${formatCount(state.count)} lines, ${formatBytes(state.bytes)} in ${seconds.toFixed(1)} s: ` +
      `${formatCount(tally.acknowledged)} of ${formatCount(tally.sent)} messages acknowledged, in order in each queue\n` +
      `${route.describe()}${shares.join(", ")}\n`,
  );
}

/** Counts acknowledgements as they come, and remembers the first thing that went wrong. */
class Tally {
  sent = 0;
  acknowledged = 0;
  failure: Error | undefined;
  readonly #queues = new Map<string, QueueCount>();

  /** One function for all lines: a closure for each would be most of the work. */
  readonly callback = (error: Error | undefined, queueOffset: number, queueId: number, brokerName: string): void => {
    if (error !== undefined) {
      this.failure ??= error;
      return;
    }
    const name = `${brokerName}/${queueId}`;
    let queue = this.#queues.get(name);
    if (queue === undefined) {
      queue = { acknowledged: 0, lastOffset: -1 };
      this.#queues.set(name, queue);
    }
    if (queueOffset <= queue.lastOffset) {
      this.failure ??= new MillraceError(
        "MILLRACE_REQUEST_FAILED",
        `queue ${name} gave offset ${queueOffset} to a line after one with offset ${queue.lastOffset}: the order is lost`,
        { queueId, queueOffset },
      );
    }
    queue.lastOffset = queueOffset;
    queue.acknowledged++;
    this.acknowledged++;
  };

  check(): void {
    if (this.acknowledged === this.sent) return;
    const { sent, acknowledged } = this;
    throw new MillraceError("MILLRACE_REQUEST_FAILED", `only ${acknowledged} of ${sent} messages were acknowledged`, {
      sent,
      acknowledged,
    });
  }

  shares(): [string, QueueCount][] {
    return [...this.#queues].sort(([a], [b]) => a.localeCompare(b, "en", { numeric: true }));
  }
}

interface Route {
  messageOf(line: Line, lineNumber: number): OutgoingMessage;
  describe(): string;
}

/** Which queue and which properties a line gets. @throws MillraceError MILLRACE_CONFIG_INVALID */
function routeOf(flags: IngestFlags): Route {
  const { topic, tag, queueBy, keyField } = flags;
  const readKey: FieldReader | undefined = keyField === undefined ? undefined : fieldReader(flags.format, keyField);
  const isByKey = queueBy === "key";
  if (isByKey && readKey === undefined) throw needsKeyField();
  const queueId =
    isByKey || queueBy === "round-robin" ? undefined : wholeNumber("--queue-by", queueBy, 0, 65_535, "key, round-robin or ");
  let keyless = 0;
  return {
    messageOf(line, lineNumber) {
      const message: OutgoingMessage = { topic, ...messageOfLine(line) };
      if (tag !== undefined) message.tags = tag;
      if (queueId !== undefined) message.queueId = queueId;
      if (flags.numberLines === true) message.properties = { ...message.properties, [LINE_NUMBER]: String(lineNumber) };
      if (readKey === undefined) return message;
      const key = cleanKey(readKey(line.bytes.toString("utf8")));
      if (key === "") keyless++;
      else message.keys = key;
      // Lines without the field keep their order too: all in one queue.
      if (isByKey) message.orderKey = key;
      return message;
    },
    describe: () => (readKey === undefined ? "" : `${formatCount(keyless)} lines without field ${keyField}; `),
  };
}

/** Separators of properties and of keys have no place in a key. */
function cleanKey(key: string | undefined): string {
  return (key ?? "")
    .replaceAll(/[\s\p{Cc}]+/gu, "_")
    .slice(0, KEY_SIZE_MAX)
    .toWellFormed();
}

function needsKeyField(): MillraceError {
  return new MillraceError("MILLRACE_CONFIG_INVALID", "--queue-by key needs --key-field", {});
}

/** @throws MillraceError MILLRACE_CONFIG_INVALID: the file cannot be read */
function openInput(file: string | undefined): { stream: Readable; size: number | undefined } {
  if (file === undefined || file === "-") return { stream: process.stdin, size: undefined };
  try {
    const stat = statSync(file);
    if (stat.isDirectory()) throw new Error("it is a directory");
    return { stream: createReadStream(file, { highWaterMark: READ_SIZE }), size: stat.isFile() ? stat.size : undefined };
  } catch (error) {
    throw new MillraceError("MILLRACE_CONFIG_INVALID", `cannot read ${file}: ${(error as Error).message}`, { file }, error);
  }
}
