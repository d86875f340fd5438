import { randomBytes } from "node:crypto";
import { threadId } from "node:worker_threads";
import { type Clock, SystemClock, type Timer } from "../../base/clock.ts";
import { MillraceError } from "../../base/errors.ts";
import { RequestCode, ResponseCode } from "../../format/remoting/remoting-codes.ts";
import { checkOneOf, invalidOption } from "../options.ts";
import { localAddress } from "../produce/unique-id.ts";
import { parseAddressList } from "./address.ts";
import { clientRequest, requestFailed } from "./client-request.ts";
import { NameServers } from "./name-servers.ts";
import { RemotingClient, type RemotingClientOptions } from "./remoting-client.ts";
import { MASTER_ID } from "./routes.ts";

/** What producers and consumers have in common. */
export interface ClientOptions {
  /** Name servers: `host:port`, several separated by `;`. */
  namesrvAddr: string;
  /** Name under which brokers know this client; two live clients must not share one. Default: address, process and a random part. */
  clientId?: string;
  clock?: Clock;
  /** Header form of requests: "json" (default), or "binary", which is cheaper for both sides. */
  header?: "json" | "binary";
  /** Limits of the connections; see RemotingClientOptions. */
  connection?: Omit<RemotingClientOptions, "clock" | "header">;
  /** Hears of failures that no caller waits for (a failed heartbeat, say). They are retried in any case. */
  onError?: (error: MillraceError) => void;
}

export const CLIENT_OPTION_KEYS = ["namesrvAddr", "clientId", "clock", "header", "connection", "onError"] as const;

/** Source: Apache `ClientConfig.heartbeatBrokerInterval`. */
const HEARTBEAT_MS = 30_000;
const HEARTBEAT_TIMEOUT_MS = 3_000;

/** Members of the heartbeat's body beside clientID. Shape: semantics.md 3.1, Apache `HeartbeatData`. */
export interface HeartbeatGroups {
  producerDataSet: readonly object[];
  consumerDataSet: readonly object[];
}

/**
 * The connections, routes and heartbeats of one producer or consumer.
 * Heartbeats go to all brokers that the routes in use name: at once when a broker appears, then every 30 s.
 */
export class ClientInstance {
  readonly clientId: string;
  readonly clock: Clock;
  readonly header: "json" | "binary";
  readonly remoting: RemotingClient;
  readonly nameServers: NameServers;
  readonly #onError: ((error: MillraceError) => void) | undefined;
  #groups: (() => HeartbeatGroups) | undefined;
  #toReplicas = false;
  #ticker: Timer | undefined;
  /** Addresses that have had a heartbeat on their present connection, or are having their first. */
  readonly #greeted = new Map<string, Promise<void>>();

  /** @throws MillraceError MILLRACE_CONFIG_INVALID */
  constructor(options: ClientOptions) {
    if (typeof options.namesrvAddr !== "string")
      throw invalidOption("namesrvAddr", options.namesrvAddr, "host:port, several separated by ;");
    const addresses = parseAddressList(options.namesrvAddr, "namesrvAddr");
    if (options.clientId !== undefined && !/^[\x21-\x7e]{1,255}$/.test(options.clientId)) {
      throw invalidOption("clientId", options.clientId, "1 to 255 printable ASCII characters without blanks");
    }
    if (options.onError !== undefined && typeof options.onError !== "function")
      throw invalidOption("onError", options.onError, "a function");
    this.clock = options.clock ?? new SystemClock();
    this.header = checkOneOf("header", options.header ?? "json", ["json", "binary"]);
    this.clientId = options.clientId ?? `${localAddress()}@${process.pid}#${threadId}#${randomBytes(6).toString("hex")}`;
    this.remoting = new RemotingClient({ ...options.connection, clock: this.clock, header: this.header });
    this.nameServers = new NameServers(this.remoting, this.clock, addresses);
    this.#onError = options.onError;
    this.nameServers.onChange(() => this.#greetNewBrokers());
    // A broker forgets a client with its connection, so the next one must introduce it again.
    this.remoting.onConnectionLost((address) => this.#greeted.delete(address));
  }

  /**
   * Starts route refresh and heartbeats.
   * @param toReplicas consumers also read from replicas, producers deal with masters only
   */
  start(groups: () => HeartbeatGroups, toReplicas: boolean): void {
    this.#groups = groups;
    this.#toReplicas = toReplicas;
    this.nameServers.start();
    this.#ticker = this.clock.setTicker(() => void this.heartbeat(), HEARTBEAT_MS);
  }

  /** Sends a heartbeat to every known broker; resolves when all have answered or failed. */
  async heartbeat(): Promise<void> {
    await Promise.all([...this.#brokerAddresses()].map((address) => this.#greet(address)));
  }

  /** Makes sure that the broker at `address` has heard of us since its connection was opened. Never rejects. */
  introduce(address: string): Promise<void> {
    return this.#greeted.get(address) ?? this.#greet(address);
  }

  /** Unregisters from the brokers and closes all connections. */
  async close(header: { producerGroup?: string; consumerGroup?: string }): Promise<void> {
    this.#ticker?.cancel();
    this.nameServers.stop();
    await Promise.allSettled(
      [...this.#brokerAddresses()]
        .filter((address) => this.remoting.isConnected(address))
        .map((address) =>
          this.remoting.invoke(
            address,
            clientRequest(RequestCode.UNREGISTER_CLIENT, { clientID: this.clientId, ...header }),
            HEARTBEAT_TIMEOUT_MS,
          ),
        ),
    );
    await this.remoting.close();
  }

  /** Reports a failure that is nobody's to await. */
  report(error: unknown): void {
    if (this.#onError === undefined) return;
    this.#onError(
      error instanceof MillraceError ? error : new MillraceError("MILLRACE_REQUEST_FAILED", String(error), {}, error),
    );
  }

  #brokerAddresses(): Set<string> {
    const addresses = new Set<string>();
    for (const broker of this.nameServers.brokers()) {
      for (const [id, address] of broker.addresses) if (this.#toReplicas || id === MASTER_ID) addresses.add(address);
    }
    return addresses;
  }

  #greetNewBrokers(): void {
    for (const address of this.#brokerAddresses()) void this.introduce(address);
  }

  #greet(address: string): Promise<void> {
    const greeting = this.#sendHeartbeat(address);
    this.#greeted.set(address, greeting);
    return greeting;
  }

  async #sendHeartbeat(address: string): Promise<void> {
    if (this.#groups === undefined) return;
    const body = { clientID: this.clientId, ...this.#groups(), heartbeatFingerprint: 0, withoutSub: false };
    try {
      const command = clientRequest(RequestCode.HEART_BEAT, {}, Buffer.from(JSON.stringify(body)));
      const answer = await this.remoting.invoke(address, command, HEARTBEAT_TIMEOUT_MS);
      if (answer.code !== ResponseCode.SUCCESS) throw requestFailed(`${address}: heartbeat:`, answer);
    } catch (error) {
      this.#greeted.delete(address);
      if (!(error instanceof MillraceError && error.code === "MILLRACE_CLOSED")) this.report(error);
    }
  }
}
