import type { Clock, Timer } from "../../base/clock.ts";
import { crc32 } from "../../base/crc32.ts";
import { MillraceError } from "../../base/errors.ts";
import {
  decodeKeyValueTable,
  encodeCompressedRegistration,
  encodeRegistration,
  type QueueMapping,
} from "../../format/remoting/broker-registration.ts";
import { RequestCode, ResponseCode } from "../../format/remoting/remoting-codes.ts";
import { type HeaderValues, type RemotingCommand, request } from "../../format/remoting/remoting-command.ts";
import { type DataVersion, equalDataVersions, PERM_READ, PERM_WRITE, type TopicConfig } from "../../format/topic-config.ts";
import type { Log } from "../../observe/log.ts";
import { NameServerLink } from "./name-server-link.ts";

/** Requests to other servers; `RemotingClient` is one. */
export interface Invoker {
  /** Sends `command` (its opaque is set here) and resolves with the answer, whatever its code. */
  invoke(address: string, command: RemotingCommand, timeoutMs: number): Promise<RemotingCommand>;
}

/** As clients and slaves reach the broker. */
export interface BrokerIdentity {
  clusterName: string;
  brokerName: string;
  /** 0: master. */
  brokerId: number;
  /** `ip:port`. */
  brokerAddress: string;
  haServerAddress: string;
}

/** What is registered. The version must change with every change of the rest. */
export interface TopicTable {
  dataVersion: DataVersion;
  topics: Iterable<TopicConfig>;
  queueMappings?: ReadonlyMap<string, QueueMapping>;
}

/** Where a slave's master is, as name servers tell; empty for a master, and while there is none. */
export interface MasterLocation {
  masterAddress?: string | undefined;
  haServerAddress?: string | undefined;
}

/** All times in ms. */
export interface BrokerRegistrationOptions {
  identity: BrokerIdentity;
  /** `host:port` each. */
  nameServers: readonly string[];
  /** Read at each registration. */
  table: () => TopicTable;
  /** One of its topics; without it changes are told with all the others. */
  topicOf?: (topic: string) => TopicConfig | undefined;
  invoker: Invoker;
  clock: Clock;
  log: Log;
  /** Held within 10,000 and 60,000. Default 30,000. */
  periodMs?: number;
  /** Default 24,000. */
  timeoutMs?: number;
  /** Send bodies deflated. Default false. */
  compressed?: boolean;
  /** More topics than this go in several requests, since a frame holds some 80,000. Default 10,000. */
  topicsPerRequest?: number;
  /** Perm bits of the whole broker; read at each registration. Default: read and write. */
  brokerPermission?: () => number;
  zoneName?: string;
  /** Which topics are ordered, by the name server's KV table: topic to "brokerA:4;brokerB:4". Called when it changed. */
  onOrderTopics?: (table: ReadonlyMap<string, string>) => void;
  /** Called when it changed. */
  onMaster?: (master: MasterLocation) => void;
}

const PERIOD_MS = 30_000;
const PERIOD_MS_MIN = 10_000;
const PERIOD_MS_MAX = 60_000;
/** Source: Apache `BrokerConfig.registerBrokerTimeoutMills`. */
const TIMEOUT_MS = 24_000;
const TOPICS_PER_REQUEST = 10_000;
const UNREGISTER_TIMEOUT_MS = 3_000;
const FULL_PERMISSION: number = PERM_READ | PERM_WRITE;

/** One registration, encoded once for all name servers. */
interface EncodedTable {
  dataVersion: DataVersion;
  permission: number;
  bodies: Buffer[];
  /** Goes before the others to a name server that does not know the broker yet; undefined: not needed. */
  opening: Buffer | undefined;
}

/**
 * Keeps the broker registered with its name servers, each on its own: at start, periodically, and as soon
 * as topics change. A name server that cannot be reached is tried again and never stops the broker.
 * Control thread. Source: Apache `BrokerController.registerBrokerAll`, `BrokerOuterAPI`.
 */
export class BrokerRegistration {
  readonly #options: BrokerRegistrationOptions;
  readonly #links: Map<string, NameServerLink> = new Map();
  #encoded: EncodedTable | undefined;
  #ticker: Timer | undefined;
  #stopped = false;
  #orderTopics: ReadonlyMap<string, string> = new Map();
  #master: MasterLocation = {};

  constructor(options: BrokerRegistrationOptions) {
    this.#options = options;
    this.#addLinks(options.nameServers);
  }

  /** Addresses of the name servers that know the broker at this moment. */
  get registeredWith(): string[] {
    return [...this.#links.values()].filter((link) => link.isRegistered).map((link) => link.address);
  }

  /** Registers now and then periodically. Resolves when every name server has answered or failed once; never rejects. */
  async start(): Promise<void> {
    const { clock, periodMs = PERIOD_MS } = this.#options;
    const held = Math.min(PERIOD_MS_MAX, Math.max(PERIOD_MS_MIN, periodMs));
    this.#ticker ??= clock.setTicker(() => void this.topicsChanged(), held); // All of them, whatever a name server has missed.
    await this.#registerAll();
  }

  /**
   * Registers at once; calls during a registration share the next one. Resolves when every name server
   * has answered or failed; never rejects.
   * @param changed the topics that have changed, by name: name servers that know the others are told of these alone, as
   *                Apache's `registerIncrementBrokerData` does; undefined: all may have
   */
  topicsChanged(changed?: Iterable<string>): Promise<void> {
    const names = changed === undefined || this.#options.topicOf === undefined ? undefined : [...changed];
    for (const link of this.#links.values()) link.noteChanged(names);
    return this.#registerAll();
  }

  /** A connection to `address` broke: a name server forgets the brokers that registered over it. */
  connectionLost(address: string): void {
    const link = this.#links.get(address);
    if (link?.isRegistered !== true || this.#stopped) return;
    link.noteChanged(undefined);
    void link.register();
  }

  /** Goes on with these name servers; takes the broker's entry out of those that are left. */
  async setNameServers(nameServers: readonly string[]): Promise<void> {
    const left = [...this.#links.values()].filter((link) => !nameServers.includes(link.address));
    for (const link of left) this.#links.delete(link.address);
    const added = this.#addLinks(nameServers);
    if (this.#ticker === undefined) return;
    await Promise.all([...added.map((link) => link.register()), ...left.map((link) => this.#leave(link))]);
  }

  /** Stops registering and unregisters; gives a silent name server 3 s. Never rejects. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#ticker?.cancel();
    this.#ticker = undefined;
    await Promise.all([...this.#links.values()].map((link) => this.#leave(link)));
  }

  #addLinks(nameServers: readonly string[]): NameServerLink[] {
    const { clock, log } = this.#options;
    const added: NameServerLink[] = [];
    for (const address of nameServers) {
      if (this.#links.has(address)) continue;
      const link = new NameServerLink(
        address,
        clock,
        log,
        () => this.#registerWith(link),
        () => this.#tellChanges(),
      );
      this.#links.set(address, link);
      added.push(link);
    }
    return added;
  }

  async #registerAll(): Promise<void> {
    if (this.#stopped) return;
    await Promise.all([...this.#links.values()].map((link) => link.register()));
  }

  /** @throws MillraceError MILLRACE_REQUEST_FAILED and what the invoker throws */
  async #registerWith(link: NameServerLink): Promise<void> {
    const changed = link.takeChanged();
    const { bodies, opening } = changed === undefined ? this.#encode() : this.#encodeChanged(changed);
    if (opening !== undefined && !link.isRegistered) await this.#send(link, opening);
    let answer: RemotingCommand | undefined;
    for (const body of bodies) answer = await this.#send(link, body);
    if (answer === undefined) return;
    link.orderTopics = decodeKeyValueTable(answer.body);
    link.master = { masterAddress: answer.extFields["masterAddr"], haServerAddress: answer.extFields["haServerAddr"] };
  }

  async #send(link: NameServerLink, body: Buffer): Promise<RemotingCommand> {
    const { identity, compressed = false, timeoutMs = TIMEOUT_MS, zoneName } = this.#options;
    const header = {
      ...ownHeader(identity),
      haServerAddr: identity.haServerAddress,
      enableActingMaster: false,
      compressed,
      bodyCrc32: crc32(body, 0, body.length) & 0x7fff_ffff,
      __ZONE_NAME: zoneName,
    };
    const command = request(RequestCode.REGISTER_BROKER, 0, header, body);
    const answer = await this.#options.invoker.invoke(link.address, command, timeoutMs);
    if (answer.code === ResponseCode.SUCCESS) return answer;
    throw new MillraceError("MILLRACE_REQUEST_FAILED", `registration refused: ${answer.remark ?? "no reason given"}`, {
      code: answer.code,
    });
  }

  /** Several name servers may tell different things: the first that is registered with, in their order, counts. */
  #tellChanges(): void {
    const first = [...this.#links.values()].find((link) => link.isRegistered);
    if (first === undefined) return;
    const { orderTopics, master } = first;
    if (!equalTables(orderTopics, this.#orderTopics)) {
      this.#orderTopics = orderTopics;
      this.#options.onOrderTopics?.(orderTopics);
    }
    if (master.masterAddress !== this.#master.masterAddress || master.haServerAddress !== this.#master.haServerAddress) {
      this.#master = master;
      this.#options.onMaster?.(master);
    }
  }

  #encode(): EncodedTable {
    const { table, compressed = false, brokerPermission, topicsPerRequest = TOPICS_PER_REQUEST } = this.#options;
    const { dataVersion, topics, queueMappings = new Map<string, QueueMapping>() } = table();
    const permission = brokerPermission?.() ?? FULL_PERMISSION;
    const last = this.#encoded;
    if (last !== undefined && last.permission === permission && equalDataVersions(last.dataVersion, dataVersion)) return last;

    const allowed = [...topics].map((topic) => allowedOf(topic, permission));
    const encode = (part: TopicConfig[], counter: number): Buffer => {
      const body = {
        dataVersion: { ...dataVersion, counter },
        topics: part,
        queueMappings: new Map(queueMappings),
        filterServers: [],
      };
      return compressed ? encodeCompressedRegistration(body) : encodeRegistration(body);
    };
    const count = Math.max(1, Math.ceil(allowed.length / topicsPerRequest));
    const bodies = Array.from({ length: count }, (_, index) => {
      const part = allowed.slice(index * topicsPerRequest, (index + 1) * topicsPerRequest);
      // A name server takes topics only with a version that it has not; the true one comes last, and stays.
      return encode(part, index === count - 1 ? dataVersion.counter : -1 - index);
    });
    // A newcomer with exactly one topic is refused; with none, and then one, it is not.
    const opening = allowed.length === 1 ? encode([], -1) : undefined;
    this.#encoded = { dataVersion: { ...dataVersion }, permission, bodies, opening };
    return this.#encoded;
  }

  /** For name servers that have the rest. */
  #encodeChanged(changed: ReadonlySet<string>): Pick<EncodedTable, "bodies" | "opening"> {
    const { table, topicOf, compressed = false, brokerPermission } = this.#options;
    const { dataVersion, queueMappings = new Map<string, QueueMapping>() } = table();
    const permission = brokerPermission?.() ?? FULL_PERMISSION;
    const topics = [...changed].map((name) => topicOf?.(name)).filter((topic) => topic !== undefined);
    const part = topics.map((topic) => allowedOf(topic, permission));
    const body = { dataVersion: { ...dataVersion }, topics: part, queueMappings: new Map(queueMappings), filterServers: [] };
    return { bodies: [compressed ? encodeCompressedRegistration(body) : encodeRegistration(body)], opening: undefined };
  }

  async #leave(link: NameServerLink): Promise<void> {
    const { identity, invoker, clock, log } = this.#options;
    // A registration under way could arrive behind the farewell.
    await withTimeout(link.close(), UNREGISTER_TIMEOUT_MS, clock);
    if (!link.wasRegistered) return;
    try {
      const command = request(RequestCode.UNREGISTER_BROKER, 0, ownHeader(identity));
      await invoker.invoke(link.address, command, UNREGISTER_TIMEOUT_MS);
    } catch (error) {
      log.debug({ nameServer: link.address, error: (error as Error).message }, "not unregistered: the name server will find out");
    }
  }
}

function allowedOf(topic: TopicConfig, permission: number): TopicConfig {
  return (permission & FULL_PERMISSION) === FULL_PERMISSION ? topic : { ...topic, perm: topic.perm & permission };
}

function ownHeader({ clusterName, brokerName, brokerId, brokerAddress }: BrokerIdentity): HeaderValues {
  return { brokerName, brokerAddr: brokerAddress, clusterName, brokerId };
}

function equalTables(a: ReadonlyMap<string, string>, b: ReadonlyMap<string, string>): boolean {
  return a.size === b.size && [...a].every(([key, value]) => b.get(key) === value);
}

async function withTimeout(work: Promise<void>, timeoutMs: number, clock: Clock): Promise<void> {
  let timer: Timer | undefined;
  const limit = new Promise<void>((resolve) => {
    timer = clock.setTimer(resolve, timeoutMs);
  });
  await Promise.race([work, limit]);
  timer?.cancel();
}
