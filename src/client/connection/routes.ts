import { MillraceError } from "../../base/errors.ts";
import { memberOf, parseJson } from "../../format/text/fastjson.ts";

/** One queue of a topic on one broker. */
export interface MessageQueue {
  topic: string;
  brokerName: string;
  queueId: number;
}

/** Permission bits of a topic on a broker. Source: Apache `PermName`. */
export const PERM_WRITE = 2;
export const PERM_READ = 4;
/** brokerId of a master. */
export const MASTER_ID = 0;

export interface RouteQueues {
  brokerName: string;
  perm: number;
  readQueueNums: number;
  writeQueueNums: number;
}

export interface RouteBroker {
  brokerName: string;
  cluster: string;
  /** `host:port` by brokerId; MASTER_ID is the master. */
  addresses: ReadonlyMap<number, string>;
}

/** Where a topic lives; brokers and queues sorted by broker name. */
export interface TopicRoute {
  topic: string;
  queues: readonly RouteQueues[];
  brokers: readonly RouteBroker[];
}

/** A broker with more queues than this in one topic is not believed. */
const QUEUES_MAX = 65_536;

/** Reads the answer to 105. @throws MillraceError MILLRACE_PROTOCOL. Source: Apache `TopicRouteData`. */
export function parseTopicRoute(topic: string, body: Buffer): TopicRoute {
  const data = parseJson(body);
  const queues = listOf(data, "queueDatas").map(
    (queue): RouteQueues => ({
      brokerName: textOf(queue, "brokerName"),
      perm: countOf(queue, "perm"),
      readQueueNums: countOf(queue, "readQueueNums"),
      writeQueueNums: countOf(queue, "writeQueueNums"),
    }),
  );
  const brokers = listOf(data, "brokerDatas").map((broker): RouteBroker => parseBroker(broker));
  return { topic, queues: queues.sort(byBrokerName), brokers: brokers.sort(byBrokerName) };
}

export function parseBroker(broker: unknown): RouteBroker {
  const addresses = new Map<number, string>();
  for (const [id, address] of Object.entries(memberOf(broker, "brokerAddrs") ?? {})) {
    if (typeof address === "string") addresses.set(Number(id), address);
  }
  const cluster = memberOf(broker, "cluster");
  return { brokerName: textOf(broker, "brokerName"), cluster: typeof cluster === "string" ? cluster : "", addresses };
}

/** Queues that a producer may send to: writable ones of brokers that have a master. Sorted by broker and id. */
export function writableQueues(route: TopicRoute): MessageQueue[] {
  const masters = new Set(route.brokers.filter((broker) => broker.addresses.has(MASTER_ID)).map((broker) => broker.brokerName));
  return route.queues
    .filter((queue) => (queue.perm & PERM_WRITE) !== 0 && masters.has(queue.brokerName))
    .flatMap((queue) => queuesOf(route.topic, queue.brokerName, queue.writeQueueNums));
}

/** Queues that a consumer group shares out: the readable ones. Sorted by broker and id. */
export function readableQueues(route: TopicRoute): MessageQueue[] {
  return route.queues
    .filter((queue) => (queue.perm & PERM_READ) !== 0)
    .flatMap((queue) => queuesOf(route.topic, queue.brokerName, queue.readQueueNums));
}

/** Order in which all clients of a group must see queues. Source: Apache `MessageQueue.compareTo`. */
export function compareQueues(a: MessageQueue, b: MessageQueue): number {
  return compareText(a.topic, b.topic) || compareText(a.brokerName, b.brokerName) || a.queueId - b.queueId;
}

/** Identity of a queue as a map key. */
export function queueKey(queue: MessageQueue): string {
  return `${queue.topic}@${queue.brokerName}@${queue.queueId}`;
}

export function routesEqual(a: TopicRoute | undefined, b: TopicRoute | undefined): boolean {
  return routeText(a) === routeText(b);
}

function routeText(route: TopicRoute | undefined): string {
  return route === undefined
    ? ""
    : JSON.stringify([
        route.queues,
        route.brokers.map((broker) => [broker.brokerName, [...broker.addresses].toSorted(([a], [b]) => a - b)]),
      ]);
}

function queuesOf(topic: string, brokerName: string, count: number): MessageQueue[] {
  return Array.from({ length: count }, (_, queueId) => ({ topic, brokerName, queueId }));
}

function byBrokerName(a: { brokerName: string }, b: { brokerName: string }): number {
  return compareText(a.brokerName, b.brokerName);
}

/** By UTF-16 code units, as Java compares. */
function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function listOf(value: unknown, name: string): unknown[] {
  const list = memberOf(value, name) ?? [];
  if (!Array.isArray(list)) throw malformed(name);
  return list;
}

function textOf(value: unknown, name: string): string {
  const text = memberOf(value, name);
  if (typeof text !== "string") throw malformed(name);
  return text;
}

function countOf(value: unknown, name: string): number {
  const count = memberOf(value, name);
  if (typeof count !== "number" || !Number.isInteger(count) || count < 0 || count > QUEUES_MAX) throw malformed(name);
  return count;
}

function malformed(name: string): MillraceError {
  return new MillraceError("MILLRACE_PROTOCOL", `the name server's answer has a bad or missing member ${name}`, { name });
}
