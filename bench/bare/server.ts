// The least that a program on this machine can do for the same requests: no store, no queues, no checks. It answers the raw
// generator, one request after the other, with blocking writes on one thread.
//   pull: so many records of a file in the page cache, by writev (each record apart, as they lie in a log of many queues), or by
//         sendfile (one stretch)
//   send: all that comes is written to a file, and each request is answered
import { closeSync, mkdirSync, openSync, rmSync, writeSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import { join } from "node:path";
import koffi from "koffi";
import type { GatherWriter, SocketPoller, StoreFile } from "../../src/os/api.ts";
import { ffiDrive } from "../../src/os/ffi.ts";
import { TOKEN_MIN } from "../wire/protocol.ts";

/** What the program is told, as JSON in its only argument. */
export interface BareJob {
  kind: "writev" | "sendfile" | "store";
  /** It serves so many, and ends when they are gone. */
  connections: number;
  directory: string;
  /** Of an answer to a pull. */
  records: number;
  recordSize: number;
}

/** Records of other queues between two of one, and how many there are. */
const QUEUES = 8;
const FILE_SIZE = 268_435_456;
/** A store goes on in a new file, so that its pages are new ones, as a log's are. */
const STORED_MAX = 1_073_741_824;
const INPUT_SIZE = 1_048_576;
/** A request's header ends so, for every request of the generator. */
const REQUEST_END = `${TOKEN_MIN},"serializeTypeCurrentRPC":"JSON","version":513}`;
const TOKEN_SIZE = String(TOKEN_MIN).length;
const F_GETFL = 3;
const F_SETFL = 4;
const O_NONBLOCK = 0x800;
const fcntl = koffi.load(null).func("int fcntl(int fd, int command, int argument)");

/** Answers requests of one connection: those that are whole in [start, end); returns where the first that is not begins. */
class BareConnection {
  readonly fd: number;
  isOpen = true;
  readonly #rest: Buffer = Buffer.alloc(INPUT_SIZE);
  #restSize = 0;

  constructor(fd: number) {
    this.fd = fd;
  }

  /** Calls `request` with the place of each whole request in its bytes. */
  take(input: Buffer, size: number, request: (bytes: Buffer, at: number) => void): void {
    let at = 0;
    if (this.#restSize > 0) {
      // Of a request that was cut off the rest comes first.
      while (this.#restSize < 8 && at < size) this.#rest[this.#restSize++] = input[at++]!;
      if (this.#restSize < 8) return;
      const missing = Math.min(4 + this.#rest.readUInt32BE(0) - this.#restSize, size - at);
      input.copy(this.#rest, this.#restSize, at, at + missing);
      this.#restSize += missing;
      at += missing;
      if (this.#restSize < 4 + this.#rest.readUInt32BE(0)) return;
      request(this.#rest, 0);
      this.#restSize = 0;
    }
    while (size - at >= 8) {
      const frameSize = 4 + input.readUInt32BE(at);
      if (frameSize > size - at) break;
      request(input, at);
      at += frameSize;
    }
    input.copy(this.#rest, 0, at, size);
    this.#restSize = size - at;
  }
}

class BareServer {
  readonly #job: BareJob;
  readonly #poller: SocketPoller = ffiDrive.socketPoller(INPUT_SIZE)!;
  readonly #writer: GatherWriter = ffiDrive.gatherWriter()!;
  readonly #connections: BareConnection[] = [];
  readonly #file: StoreFile;
  readonly #answer: Buffer;
  readonly #tokenAt: number;
  #position = 0;
  #stored = 0;
  #storeFd = -1;
  #staged = 0;
  #fd = -1;

  constructor(job: BareJob) {
    this.#job = job;
    mkdirSync(job.directory, { recursive: true });
    const size = job.kind === "store" ? 65_536 : FILE_SIZE;
    this.#file = ffiDrive.openFile(join(job.directory, `records-${process.pid}`), { size, writable: true });
    if (job.kind !== "store") {
      const block = Buffer.alloc(1_048_576, "r");
      for (let at = 0; at < size; at += block.length) this.#file.write(at, block, 0, block.length);
      for (let at = 0; at < size; at += 4096) this.#position += this.#file.mapped![at]!; // The mapping's pages are there.
      this.#position = 0;
    }
    const fields = '"extFields":{"nextBeginOffset":"32","minOffset":"0","maxOffset":"99","suggestWhichBrokerId":"0"}';
    const text = `{"code":0,"flag":1,"language":"JAVA","version":513,${fields},"opaque":${TOKEN_MIN}}`;
    this.#answer = Buffer.alloc(8 + text.length);
    const body = job.kind === "store" ? 0 : job.records * job.recordSize;
    this.#answer.writeUInt32BE(4 + text.length + body, 0);
    this.#answer.writeUInt32BE(text.length, 4);
    this.#answer.write(text, 8);
    this.#tokenAt = this.#answer.length - 1 - TOKEN_SIZE;
    this.#answer.copy(this.#writer.scratch);
  }

  adopt(socket: Socket): void {
    const { fd } = (socket as unknown as { _handle: { fd: number } })._handle;
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL, 0) & ~O_NONBLOCK);
    socket.setNoDelay(true);
    this.#poller.add(fd, this.#connections.length);
    this.#connections.push(new BareConnection(fd));
  }

  get count(): number {
    return this.#connections.length;
  }

  /** Until all connections are gone; the thread does nothing else. */
  run(): void {
    const { kind } = this.#job;
    const request = { writev: this.#onPull, sendfile: this.#onPullStretch, store: this.#onSend }[kind];
    let open = this.#connections.length;
    while (open > 0) {
      const count = this.#poller.wait(1000);
      for (let i = 0; i < count; i++) {
        const connection = this.#connections[this.#poller.tag(i)]!;
        if (!connection.isOpen) continue;
        this.#fd = connection.fd;
        const size = this.#poller.read(connection.fd);
        if (size < 0) {
          this.#poller.remove(connection.fd);
          connection.isOpen = false;
          open--;
          continue;
        }
        if (kind === "store") this.#store(size);
        connection.take(this.#poller.input, size, request);
        if (this.#staged > 0) this.#flush();
      }
    }
    this.#file.close();
    rmSync(this.#file.path);
    if (this.#storeFd >= 0) closeSync(this.#storeFd);
  }

  /** @returns where the request's token stands */
  #token(bytes: Buffer, at: number): number {
    return at + 8 + (bytes.readUInt32BE(at + 4) & 0xff_ffff) - REQUEST_END.length;
  }

  readonly #onPull = (bytes: Buffer, at: number): void => {
    const writer = this.#writer;
    const { records, recordSize } = this.#job;
    const token = this.#token(bytes, at);
    bytes.copy(writer.scratch, this.#tokenAt, token, token + TOKEN_SIZE);
    writer.reset();
    writer.addScratch(0, this.#answer.length);
    let position = this.#next(records * recordSize * QUEUES);
    for (let i = 0; i < records; i++, position += recordSize * QUEUES) writer.addFile(this.#file, position, recordSize);
    writer.write(this.#fd);
  };

  readonly #onPullStretch = (bytes: Buffer, at: number): void => {
    const writer = this.#writer;
    const size = this.#job.records * this.#job.recordSize;
    const token = this.#token(bytes, at);
    bytes.copy(writer.scratch, this.#tokenAt, token, token + TOKEN_SIZE);
    writer.reset();
    writer.addScratch(0, this.#answer.length);
    writer.write(this.#fd);
    const position = this.#next(size);
    for (let done = 0; done < size; ) {
      const sent = writer.sendFile(this.#fd, this.#file, position + done, size - done);
      if (sent <= 0) return;
      done += sent;
    }
  };

  readonly #onSend = (bytes: Buffer, at: number): void => {
    const { scratch } = this.#writer;
    if (this.#staged + this.#answer.length > scratch.length) this.#flush();
    const token = this.#token(bytes, at);
    this.#answer.copy(scratch, this.#staged);
    bytes.copy(scratch, this.#staged + this.#tokenAt, token, token + TOKEN_SIZE);
    this.#staged += this.#answer.length;
  };

  #flush(): void {
    this.#writer.reset();
    this.#writer.addScratch(0, this.#staged);
    this.#writer.write(this.#fd);
    this.#staged = 0;
  }

  #next(size: number): number {
    if (this.#position + size > FILE_SIZE) this.#position = 0;
    const position = this.#position;
    this.#position += size;
    return position;
  }

  #store(size: number): void {
    if (this.#storeFd < 0 || this.#stored > STORED_MAX) {
      if (this.#storeFd >= 0) closeSync(this.#storeFd);
      const path = join(this.#job.directory, `stored-${process.pid}`);
      this.#storeFd = openSync(path, "w");
      rmSync(path); // It is gone with its descriptor.
      this.#stored = 0;
    }
    writeSync(this.#storeFd, this.#poller.input, 0, size);
    this.#stored += size;
  }
}

const job = JSON.parse(process.argv[2]!) as BareJob;
const server = new BareServer(job);
const listener = createServer({ pauseOnConnect: true }, (socket) => {
  server.adopt(socket);
  if (server.count < job.connections) return;
  listener.close();
  // Not before the sockets are set up; from then on the event loop stands still.
  setImmediate(() => {
    server.run();
    process.exit(0);
  });
});
listener.listen(0, "127.0.0.1", () => process.stdout.write(`port ${(listener.address() as { port: number }).port}\n`));
