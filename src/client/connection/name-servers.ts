import type { Clock, Timer } from "../../base/clock.ts";
import { MillraceError } from "../../base/errors.ts";
import { RequestCode, ResponseCode } from "../../format/remoting/remoting-codes.ts";
import type { HeaderValues, RemotingCommand } from "../../format/remoting/remoting-command.ts";
import { memberOf, parseJson } from "../../format/text/fastjson.ts";
import { clientRequest, requestFailed } from "./client-request.ts";
import type { RemotingClient } from "./remoting-client.ts";
import { MASTER_ID, parseBroker, parseTopicRoute, type RouteBroker, routesEqual, type TopicRoute } from "./routes.ts";

/** The topic whose route stands in for that of a topic which a broker will create on its first message. */
export const AUTO_CREATE_TOPIC = "TBW102";
/** How often known routes are asked for again. Source: Apache `ClientConfig.pollNameServerInterval`. */
export const ROUTE_REFRESH_MS = 30_000;
const TIMEOUT_MS = 3_000;

interface CachedRoute {
  /** undefined: the name servers do not know the topic. */
  route: TopicRoute | undefined;
  /** The look-up under way, shared by all who ask meanwhile. */
  lookup: Promise<TopicRoute | undefined> | undefined;
}

/**
 * Routes from one of several name servers, cached and refreshed. The name server that answered last is
 * asked first; if it fails, the next one. Knows the addresses of all brokers that any route named.
 * Source: Apache `MQClientInstance`.
 */
export class NameServers {
  readonly #client: RemotingClient;
  readonly #clock: Clock;
  readonly #addresses: readonly string[];
  readonly #routes = new Map<string, CachedRoute>();
  readonly #brokers = new Map<string, RouteBroker>();
  readonly #listeners: ((route: TopicRoute) => void)[] = [];
  #current = 0;
  #ticker: Timer | undefined;

  /** @param addresses checked ones, at least one */
  constructor(client: RemotingClient, clock: Clock, addresses: readonly string[]) {
    this.#client = client;
    this.#clock = clock;
    this.#addresses = addresses;
  }

  /** Starts refreshing all routes that were asked for. */
  start(): void {
    this.#ticker ??= this.#clock.setTicker(() => this.#refreshAll(), ROUTE_REFRESH_MS);
  }

  stop(): void {
    this.#ticker?.cancel();
    this.#ticker = undefined;
  }

  /** Calls `listener` with each route that is new or has changed. */
  onChange(listener: (route: TopicRoute) => void): void {
    this.#listeners.push(listener);
  }

  /**
   * The topic's route from the cache, or else from a name server; undefined when they do not know it.
   * Rejects as `invoke`, when no name server answered.
   */
  route(topic: string): Promise<TopicRoute | undefined> {
    const cached = this.#routes.get(topic);
    if (cached?.route !== undefined) return Promise.resolve(cached.route);
    return this.refresh(topic);
  }

  /** The cached route, without asking anybody. */
  cachedRoute(topic: string): TopicRoute | undefined {
    return this.#routes.get(topic)?.route;
  }

  /** Forgets what is known of the topic, and no longer refreshes its route. */
  forget(topic: string): void {
    this.#routes.delete(topic);
  }

  /** Asks for the topic's route again; who asks while an answer is awaited gets the same one. */
  refresh(topic: string): Promise<TopicRoute | undefined> {
    let cached = this.#routes.get(topic);
    if (cached === undefined) {
      cached = { route: undefined, lookup: undefined };
      this.#routes.set(topic, cached);
    }
    cached.lookup ??= this.#lookUp(topic, cached);
    return cached.lookup;
  }

  /**
   * Route for sending to `topic`. A topic that nobody knows yet gets the route of TBW102, cut to
   * `defaultQueueCount` queues: the broker that gets its first message creates it (semantics of auto-create).
   * Rejects with MILLRACE_TOPIC_UNKNOWN when no broker creates topics, or as `invoke`.
   */
  async publishRoute(topic: string, defaultQueueCount: number): Promise<TopicRoute> {
    const route = await this.route(topic);
    if (route !== undefined) return route;
    const template = await this.refresh(AUTO_CREATE_TOPIC);
    if (template === undefined) {
      throw new MillraceError("MILLRACE_TOPIC_UNKNOWN", `no broker has the topic "${topic}", and none creates topics by itself`, {
        topic,
      });
    }
    const queues = template.queues.map((queue) => {
      const count = Math.min(defaultQueueCount, queue.readQueueNums);
      return { ...queue, readQueueNums: count, writeQueueNums: count };
    });
    return { topic, queues, brokers: template.brokers };
  }

  /** Address of a broker that some route named; undefined when unknown or without that id. */
  brokerAddress(brokerName: string, brokerId: number = MASTER_ID): string | undefined {
    return this.#brokers.get(brokerName)?.addresses.get(brokerId);
  }

  /** The master's address, or else any other member's: for reading. */
  readAddress(brokerName: string, preferredId: number = MASTER_ID): string | undefined {
    const addresses = this.#brokers.get(brokerName)?.addresses;
    return addresses?.get(preferredId) ?? addresses?.get(MASTER_ID) ?? addresses?.values().next().value;
  }

  /** All brokers that the routes in use name. */
  brokers(): Iterable<RouteBroker> {
    return this.#brokers.values();
  }

  /** Brokers and clusters known to the name servers (106). Rejects as `invoke`. */
  async clusterInfo(): Promise<{ brokers: RouteBroker[]; clusters: Map<string, string[]> }> {
    const answer = await this.invoke(RequestCode.GET_BROKER_CLUSTER_INFO);
    if (answer.code !== ResponseCode.SUCCESS) throw requestFailed("the name server", answer);
    const info = parseJson(answer.body);
    const brokers = Object.values(memberOf(info, "brokerAddrTable") ?? {}).map((broker) => parseBroker(broker));
    const clusters = new Map<string, string[]>();
    for (const [cluster, names] of Object.entries((memberOf(info, "clusterAddrTable") ?? {}) as Record<string, unknown>)) {
      clusters.set(cluster, Array.isArray(names) ? names.filter((name): name is string => typeof name === "string").sort() : []);
    }
    return { brokers, clusters };
  }

  /** Asks one name server after another until one answers, with whatever code. Rejects with the last failure. */
  async invoke(code: number, header: HeaderValues = {}, body?: Buffer): Promise<RemotingCommand> {
    let failure: unknown;
    for (let attempt = 0; attempt < this.#addresses.length; attempt++) {
      const index = this.#current;
      try {
        return await this.#client.invoke(this.#addresses[index]!, clientRequest(code, header, body), TIMEOUT_MS);
      } catch (error) {
        failure = error;
        if (error instanceof MillraceError && error.code === "MILLRACE_CLOSED") break;
        // Several look-ups may fail at once; only the first of them moves on.
        if (this.#current === index) this.#current = (index + 1) % this.#addresses.length;
      }
    }
    throw failure;
  }

  /** Sends the same request to every name server; resolves with what each said. */
  invokeAll(code: number, header: HeaderValues): Promise<PromiseSettledResult<RemotingCommand>[]> {
    return Promise.allSettled(
      this.#addresses.map((address) => this.#client.invoke(address, clientRequest(code, header), TIMEOUT_MS)),
    );
  }

  async #lookUp(topic: string, cached: CachedRoute): Promise<TopicRoute | undefined> {
    try {
      const answer = await this.invoke(RequestCode.GET_ROUTEINFO_BY_TOPIC, { topic, acceptStandardJsonOnly: true });
      if (answer.code === ResponseCode.TOPIC_NOT_EXIST) {
        // A route once known is kept: a name server that has just started knows nothing yet.
        return cached.route;
      }
      if (answer.code !== ResponseCode.SUCCESS) throw requestFailed("the name server", answer);
      const route = parseTopicRoute(topic, answer.body);
      for (const broker of route.brokers) this.#brokers.set(broker.brokerName, broker);
      const changed = !routesEqual(cached.route, route);
      cached.route = route;
      if (changed) for (const listener of this.#listeners) listener(route);
      return route;
    } finally {
      cached.lookup = undefined;
    }
  }

  #refreshAll(): void {
    // What fails here stays as it was, and is tried again in half a minute.
    for (const topic of this.#routes.keys()) this.refresh(topic).catch(() => {});
  }
}
