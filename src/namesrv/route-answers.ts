import type { QueueMapping } from "../format/remoting/broker-registration.ts";
import { queueMappingMembers } from "../format/remoting/broker-registration.ts";
import { writeJson } from "../format/text/fastjson.ts";
import { PERM_WRITE } from "../format/topic-config.ts";
import type { QueueData } from "./topic-queues.ts";

export const MASTER_ID = 0;

/** A master or its slaves. Source: Apache `BrokerData`. */
export interface BrokerGroup {
  /** By broker id; 0 is the master. */
  addresses: Map<number, string>;
  brokerName: string;
  cluster: string;
  enableActingMaster: boolean;
  zoneName: string | undefined;
}

/** All that a client needs to know of a topic. Source: Apache `TopicRouteData`. */
export interface TopicRoute {
  brokers: BrokerGroup[];
  queues: QueueData[];
  /** Filter servers by broker address (before 5.0). */
  filterServers: Map<string, string[]>;
  /** Static topics: by broker name. */
  queueMappings: Map<string, QueueMapping> | undefined;
}

export function minBrokerIdOf(addresses: ReadonlyMap<number, string>): number {
  return Math.min(...addresses.keys());
}

/** Where the master is gone, shows the smallest id as master to clients, which then read from it. */
export function presentActingMasters({ brokers, queues }: TopicRoute): void {
  for (const { addresses, brokerName, enableActingMaster } of brokers) {
    if (addresses.size === 0 || addresses.has(MASTER_ID) || !enableActingMaster) continue;
    const data = queues.find((candidate) => candidate.brokerName === brokerName);
    if (data === undefined || (data.perm & PERM_WRITE) !== 0) continue;
    const actingId = minBrokerIdOf(addresses);
    const address = addresses.get(actingId)!;
    addresses.delete(actingId);
    addresses.set(MASTER_ID, address);
  }
}

/**
 * For a client that asked for its own zone: leaves out brokers of other zones, but keeps those without a
 * master, which are read from wherever they are. Source: Apache `ZoneRouteRPCHook`.
 */
export function filterByZone(route: TopicRoute, zoneName: string): TopicRoute {
  const zone = zoneName.toLowerCase();
  const isKept = ({ addresses, zoneName: own }: BrokerGroup): boolean => !addresses.has(MASTER_ID) || own?.toLowerCase() === zone;
  const brokers = route.brokers.filter(isKept);
  const left = route.brokers.filter((group) => !isKept(group));
  const leftNames = new Set(left.map(({ brokerName }) => brokerName));
  const filterServers = new Map(route.filterServers);
  for (const { addresses } of left) {
    for (const address of addresses.values()) filterServers.delete(address);
  }
  return { ...route, brokers, queues: route.queues.filter(({ brokerName }) => !leftNames.has(brokerName)), filterServers };
}

/**
 * Answer to 105.
 * @param standard         number keys quoted, as readers of standard JSON need
 * @param orderTopicConf   "brokerA:4;brokerB:4" of an ordered topic
 */
export function encodeRoute(route: TopicRoute, standard: boolean, orderTopicConf?: string): Buffer {
  const { brokers, queues, filterServers, queueMappings } = route;
  const members = {
    brokerDatas: brokers.map(brokerGroupMembers),
    filterServerTable: filterServers,
    orderTopicConf,
    queueDatas: queues,
    topicQueueMappingByBroker:
      queueMappings && new Map([...queueMappings].map(([brokerName, mapping]) => [brokerName, queueMappingMembers(mapping)])),
  };
  return Buffer.from(writeJson(members, { quoteNumberKeys: standard }));
}

/** Answer to 106. Source: Apache `ClusterInfo`. */
export function encodeClusterInfo(
  groups: ReadonlyMap<string, Readonly<BrokerGroup>>,
  clusters: ReadonlyMap<string, ReadonlySet<string>>,
): Buffer {
  return Buffer.from(
    writeJson({
      brokerAddrTable: new Map([...groups].map(([brokerName, group]) => [brokerName, brokerGroupMembers(group)])),
      clusterAddrTable: new Map([...clusters].map(([cluster, brokerNames]) => [cluster, [...brokerNames]])),
    }),
  );
}

/** Answer to 901. Source: Apache `GetBrokerMemberGroupResponseBody`. */
export function encodeMemberGroup(cluster: string, brokerName: string, addresses: ReadonlyMap<number, string>): Buffer {
  return Buffer.from(writeJson({ brokerMemberGroup: { brokerAddrs: addresses, brokerName, cluster } }));
}

/** Answers to 206, 224, 304, 311 to 313. Source: Apache `TopicList`. */
export function encodeTopicList(topicList: readonly string[], brokerAddr?: string): Buffer {
  return Buffer.from(writeJson({ brokerAddr, topicList }));
}

/** The members in the order that Java writes. */
function brokerGroupMembers({ addresses, brokerName, cluster, enableActingMaster, zoneName }: Readonly<BrokerGroup>): object {
  return { brokerAddrs: addresses, brokerName, cluster, enableActingMaster, zoneName };
}
