// Reads what the timer delivers, as it comes, and notes how late each message is by this process's clock.
import { RemotingClient } from "../../src/client/connection/remoting-client.ts";
import { RecordParts } from "../../src/format/record/message.ts";
import { RequestCode, ResponseCode } from "../../src/format/remoting/remoting-codes.ts";
import { request } from "../../src/format/remoting/remoting-command.ts";

const ASK_MS = 30_000;
const SUSPEND_MS = 5000;
/** Classes of 1 ms; what is later is in the last one. */
const LATE_MAX_MS = 600_000;

export class Arrivals {
  readonly #late = new Uint32Array(LATE_MAX_MS + 1);
  count = 0;
  early = 0;
  earliestMs = 0;
  maxMs = 0;

  #add(lateMs: number): void {
    this.count++;
    if (lateMs < 0) {
      this.early++;
      this.earliestMs = Math.min(this.earliestMs, lateMs);
    }
    const late = Math.max(0, lateMs);
    this.#late[Math.min(LATE_MAX_MS, late)]!++;
    this.maxMs = Math.max(this.maxMs, late);
  }

  /** ms */
  quantile(share: number): number {
    let left = this.count * share;
    for (let ms = 0; ms <= LATE_MAX_MS; ms++) {
      left -= this.#late[ms]!;
      if (left <= 0) return ms;
    }
    return this.maxMs;
  }

  /** Takes one queue's messages until `isDone`. Bodies begin with the time when they are due, ms, as a double. */
  async read(address: string, topic: string, queueId: number, isDone: () => boolean): Promise<void> {
    const client = new RemotingClient();
    const parts = new RecordParts();
    try {
      for (let queueOffset = 0; !isDone(); ) {
        const place = { consumerGroup: "timers", topic, queueId, queueOffset, maxMsgNums: 1024, commitOffset: 0 };
        const rest = { sysFlag: 6, suspendTimeoutMillis: SUSPEND_MS, subscription: "*", subVersion: 0, expressionType: "TAG" };
        const answer = await client.invoke(address, request(RequestCode.PULL_MESSAGE, 0, { ...place, ...rest }), ASK_MS);
        const now = Date.now();
        if (answer.code !== ResponseCode.SUCCESS) continue;
        const { body } = answer;
        for (let at = 0; at < body.length; at += body.readUInt32BE(at)) {
          parts.locate(body, at);
          this.#add(now - body.readDoubleBE(parts.bodyStart));
          queueOffset++;
        }
      }
    } finally {
      await client.close();
    }
  }
}
