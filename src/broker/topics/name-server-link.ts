import type { Clock, Timer } from "../../base/clock.ts";
import type { Log } from "../../observe/log.ts";
import type { MasterLocation } from "./registration.ts";

/** After a failure, ms: a name server that comes up soon after its brokers is known to all of them soon. */
const RETRY_MS = 5_000;

/**
 * The broker's standing with one name server: registers one at a time, retries, and says each change of
 * state once. Part of BrokerRegistration.
 */
export class NameServerLink {
  readonly address: string;
  /** Of the last answer. */
  orderTopics: ReadonlyMap<string, string> = new Map();
  master: MasterLocation = {};
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #attempt: () => Promise<void>;
  readonly #onRegistered: () => void;
  /** Has ever known the broker: may still do. */
  wasRegistered = false;
  #state: "new" | "registered" | "failing" | "closed" = "new";
  /** Settles, never rejects, with the last attempt asked for. */
  #done: Promise<void> = Promise.resolve();
  /** An attempt that has not begun. */
  #next: Promise<void> | undefined;
  #retry: Timer | undefined;
  /** Topics that it has not been told of since they changed; undefined: it is to be told of all. */
  #changed: Set<string> | undefined;

  /**
   * @param attempt        registers once, or throws
   * @param onRegistered   called after each attempt that went well
   */
  constructor(address: string, clock: Clock, log: Log, attempt: () => Promise<void>, onRegistered: () => void) {
    this.address = address;
    this.#clock = clock;
    this.#log = log;
    this.#attempt = attempt;
    this.#onRegistered = onRegistered;
  }

  get isRegistered(): boolean {
    return this.#state === "registered";
  }

  /** @param topics undefined: all */
  noteChanged(topics: readonly string[] | undefined): void {
    if (topics === undefined) this.#changed = undefined;
    else for (const topic of topics) this.#changed?.add(topic);
  }

  /** What the attempt that begins now is to tell: topics by name, or undefined for all. */
  takeChanged(): ReadonlySet<string> | undefined {
    const changed = this.#state === "registered" ? this.#changed : undefined;
    this.#changed = new Set();
    return changed;
  }

  /** Resolves after an attempt that began later than this call; never rejects. */
  register(): Promise<void> {
    if (this.#next === undefined) {
      this.#next = this.#done.then(() => {
        this.#next = undefined;
        return this.#register();
      });
      this.#done = this.#next;
    }
    return this.#next;
  }

  /** No further attempts. Resolves when the one under way is over. */
  close(): Promise<void> {
    this.#state = "closed";
    this.#retry?.cancel();
    return this.#done;
  }

  async #register(): Promise<void> {
    if (this.#state === "closed") return;
    this.#retry?.cancel();
    try {
      await this.#attempt();
    } catch (error) {
      this.#changed = undefined;
      this.#onFailure(error instanceof Error ? error.message : String(error));
      return;
    }
    this.#onSuccess();
  }

  #onSuccess(): void {
    if (this.#state === "closed") return;
    if (this.#state !== "registered") this.#log.info({ nameServer: this.address }, "registered with the name server");
    this.#state = "registered";
    this.wasRegistered = true;
    this.#onRegistered();
  }

  #onFailure(reason: string): void {
    if (this.#state === "closed") return;
    if (this.#state !== "failing") {
      this.#log.warn({ nameServer: this.address, reason }, "not registered with the name server; will go on trying");
    }
    this.#state = "failing";
    this.#retry = this.#clock.setTimer(() => void this.register(), RETRY_MS);
  }
}
