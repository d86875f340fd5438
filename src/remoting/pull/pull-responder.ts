import { ResponseCode } from "../../format/remoting/remoting-codes.ts";
import { decodeCommand, encodeCommand, response } from "../../format/remoting/remoting-command.ts";
import { PULL_RESPONSE_SIZE_MAX, writePullResponse } from "../../format/remoting/send-response.ts";
import {
  COUNTER_BYTES_OUT,
  COUNTER_MESSAGES_OUT,
  COUNTER_PULLS_EMPTY,
  COUNTER_PULLS_FOUND,
} from "../../format/shared/io-counters.ts";
import type { GatherWriter } from "../../os/api.ts";
import type { QueueReader } from "../../store/queue/queue-reader.ts";
import { ANSWER_BUFFERS, KeptBuffers } from "../kept-buffers.ts";
import { GatheredAnswers } from "./gathered-answers.ts";
import type { PullRequest } from "./pull-path.ts";

/** From this size on one stretch of the log goes by sendfile; below it, gathered writes of mapped memory are cheaper. */
const SENDFILE_SIZE_MIN = 65_536;
/**
 * Up to this size, and in so few pieces, records are copied, and leave at the end of the turn with all else for their connection:
 * that costs a tenth of a call.
 */
const STAGED_SIZE_MAX = 8192;
const STAGED_PARTS_MAX = 4;
/** What is staged leaves when it is so much, bytes. */
const STAGE_FULL_SIZE = 32_768;

/**
 * Writes the answers to pulls. Where the drive can, records go from the mapped log (or the page cache) straight
 * to the socket; only what a full socket does not take is copied, for the stream to send later.
 * One instance an I/O worker.
 */
export class PullResponder {
  readonly #gather: GatherWriter | undefined;
  /** Undefined where the drive cannot. */
  readonly #gathered: GatheredAnswers | undefined;
  readonly #buffers = new KeptBuffers(ANSWER_BUFFERS);
  readonly #counters: Float64Array;
  readonly #reader: QueueReader;

  /**
   * @param gather  for what is written at once
   * @param together  another one, for what waits until it is written
   * @param reader for records that the control thread has chosen
   */
  constructor(
    gather: GatherWriter | undefined,
    together: GatherWriter | undefined,
    counters: SharedArrayBuffer,
    reader: QueueReader,
  ) {
    this.#gather = gather;
    this.#gathered = together === undefined ? undefined : new GatheredAnswers(together, this.#buffers);
    this.#reader = reader;
    this.#counters = new Float64Array(counters);
  }

  /** An answer without messages; leaves with the connection's next flush. */
  empty(
    { connection, opaque, topic, groupSysFlag }: PullRequest,
    code: number,
    remark: string,
    next: number,
    min: number,
    max: number,
  ): void {
    if (connection.isClosed) return;
    this.#counters[COUNTER_PULLS_EMPTY]!++;
    connection.reserve(PULL_RESPONSE_SIZE_MAX);
    connection.staged = writePullResponse(
      connection.stage,
      connection.staged,
      code,
      opaque,
      remark,
      0,
      next,
      min,
      max,
      topic.topicSysFlag,
      groupSysFlag,
      0,
    );
    connection.markStaged();
  }

  /** The messages that `reader` has picked. */
  found(request: PullRequest, reader: QueueReader, min: number, max: number): void {
    const { connection } = request;
    if (connection.isClosed) return;
    const size = reader.totalSize;
    this.#counters[COUNTER_PULLS_FOUND]!++;
    this.#counters[COUNTER_MESSAGES_OUT]! += reader.messageCount;
    this.#counters[COUNTER_BYTES_OUT]! += size;
    connection.noteAnswered(size);
    if (size <= STAGED_SIZE_MAX && reader.partCount <= STAGED_PARTS_MAX) {
      this.#stage(request, reader, min, max);
      return;
    }
    connection.flush(); // Earlier answers first: the direct way must find the stream empty.
    if (reader.partCount === 1 && size >= SENDFILE_SIZE_MIN && this.#sendFile(request, reader, min, max)) return;
    const gathered = this.#gathered;
    const at = gathered === undefined ? -1 : gathered.begin(connection, PULL_RESPONSE_SIZE_MAX, reader.partCount);
    if (at >= 0) {
      gathered!.add(writeFound(gathered!.scratch, at, request, reader, min, max) - at, reader);
      return;
    }
    const frame = this.#buffers.take(PULL_RESPONSE_SIZE_MAX + size);
    const end = writeFound(frame, 0, request, reader, min, max);
    reader.copyTo(frame, end);
    this.#queue(connection, frame, end + size);
  }

  /** The end of the turn, or of the files that answers come from: those that wait to leave together do. */
  flush(): void {
    this.#gathered?.flush();
  }

  /** Messages of several queues that come in one turn often go to one client. */
  #stage(request: PullRequest, reader: QueueReader, min: number, max: number): void {
    const { connection } = request;
    connection.reserve(PULL_RESPONSE_SIZE_MAX + reader.totalSize);
    const at = writeFound(connection.stage, connection.staged, request, reader, min, max);
    reader.copyTo(connection.stage, at);
    connection.staged = at + reader.totalSize;
    if (connection.staged >= STAGE_FULL_SIZE) connection.flush();
    else connection.markStaged();
  }

  /**
   * An answer whose records the control thread has chosen, and whose head it has made.
   * @param frame without a body; is given its length here
   */
  records(
    connection: PullRequest["connection"],
    { frame, records }: { frame: Uint8Array<ArrayBuffer>; records: Float64Array },
  ): void {
    const reader = this.#reader;
    if (connection.isClosed) return;
    const head = Buffer.from(frame.buffer);
    if (!reader.take(records)) {
      const refusal = response(decodeCommand(head), ResponseCode.SYSTEM_ERROR, "the messages have just been deleted: try again");
      connection.write(encodeCommand(refusal));
      return;
    }
    const size = reader.totalSize;
    this.#counters[COUNTER_PULLS_FOUND]!++;
    this.#counters[COUNTER_MESSAGES_OUT]! += reader.messageCount;
    this.#counters[COUNTER_BYTES_OUT]! += size;
    head.writeUInt32BE(head.length - 4 + size, 0);
    connection.noteAnswered(size);
    connection.flush();
    const gathered = this.#gathered;
    const at = gathered === undefined ? -1 : gathered.begin(connection, head.length, reader.partCount);
    if (at >= 0) {
      head.copy(gathered!.scratch, at);
      gathered!.add(head.length, reader);
      return;
    }
    const answer = this.#buffers.take(head.length + size);
    head.copy(answer);
    reader.copyTo(answer, head.length);
    this.#queue(connection, answer, head.length + size);
  }

  /** @returns false if that way is not open */
  #sendFile(request: PullRequest, reader: QueueReader, min: number, max: number): boolean {
    const { connection } = request;
    this.flush();
    const gather = this.#gather;
    const fd = gather === undefined ? -1 : connection.directFd();
    if (fd < 0) return false;
    const headSize = writeFound(gather!.scratch, 0, request, reader, min, max);
    const sent = sendStretch(gather!, fd, headSize, reader);
    if (sent < 0) connection.socket.destroy();
    else if (sent < headSize + reader.totalSize) this.#sendRest(connection, gather!, headSize, reader, sent);
    return true;
  }

  /** Copies what the socket did not take and leaves it to the stream. */
  #sendRest(
    connection: PullRequest["connection"],
    gather: GatherWriter,
    headSize: number,
    reader: QueueReader,
    sent: number,
  ): void {
    const rest = this.#buffers.take(headSize + reader.totalSize - sent);
    const at = sent < headSize ? gather.scratch.copy(rest, 0, sent, headSize) : 0;
    const from = Math.max(0, sent - headSize);
    const size = reader.sizes[0]! - from;
    reader.files[0]!.read(reader.positions[0]! + from, rest, at, size);
    this.#queue(connection, rest, at + size);
  }

  /** Leaves buffer[0, size) to the stream. */
  #queue(connection: PullRequest["connection"], buffer: Buffer, size: number): void {
    connection.writeStream(buffer.subarray(0, size), () => this.#buffers.give(buffer));
  }
}

/** The head that stands in the scratch memory, and the only stretch. @returns bytes that the socket took; -1: it is broken */
function sendStretch(gather: GatherWriter, fd: number, headSize: number, reader: QueueReader): number {
  gather.reset();
  gather.addScratch(0, headSize);
  let sent = gather.write(fd);
  if (sent < headSize) return sent;
  const size = reader.sizes[0]!;
  for (let done = 0; done < size; ) {
    const count = gather.sendFile(fd, reader.files[0]!, reader.positions[0]! + done, size - done);
    if (count < 0) return count;
    if (count === 0) break;
    done += count;
    sent += count;
  }
  return sent;
}

/** The answer but for its messages. @returns where they are to stand */
function writeFound(
  target: Buffer,
  at: number,
  { opaque, topic, groupSysFlag }: PullRequest,
  { nextOffset, totalSize }: QueueReader,
  min: number,
  max: number,
): number {
  const { SUCCESS } = ResponseCode;
  const { topicSysFlag } = topic;
  return writePullResponse(target, at, SUCCESS, opaque, "FOUND", 0, nextOffset, min, max, topicSysFlag, groupSysFlag, totalSize);
}
