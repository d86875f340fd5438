import { type Answer, bodyOf, type WireProtocol, type WireShape } from "./protocol.ts";

/** XADD to one of `queues` streams, one message a command; batches are commands behind one another. */
export class RedisAdds implements WireProtocol {
  readonly messagesPerRequest = 1;
  readonly bodyBytesPerRequest: number;
  readonly targets: number;
  readonly tail: Buffer;
  readonly #heads: Buffer[];

  constructor({ topic, queues, size }: WireShape) {
    this.bodyBytesPerRequest = size;
    this.targets = queues;
    this.tail = Buffer.concat([Buffer.from(`$${size}\r\n`), bodyOf(size), Buffer.from("\r\n")]);
    this.#heads = Array.from({ length: queues }, (_, queue) => {
      const key = `${topic}-${queue}`;
      return Buffer.from(`*5\r\n$4\r\nXADD\r\n$${key.length}\r\n${key}\r\n$1\r\n*\r\n$1\r\nb\r\n`);
    });
  }

  head(queue: number): Buffer {
    return this.#heads[queue]!;
  }

  /** `$15\r\n1700000000000-0\r\n`, or `-ERR …\r\n` */
  answerSize(bytes: Buffer, start: number, end: number): number {
    const line = bytes.indexOf("\r\n", start, "latin1");
    if (line < 0 || line + 2 > end) return 0;
    if (bytes[start] !== 0x24) return line + 2 - start;
    const size = line + 2 - start + Number.parseInt(bytes.toString("latin1", start + 1, line), 10) + 2;
    return size <= end - start ? size : 0;
  }

  answer(bytes: Buffer, start: number, end: number, into: Answer): void {
    into.token = -1;
    into.isOk = bytes[start] === 0x24;
    into.remark = into.isOk ? "" : bytes.toString("latin1", start, end).trim();
  }
}
