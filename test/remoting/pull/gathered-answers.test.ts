// Goal: answers that leave together are, byte by byte, those that would have left apart, on whatever socket; records are touched within their bounds.
// Method: made-up log and sockets that take as much as they are told to.
import test from "ava";
import type { GatherWriter, StoreFile } from "../../../src/os/api.ts";
import type { IoConnection } from "../../../src/remoting/io-connection.ts";
import { ANSWER_BUFFERS, KeptBuffers } from "../../../src/remoting/kept-buffers.ts";
import { GatheredAnswers } from "../../../src/remoting/pull/gathered-answers.ts";
import { touchRecords } from "../../../src/remoting/pull/touch-records.ts";
import type { QueueReader } from "../../../src/store/queue/queue-reader.ts";

const LOG = Buffer.from(Array.from({ length: 4096 }, (_, i) => (i * 7 + (i >> 8)) & 0xff));

function fileOf(bytes: Buffer): StoreFile {
  const read: StoreFile["read"] = (position, target, start, size) => {
    bytes.copy(target, start, position, position + size);
  };
  return { size: bytes.length, mapped: bytes, read } as StoreFile;
}

const log = fileOf(LOG);

function picked(...stretches: readonly [position: number, size: number][]): QueueReader {
  const totalSize = stretches.reduce((sum, [, size]) => sum + size, 0);
  return {
    files: stretches.map(() => log),
    positions: Float64Array.from(stretches, ([position]) => position),
    sizes: Float64Array.from(stretches, ([, size]) => size),
    partCount: stretches.length,
    totalSize,
  } as unknown as QueueReader;
}

/** Sockets that take `room` bytes in all, by descriptor. */
class Sockets implements GatherWriter {
  readonly scratch: Buffer = Buffer.alloc(256);
  readonly partsMax: number;
  readonly writes: { fd: number; bytes: Buffer }[] = [];
  room = Number.POSITIVE_INFINITY;
  isBroken = false;
  #parts: Buffer[] = [];

  constructor(partsMax = 16) {
    this.partsMax = partsMax;
  }

  reset(): void {
    this.#parts = [];
  }

  addScratch(start: number, size: number): void {
    this.#parts.push(this.scratch.subarray(start, start + size));
  }

  addFile(file: StoreFile, position: number, size: number): void {
    this.#parts.push(file.mapped!.subarray(position, position + size));
  }

  write(fd: number): number {
    if (this.isBroken) return -1;
    const all = Buffer.concat(this.#parts);
    const bytes = all.subarray(0, Math.min(this.room, all.length));
    this.room -= bytes.length;
    this.writes.push({ fd, bytes });
    return bytes.length;
  }

  sendFile(): number {
    throw new Error("nobody asked for it");
  }
}

class Client {
  readonly stream: Buffer[] = [];
  isClosed = false;
  readonly socket = { destroyed: false, destroy: () => this.#destroy() };
  isFull = false;
  readonly #fd: number;

  constructor(fd: number) {
    this.#fd = fd;
  }

  #destroy(): void {
    this.socket.destroyed = true;
  }

  directFd(): number {
    return this.isFull ? -1 : this.#fd;
  }

  writeStream(bytes: Buffer, taken?: () => void): void {
    this.stream.push(Buffer.from(bytes));
    taken?.();
  }

  get connection(): IoConnection {
    return this as unknown as IoConnection;
  }
}

/** @returns the bytes of the answer; undefined: it was refused */
function answer(gathered: GatheredAnswers, client: Client, head: string, reader: QueueReader): Buffer | undefined {
  const at = gathered.begin(client.connection, 16, reader.partCount);
  if (at < 0) return undefined;
  gathered.add(gathered.scratch.write(head, at, "latin1"), reader);
  const body = Array.from(reader.positions, (position, i) => LOG.subarray(position, position + reader.sizes[i]!));
  return Buffer.concat([Buffer.from(head), ...body]);
}

test("answers of one connection leave together at the end of the turn, those of another one apart", (t) => {
  const sockets = new Sockets();
  const gathered = new GatheredAnswers(sockets, new KeptBuffers(ANSWER_BUFFERS));
  const [one, other] = [new Client(5), new Client(6)];
  const first = answer(gathered, one, "first", picked([0, 100], [300, 50]))!;
  const second = answer(gathered, one, "second", picked([1000, 10]))!;
  t.deepEqual(sockets.writes, []);
  const third = answer(gathered, other, "third", picked([77, 3]))!;
  t.deepEqual(sockets.writes, [{ fd: 5, bytes: Buffer.concat([first, second]) }]);
  gathered.flush();
  t.deepEqual(sockets.writes.slice(1), [{ fd: 6, bytes: third }]);
  gathered.flush();
  t.is(sockets.writes.length, 2);
});

test("what a full socket does not take is left to the stream, wherever it was cut", (t) => {
  for (let room = 0; ; room++) {
    const sockets = new Sockets();
    sockets.room = room;
    const gathered = new GatheredAnswers(sockets, new KeptBuffers(ANSWER_BUFFERS));
    const client = new Client(5);
    const first = answer(gathered, client, "first", picked([0, 20], [300, 9]))!;
    const second = answer(gathered, client, "second", picked([1000, 10]))!;
    gathered.flush();
    const all = Buffer.concat([first, second]);
    t.deepEqual(Buffer.concat([sockets.writes[0]!.bytes, ...client.stream]), all);
    t.is(client.stream.length, room < all.length ? 1 : 0);
    if (room > all.length) break;
  }
});

test("a stream that has got something meanwhile gets all of what is open; a connection that has gone nothing", (t) => {
  const sockets = new Sockets();
  const gathered = new GatheredAnswers(sockets, new KeptBuffers(ANSWER_BUFFERS));
  const client = new Client(5);
  const first = answer(gathered, client, "first", picked([0, 20]))!;
  client.isFull = true;
  t.is(answer(gathered, client, "second", picked([30, 20])), undefined);
  t.deepEqual(client.stream, [first], "before the second, which goes by the stream");
  const gone = new Client(6);
  answer(gathered, gone, "third", picked([0, 20]));
  gone.socket.destroyed = true;
  gathered.flush();
  t.deepEqual([sockets.writes.length, gone.stream.length], [0, 0]);
  const broken = new Client(7);
  sockets.isBroken = true;
  answer(gathered, broken, "fourth", picked([0, 20]));
  gathered.flush();
  t.true(broken.socket.destroyed);
  t.is(broken.stream.length, 0);
});

test("what finds no room sends the others first; more than fits at all goes another way; much goes at once", (t) => {
  const sockets = new Sockets(4);
  const gathered = new GatheredAnswers(sockets, new KeptBuffers(ANSWER_BUFFERS));
  const client = new Client(5);
  const first = answer(gathered, client, "first", picked([0, 1], [2, 1]))!;
  const second = answer(gathered, client, "second", picked([4, 1], [6, 1]))!;
  t.deepEqual(sockets.writes, [{ fd: 5, bytes: first }]);
  gathered.flush();
  t.deepEqual(sockets.writes[1], { fd: 5, bytes: second });
  t.is(answer(gathered, client, "third", picked([0, 1], [2, 1], [4, 1], [6, 1])), undefined);
  const roomy = new GatheredAnswers(sockets, new KeptBuffers(ANSWER_BUFFERS));
  t.truthy(answer(roomy, client, "heavy", picked([0, 65_536])));
  t.is(sockets.writes.length, 3);
  t.true(sockets.scratch.length < 17 * 16);
  const heads = new Sockets(1000);
  const many = new GatheredAnswers(heads, new KeptBuffers(ANSWER_BUFFERS));
  const all = Array.from({ length: 40 }, (_, i) => answer(many, client, `a head, ${10 + i}`, picked([i, 2]))!);
  many.flush();
  t.true(heads.writes.length > 1, "the scratch memory was full in between");
  t.deepEqual(Buffer.concat(heads.writes.map(({ bytes }) => bytes)), Buffer.concat(all));
});

test("touching looks at nothing but the records, of all of them at their first bytes", (t) => {
  const seen = new Set<number>();
  const mapped = new Proxy(LOG, {
    get: (target, key) => {
      seen.add(Number(key));
      return Reflect.get(target, key) as unknown;
    },
  });
  const file = { ...log, mapped };
  const stretches = Array.from({ length: 21 }, (_, i): [number, number] => [i * 190, 100 + (i % 5) * 20]);
  stretches.push([4095, 1]);
  const reader = picked(...stretches);
  for (let i = 0; i < reader.partCount; i++) reader.files[i] = file;
  touchRecords(reader);
  for (const [position] of stretches) t.true(seen.has(position), `${position}`);
  for (const place of seen)
    t.true(
      stretches.some(([position, size]) => place >= position && place < position + size),
      `${place}`,
    );
  seen.clear();
  touchRecords(picked([0, 1], [2, 1], [4, 1]));
  const unmapped: StoreFile = { ...log, mapped: undefined };
  for (let i = 0; i < reader.partCount; i++) reader.files[i] = unmapped;
  t.notThrows(() => touchRecords(reader));
  t.is(seen.size, 0);
});
