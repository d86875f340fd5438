import type { GatherWriter, StoreFile } from "../../os/api.ts";
import type { QueueReader } from "../../store/queue/queue-reader.ts";
import type { IoConnection } from "../io-connection.ts";
import type { KeptBuffers } from "../kept-buffers.ts";

/** From so many bytes on they leave at once, so that the client reads these while the next ones are prepared. */
const FULL_SIZE = 65_536;

/**
 * Answers to pulls of one connection that leave with one call, straight from the mapped log: a client with several pulls in flight is
 * woken once for them. What is open leaves when another connection has an answer, when it is enough, and at the end of the turn at
 * the latest: no file may be closed before. What a full socket does not take is copied, for the stream to send later.
 * One instance an I/O worker.
 */
export class GatheredAnswers {
  readonly #gather: GatherWriter;
  readonly #buffers: KeptBuffers;
  #connection: IoConnection | undefined;
  /** Where the next head goes in `#gather.scratch`. */
  #scratchUsed = 0;
  #size = 0;
  /** Of each part its file, or undefined for one in `#gather.scratch`, and its place there. */
  readonly #files: (StoreFile | undefined)[];
  readonly #positions: Float64Array;
  readonly #sizes: Float64Array;
  #count = 0;

  constructor(gather: GatherWriter, buffers: KeptBuffers) {
    this.#gather = gather;
    this.#buffers = buffers;
    this.#files = new Array(gather.partsMax).fill(undefined);
    this.#positions = new Float64Array(gather.partsMax);
    this.#sizes = new Float64Array(gather.partsMax);
  }

  /** For heads. */
  get scratch(): Buffer {
    return this.#gather.scratch;
  }

  /**
   * Makes room for one answer; what is open of others leaves, if need be.
   * @returns where its head is to be written in `scratch`, at most headSizeMax bytes; -1: it cannot go this way
   */
  begin(connection: IoConnection, headSizeMax: number, partCount: number): number {
    const { scratch, partsMax } = this.#gather;
    if (partCount >= partsMax || headSizeMax > scratch.length || connection.directFd() < 0) {
      if (this.#connection === connection) this.flush(); // First come, first answered.
      return -1;
    }
    const hasRoom = this.#count + partCount < partsMax && this.#scratchUsed + headSizeMax <= scratch.length;
    if (this.#connection !== connection || !hasRoom) this.flush();
    if (this.#connection === undefined) {
      this.#connection = connection;
      this.#gather.reset();
    }
    return this.#scratchUsed;
  }

  /** The head that stands where `begin` said, and the records that `reader` has picked. */
  add(headSize: number, reader: QueueReader): void {
    const gather = this.#gather;
    gather.addScratch(this.#scratchUsed, headSize);
    this.#note(undefined, this.#scratchUsed, headSize);
    this.#scratchUsed += headSize;
    const { files, positions, sizes, partCount } = reader;
    for (let i = 0; i < partCount; i++) {
      gather.addFile(files[i]!, positions[i]!, sizes[i]!);
      this.#note(files[i], positions[i]!, sizes[i]!);
    }
    if (this.#size >= FULL_SIZE) this.flush();
  }

  #note(file: StoreFile | undefined, position: number, size: number): void {
    this.#files[this.#count] = file;
    this.#positions[this.#count] = position;
    this.#sizes[this.#count++] = size;
    this.#size += size;
  }

  /** What is open leaves now. */
  flush(): void {
    const connection = this.#connection;
    if (connection === undefined) return;
    const size = this.#size;
    if (size > 0 && !connection.isClosed && !connection.socket.destroyed) {
      const fd = connection.directFd(); // -1: something else did not fit into the socket meanwhile.
      const sent = fd < 0 ? 0 : this.#gather.write(fd);
      if (sent < 0) connection.socket.destroy();
      else if (sent < size) this.#leaveRest(connection, sent);
    }
    this.#connection = undefined;
    this.#scratchUsed = 0;
    this.#size = 0;
    this.#files.fill(undefined, 0, this.#count);
    this.#count = 0;
  }

  #leaveRest(connection: IoConnection, sent: number): void {
    const rest = this.#buffers.take(this.#size - sent);
    let at = 0;
    let skip = sent;
    for (let i = 0; i < this.#count; i++) {
      const size = this.#sizes[i]!;
      const from = Math.min(skip, size);
      skip -= from;
      if (from === size) continue;
      const position = this.#positions[i]! + from;
      const file = this.#files[i];
      if (file === undefined) this.#gather.scratch.copy(rest, at, position, position + size - from);
      else file.read(position, rest, at, size - from);
      at += size - from;
    }
    connection.writeStream(rest.subarray(0, at), () => this.#buffers.give(rest));
  }
}
