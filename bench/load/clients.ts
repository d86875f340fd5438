import { once } from "node:events";
import { Worker } from "node:worker_threads";
import type { Command, Reply } from "./client-thread.ts";
import type { ReceiverReport, ReceiverSpec } from "./receivers.ts";
import type { ScoreboardMemory } from "./scoreboard.ts";
import type { SenderReport, SenderSpec } from "./senders.ts";

/** The client threads; they live through all cases, so that later ones run warm code. */
export class Clients {
  readonly #threads: Worker[];
  /** Rejects when a thread ends by itself, or by an error that it did not catch. */
  readonly failed: Promise<never>;
  #isClosing = false;

  private constructor(threads: Worker[]) {
    this.#threads = threads;
    this.failed = new Promise((_, reject) => {
      for (const thread of threads) {
        thread.on("error", reject);
        thread.on("exit", (code) => this.#isClosing || reject(new Error(`a client thread ended with code ${code}`)));
      }
    });
    this.failed.catch(() => {}); // Whoever waits for a thread races with it.
  }

  static async start(count: number): Promise<Clients> {
    const file = new URL("client-thread.ts", import.meta.url);
    const clients = new Clients(Array.from({ length: count }, (_, thread) => new Worker(file, { name: `client-${thread}` })));
    await clients.#replies();
    return clients;
  }

  get count(): number {
    return this.#threads.length;
  }

  async open(board: ScoreboardMemory): Promise<void> {
    await this.#tell((thread) => ({ kind: "open", thread, board }));
  }

  async startSenders(specs: readonly SenderSpec[]): Promise<void> {
    await this.#tell((thread) => ({ kind: "start-senders", spec: specs[thread]! }));
  }

  async go(): Promise<void> {
    await this.#tell(() => ({ kind: "go" }));
  }

  async stopSenders(): Promise<SenderReport[]> {
    return (await this.#tell(() => ({ kind: "stop-senders" }))) as SenderReport[];
  }

  async startReceivers(specs: readonly ReceiverSpec[]): Promise<void> {
    await this.#tell((thread) => ({ kind: "start-receivers", spec: specs[thread]! }));
  }

  async stopReceivers(): Promise<ReceiverReport[]> {
    return (await this.#tell(() => ({ kind: "stop-receivers" }))) as ReceiverReport[];
  }

  async close(): Promise<void> {
    this.#isClosing = true;
    await Promise.all(this.#threads.map((thread) => thread.terminate()));
  }

  /** Rejects with what went wrong in any of the threads. */
  #tell(command: (thread: number) => Command): Promise<(SenderReport | ReceiverReport | undefined)[]> {
    const replies = this.#replies();
    for (const [index, thread] of this.#threads.entries()) thread.postMessage(command(index));
    return replies;
  }

  /** The next message of each thread. */
  #replies(): Promise<(SenderReport | ReceiverReport | undefined)[]> {
    const replies = this.#threads.map(async (thread) => {
      const [message] = (await once(thread, "message")) as [Reply];
      if ("error" in message) throw new Error(message.error);
      return message.result;
    });
    return Promise.race([Promise.all(replies), this.failed]);
  }
}
