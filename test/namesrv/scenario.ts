import { crc32 } from "../../src/base/crc32.ts";
import { RemotingClient } from "../../src/client/connection/remoting-client.ts";
import {
  encodeCompressedRegistration,
  encodeRegistration,
  type QueueMapping,
  type RegistrationBody,
} from "../../src/format/remoting/broker-registration.ts";
import { EMPTY_BODY, type HeaderValues, request } from "../../src/format/remoting/remoting-command.ts";
import { parseJson } from "../../src/format/text/fastjson.ts";
import { type DataVersion, encodeDataVersion, type TopicConfig } from "../../src/format/topic-config.ts";

interface Broker {
  clusterName: string;
  brokerName: string;
  brokerId: number;
  brokerAddr: string;
}

interface Registration {
  header?: HeaderValues;
  compressed?: boolean;
  crc?: number;
  filterServers?: string[];
  mapping?: QueueMapping;
}

const A: Broker = { clusterName: "c1", brokerName: "a", brokerId: 0, brokerAddr: "1.1.1.1:1" };
const B: Broker = { clusterName: "c1", brokerName: "b", brokerId: 0, brokerAddr: "1.1.1.2:1" };
const B1: Broker = { ...B, brokerId: 1, brokerAddr: "1.1.1.3:1" };
const S: Broker = { clusterName: "c2", brokerName: "s", brokerId: 0, brokerAddr: "2.2.2.2:1" };
const S1: Broker = { ...S, brokerId: 1, brokerAddr: "2.2.2.1:1" };
const ACTING = { enableActingMaster: true };

/**
 * The same requests for any name server, from several connections; the answers as lines of text, in which
 * the order of lists and members (a hash map's in Java) does not show.
 */
export class Scenario {
  readonly lines: string[] = [];
  readonly #address: string;
  readonly #clients: Map<string, RemotingClient> = new Map();

  constructor(address: string) {
    this.#address = address;
  }

  async run(): Promise<string[]> {
    await this.#registerAndRoute();
    await this.#slavesAndZones();
    await this.#administrate();
    await this.#changeRoles();
    await this.#loseConnections();
    await this.#configure();
    for (const who of [...this.#clients.keys()]) await this.#hangUp(who);
    return this.lines;
  }

  async #registerAndRoute(): Promise<void> {
    await this.#route("T");
    await this.#register(A, [topic("T")]); // Unknown and one topic: refused.
    await this.#register(A, []);
    await this.#register(A, [topic("T")]);
    await this.#route("T", 513);
    await this.#route("T", 401);
    await this.#route("T", 399);
    await this.#ask("client", 105, { topic: "T", acceptStandardJsonOnly: "true" }, EMPTY_BODY, 100);
    const sameVersion = [topic("T", 6, 9), topic("U", 6, 8, 1), topic("V", 4, 1, 3), topic("W", 6, 1, 2)];
    await this.#register(A, sameVersion);
    await this.#route("T");
    await this.#lists();
    await this.#register(A, [topic("T", 6, 9)], version(2));
    await this.#route("T");
    for (const code of [311, 312, 313, 304]) await this.#ask("client", code);
    for (const cluster of ["c1", "none"]) await this.#ask("client", 224, { cluster });
  }

  async #slavesAndZones(): Promise<void> {
    const header = { ...ACTING, heartbeatTimeoutMillis: 100_000, __ZONE_NAME: "z1" };
    await this.#register(B, [topic("T"), topic("X")], version(1), { compressed: true, header });
    await this.#register(B1, [topic("T"), topic("Y")], version(1), { header: ACTING });
    for (const name of ["T", "X", "Y"]) await this.#route(name);
    for (const zone of ["z1", "Z1", "other", " "]) {
      await this.#ask("client", 105, { topic: "T", __ZONE_MODE: "true", __ZONE_NAME: zone });
    }
    await this.#ask("client", 105, { topic: "T", __ZONE_MODE: "false", __ZONE_NAME: "other" });
    await this.#lists();
  }

  async #administrate(): Promise<void> {
    for (const [brokerAddr, timestamp] of [
      [B.brokerAddr, 1],
      [B.brokerAddr, 7],
      ["9.9.9.9:1", 7],
    ] as const) {
      await this.#ask("b", 322, { ...B, brokerAddr }, encodeDataVersion(version(timestamp)));
    }
    await this.#ask("b", 904, { ...B });
    await this.#ask("client", 205, { brokerName: "b" });
    for (const name of ["T", "X"]) await this.#route(name);
    await this.#ask("client", 327, { brokerName: "b" });
    await this.#route("X");
    await this.#ask("client", 205, { brokerName: "none" });
    const queueData = { brokerName: "b", perm: 6, readQueueNums: 3, writeQueueNums: 2, topicSysFlag: 0 };
    await this.#ask("client", 217, { topic: "N" }, Buffer.from(JSON.stringify({ queueDatas: [queueData] })));
    await this.#route("N");
    const unknown = { queueDatas: [queueData, { ...queueData, brokerName: "none" }] };
    await this.#ask("client", 217, { topic: "N2" }, Buffer.from(JSON.stringify(unknown)));
    await this.#route("N2");
    await this.#ask("client", 217, { topic: "N3" });
    for (const header of [{ topic: "N" }, { topic: "T", clusterName: "c1" }, { topic: "none" }]) {
      await this.#ask("client", 216, header);
      await this.#route(header.topic);
    }
    await this.#register(B, [topic("T"), topic("X")], version(1), { header: { ...ACTING, __ZONE_NAME: "z1" } });
    await this.#route("T");
  }

  async #changeRoles(): Promise<void> {
    await this.#ask("b", 104, { ...B });
    await this.#settle();
    for (const name of ["T", "X"]) await this.#route(name);
    await this.#lists();
    await this.#register(B1, [topic("T"), topic("Y")], version(3), { header: ACTING });
    for (const name of ["T", "Y"]) await this.#route(name);
    const promoted = { ...B1, brokerId: 0 };
    await this.#register(promoted, [topic("T"), topic("Y")], version(4), { header: ACTING });
    await this.#route("Y");
    await this.#lists();
    await this.#register(promoted, [topic("Q")], version(4, 5));
    await this.#route("Q");
    await this.#register(B, [topic("Q"), topic("R")], version(9, 1)); // Of the past.
    await this.#route("R");
    await this.#lists();
    await this.#register(B, [topic("Q"), topic("R")], version(9, 6));
    await this.#route("R");
    await this.#lists();
    await this.#register(A, [topic("T")], version(2), { crc: 5 });
    const currentIds = new Map([
      [0, 1],
      [10, 3],
    ]);
    const mapping = { topic: "S", scope: "__global__", totalQueues: 8, brokerName: "a", epoch: 2, dirty: false, currentIds };
    await this.#register(A, [topic("S"), topic("T")], version(20), { filterServers: ["f:1"], mapping });
    for (const senderVersion of [513, 399]) await this.#route("S", senderVersion);
    await this.#route("T");
  }

  async #loseConnections(): Promise<void> {
    const topics = [topic("SS"), topic("S2")];
    await this.#register(S1, topics);
    await this.#route("SS");
    await this.#lists();
    await this.#register(S, topics);
    await this.#route("SS");
    await this.#register(S1, topics);
    await this.#hangUp("s/0");
    await this.#settle();
    await this.#route("SS");
    await this.#lists();
    await this.#hangUp("s/1");
    await this.#settle();
    await this.#lists();
  }

  async #configure(): Promise<void> {
    const entry = { namespace: "n", key: "k" };
    await this.#ask("client", 101, entry);
    await this.#ask("client", 100, { ...entry, value: "v=1" });
    await this.#ask("client", 101, entry);
    for (const namespace of ["n", "none"]) await this.#ask("client", 219, { namespace });
    await this.#ask("client", 102, entry);
    await this.#ask("client", 102, { ...entry, namespace: "none" });
    await this.#ask("client", 219, { namespace: "n" });
    await this.#ask("client", 100, { namespace: "ORDER_TOPIC_CONFIG", key: "T", value: "a:4" });
    await this.#register(A, [topic("S"), topic("T")], version(20));
    await this.#route("T");
    await this.#update("orderMessageEnable=true");
    await this.#route("T");
    await this.#update("orderMessageEnable=false\nenableTopicList=false\nenableAllTopicList=false");
    for (const code of [206, 311, 312, 313, 304]) await this.#ask("client", code);
    await this.#ask("client", 224, { cluster: "c1" });
    await this.#update("enableTopicList=true\nenableAllTopicList=true");
    const bodiless = { brokerName: "e", brokerAddr: "3:1", clusterName: "c3", haServerAddr: "h", brokerId: 0 };
    await this.#ask("e", 103, bodiless);
    await this.#lists();
    await this.#ask("client", 4242);
  }

  async #lists(): Promise<void> {
    await this.#ask("client", 106);
    await this.#ask("client", 206);
    await this.#ask("client", 901, { clusterName: "c1", brokerName: "b" });
  }

  #route(name: string, senderVersion = 513): Promise<void> {
    return this.#ask("client", 105, { topic: name }, EMPTY_BODY, senderVersion);
  }

  #update(properties: string): Promise<void> {
    return this.#ask("client", 318, {}, Buffer.from(properties));
  }

  #register(broker: Broker, topics: TopicConfig[], dataVersion = version(1), how: Registration = {}): Promise<void> {
    const { compressed = false, filterServers = [], mapping } = how;
    const queueMappings = new Map(mapping === undefined ? [] : [[mapping.topic, mapping]]);
    const content: RegistrationBody = { dataVersion, topics, queueMappings, filterServers };
    const body = compressed ? encodeCompressedRegistration(content) : encodeRegistration(content);
    const bodyCrc32 = how.crc ?? crc32(body, 0, body.length) & 0x7fff_ffff;
    const header = { ...broker, haServerAddr: `${broker.brokerAddr}9`, compressed, bodyCrc32, ...how.header };
    return this.#ask(`${broker.brokerName}/${broker.brokerId}`, 103, header, body);
  }

  async #ask(
    who: string,
    code: number,
    header: HeaderValues = {},
    body: Buffer = EMPTY_BODY,
    senderVersion = 513,
  ): Promise<void> {
    let client = this.#clients.get(who);
    if (client === undefined) {
      client = new RemotingClient();
      this.#clients.set(who, client);
    }
    const command = request(code, 0, header, body);
    command.version = senderVersion;
    const answer = await client.invoke(this.#address, command, 5_000);
    const fields = answer.extFields;
    // One of Apache's answers carries this text although it is a success.
    const remark = answer.remark === "not set any response code" ? "" : (answer.remark ?? "").split("\n")[0];
    const asked = Object.entries(header).filter(([key]) => key !== "bodyCrc32");
    this.lines.push(`${who} ${code} v${senderVersion} ${JSON.stringify(Object.fromEntries(asked))}`);
    this.lines.push(`  ${answer.code} "${remark}" ${JSON.stringify(sorted({ ...fields }))} ${bodyText(answer.body)}`.trimEnd());
  }

  async #hangUp(who: string): Promise<void> {
    await this.#clients.get(who)?.close();
    this.#clients.delete(who);
  }

  /** Unregistering may be done behind the answer. */
  #settle(): Promise<void> {
    return new Promise((resolve) => setTimeout(resolve, 200));
  }
}

function version(timestamp: number, stateVersion = 0): DataVersion {
  return { counter: 0, stateVersion, timestamp };
}

function topic(topicName: string, perm = 6, queueNums = 4, topicSysFlag = 0): TopicConfig {
  const queues = { readQueueNums: queueNums, writeQueueNums: queueNums };
  return { topicName, ...queues, perm, topicFilterType: "SINGLE_TAG", topicSysFlag, order: false, attributes: {} };
}

function bodyText(body: Buffer): string {
  if (body.length === 0) return "";
  const text = body.toString();
  let form = "standard";
  try {
    JSON.parse(text);
  } catch {
    form = "dialect";
  }
  return `${form} ${JSON.stringify(sorted(parseJson(text)))}`;
}

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) {
    const texts = value.map((item) => JSON.stringify(sorted(item))).sort();
    return texts.map((text) => JSON.parse(text) as unknown);
  }
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, member]) => [key, sorted(member)]),
  );
}
