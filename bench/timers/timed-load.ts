// Sends timed messages at full speed over one connection, from one frame whose few changing digits are put in anew.
import net from "node:net";
import { RequestCode, ResponseCode } from "../../src/format/remoting/remoting-codes.ts";
import { decodeCommand, encodeCommand, request } from "../../src/format/remoting/remoting-command.ts";

/** Of nine digits each, as all that follow: the frame keeps its size. */
const FIRST_OPAQUE = 100_000_000;
const TIME_MARK = "1000000000000";
const KEY_MARK = "K00000000";
const DEPTH = 256;

export interface TimedLoad {
  host: string;
  port: number;
  topic: string;
  queues: number;
  count: number;
  bodySize: number;
  /** When message `i` is due, ms since the epoch. */
  dueMs: (i: number) => number;
}

/** Resolves once each is acknowledged. @returns how long it took, s. @throws Error when one is refused */
export async function sendTimed({ host, port, topic, queues, count, bodySize, dueMs }: TimedLoad): Promise<number> {
  const properties = `UNIQ_KEY\u0001${KEY_MARK}\u0002TIMER_DELIVER_MS\u0001${TIME_MARK}\u0002`;
  const frames = Array.from({ length: queues }, (_, queueId) => {
    const header = {
      ...{ a: "timers", b: topic, c: "TBW102", d: queues, e: queueId, f: 0, g: Date.now(), h: 0, i: properties },
      ...{ j: 0, k: false, m: false },
    };
    const frame = encodeCommand(request(RequestCode.SEND_MESSAGE_V2, FIRST_OPAQUE, header, Buffer.alloc(bodySize, 0x61)));
    const at = (text: string): number => frame.indexOf(text);
    return { frame, opaqueAt: at(String(FIRST_OPAQUE)), timeAt: at(TIME_MARK), keyAt: at(KEY_MARK) + 1 };
  });
  const startMs = performance.now();
  await new Promise<void>((resolve, reject) => {
    const socket = net.connect({ host, port, noDelay: true });
    let sent = 0;
    let answered = 0;
    let rest: Buffer = Buffer.alloc(0);
    const fill = (): void => {
      const batch: Buffer[] = [];
      for (; sent < count && sent - answered < DEPTH; sent++) {
        const { frame, opaqueAt, timeAt, keyAt } = frames[sent % queues]!;
        const copy = Buffer.from(frame);
        copy.write(String(FIRST_OPAQUE + sent), opaqueAt, "latin1");
        copy.write(String(sent).padStart(8, "0"), keyAt, "latin1");
        const due = dueMs(sent);
        copy.write(String(due), timeAt, "latin1");
        copy.writeDoubleBE(due, copy.length - bodySize); // What the receiver measures from.
        batch.push(copy);
      }
      if (batch.length > 0) socket.write(Buffer.concat(batch));
    };
    const take = (frame: Buffer): void => {
      const { code, remark } = decodeCommand(frame);
      if (code !== ResponseCode.SUCCESS) socket.destroy(new Error(`a timed send was answered ${code}: ${remark}`));
      answered++;
    };
    socket.once("connect", fill);
    socket.once("error", reject);
    socket.once("close", () => (answered === count ? resolve() : reject(new Error("the connection was closed"))));
    socket.on("data", (chunk: Buffer) => {
      rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
      let at = 0;
      while (rest.length - at >= 4 && rest.length - at >= 4 + rest.readUInt32BE(at)) {
        const end = at + 4 + rest.readUInt32BE(at);
        take(rest.subarray(at, end));
        at = end;
      }
      rest = rest.subarray(at);
      if (answered === count) socket.end();
      else fill();
    });
  });
  return (performance.now() - startMs) / 1000;
}
