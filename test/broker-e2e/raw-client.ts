// One plain socket to a broker, past all that a client library would check or hide.
import net from "node:net";
import { FrameReader } from "../../src/client/connection/frame-reader.ts";
import {
  decodeCommand,
  encodeCommand,
  type HeaderValues,
  isResponse,
  type RemotingCommand,
  request,
} from "../../src/format/remoting/remoting-command.ts";
import { SERIALIZE_JSON } from "../../src/format/remoting/remoting-frame.ts";

export interface AskOptions {
  /** SERIALIZE_JSON (default) or SERIALIZE_ROCKETMQ. */
  type?: number;
  flag?: number;
  version?: number;
  timeoutMs?: number;
}

const TIMEOUT_MS = 30_000;

interface Waiter {
  resolve: (answer: RemotingCommand) => void;
  reject: (error: Error) => void;
  timer: NodeJS.Timeout;
}

export class RawClient {
  readonly socket: net.Socket;
  /** Resolves when the connection has ended, whoever ended it. */
  readonly closed: Promise<void>;
  /** Requests that the broker has sent us. */
  readonly requests: RemotingCommand[] = [];
  /** Opaques of the answers in the order in which they came. */
  readonly answered: number[] = [];
  /** Serialize type of the last frame that came. */
  lastType = -1;
  readonly #waiters = new Map<number, Waiter>();
  #nextOpaque = 1;

  static async connect(address: string): Promise<RawClient> {
    const [host, port] = address.split(":");
    const socket = net.connect({ host: host!, port: Number(port), noDelay: true });
    await new Promise<void>((resolve, reject) => {
      socket.once("connect", resolve).once("error", reject);
    });
    return new RawClient(socket);
  }

  private constructor(socket: net.Socket) {
    this.socket = socket;
    const reader = new FrameReader((bytes, start, end) => this.#onFrame(Buffer.from(bytes.subarray(start, end))));
    socket.on("data", (chunk: Buffer) => reader.push(chunk, chunk.length));
    socket.on("error", () => {});
    this.closed = new Promise((resolve) => {
      socket.once("close", () => {
        resolve();
        for (const [opaque, waiter] of this.#waiters)
          this.#settle(opaque, () => waiter.reject(new Error("the connection was closed")));
      });
    });
  }

  /** Sends one request. The Promise is rejected when the connection ends or nothing comes within the time. */
  ask(code: number, header: HeaderValues = {}, body?: Buffer, options: AskOptions = {}): Promise<RemotingCommand> {
    const { frame, opaque } = this.frame(code, header, body, options);
    const answer = this.answer(opaque, options.timeoutMs);
    this.socket.write(frame);
    return answer;
  }

  /** The bytes of a request with an opaque of its own. */
  frame(code: number, header: HeaderValues = {}, body?: Buffer, options: AskOptions = {}): { frame: Buffer; opaque: number } {
    const opaque = this.#nextOpaque++;
    const command = request(code, opaque, header, body);
    command.flag = options.flag ?? 0;
    if (options.version !== undefined) command.version = options.version;
    return { frame: encodeCommand(command, options.type ?? SERIALIZE_JSON), opaque };
  }

  answer(opaque: number, timeoutMs: number = TIMEOUT_MS): Promise<RemotingCommand> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#settle(opaque, () => reject(new Error(`request ${opaque}: no answer within ${timeoutMs} ms`)));
      }, timeoutMs);
      this.#waiters.set(opaque, { resolve, reject, timer });
    });
  }

  #onFrame(frame: Buffer): void {
    this.lastType = frame[4]!;
    const command = decodeCommand(frame);
    if (!isResponse(command)) {
      this.requests.push(command);
      return;
    }
    this.answered.push(command.opaque);
    const waiter = this.#waiters.get(command.opaque);
    if (waiter !== undefined) this.#settle(command.opaque, () => waiter.resolve(command));
  }

  #settle(opaque: number, how: () => void): void {
    const waiter = this.#waiters.get(opaque);
    if (waiter === undefined) return;
    this.#waiters.delete(opaque);
    clearTimeout(waiter.timer);
    how();
  }

  close(): void {
    this.socket.destroy();
  }
}
