import type { Clock, Timer } from "../../base/clock.ts";
import { requiredText } from "../../format/remoting/command-fields.ts";
import { RequestCode, ResponseCode } from "../../format/remoting/remoting-codes.ts";
import { type RemotingCommand, response } from "../../format/remoting/remoting-command.ts";
import { writeJson } from "../../format/text/fastjson.ts";
import type { Log } from "../../observe/log.ts";
import type { Channel } from "../channel.ts";
import type { ConsumerClient, HandlerTable } from "../contracts.ts";
import { CLIENT_EXPIRED_MS, CLIENT_SCAN_MS, connectionMembers } from "./consumers.ts";

export interface ProducersOptions {
  clock: Clock;
  log: Log;
}

/** A client of a producer group; the same members as a consumer's. */
export type ProducerClient = ConsumerClient;

/**
 * The producers that are connected, by group: whom to ask about an undecided transaction, whom to hand a reply.
 * Control thread only. Source: Apache `ProducerManager`.
 */
export class Producers {
  readonly #o: ProducersOptions;
  readonly #groups = new Map<string, Map<number, ProducerClient>>();
  /** The newest connection of each client. */
  readonly #channels = new Map<string, Channel>();
  readonly #scan: Timer;
  #turn = 0;

  constructor(options: ProducersOptions) {
    this.#o = options;
    this.#scan = options.clock.setTicker(() => this.#expire(), CLIENT_SCAN_MS);
  }

  close(): void {
    this.#scan.cancel();
  }

  handlers(): HandlerTable {
    return new Map([
      [RequestCode.GET_PRODUCER_CONNECTION_LIST, (command) => this.#connections(command)],
      [RequestCode.GET_ALL_PRODUCER_INFO, (command) => this.#allProducers(command)],
    ]);
  }

  heartbeat(group: string, client: ProducerClient): void {
    let clients = this.#groups.get(group);
    if (clients === undefined) {
      clients = new Map();
      this.#groups.set(group, clients);
    }
    const known = clients.get(client.channel.id);
    if (known === undefined || known.clientId !== client.clientId) {
      clients.set(client.channel.id, { ...client });
      this.#channels.set(client.clientId, client.channel);
      this.#o.log.info({ group, clientId: client.clientId, remoteAddress: client.channel.remoteAddress }, "producer registered");
    } else {
      known.lastUpdateMs = client.lastUpdateMs;
      // The client's newer connection may have gone before this one.
      if (!this.#channels.has(client.clientId)) this.#channels.set(client.clientId, known.channel);
    }
  }

  unregister(group: string, channelId: number): void {
    this.#remove(group, channelId);
  }

  channelClosed(channelId: number): void {
    for (const group of [...this.#groups.keys()]) this.#remove(group, channelId);
  }

  /** One connection of the group, another one each time. */
  anyChannel(group: string): Channel | undefined {
    const clients = this.#groups.get(group);
    if (clients === undefined) return undefined;
    this.#turn = (this.#turn + 1) % Number.MAX_SAFE_INTEGER;
    return [...clients.values()][this.#turn % clients.size]?.channel;
  }

  channelOf(clientId: string): Channel | undefined {
    return this.#channels.get(clientId);
  }

  #remove(group: string, channelId: number): void {
    const clients = this.#groups.get(group);
    const client = clients?.get(channelId);
    if (clients === undefined || client === undefined) return;
    clients.delete(channelId);
    if (clients.size === 0) this.#groups.delete(group);
    this.#o.log.info({ group, clientId: client.clientId }, "producer unregistered");
    if (this.#channels.get(client.clientId)?.id === channelId && !this.#isInAnyGroup(channelId))
      this.#channels.delete(client.clientId);
  }

  #isInAnyGroup(channelId: number): boolean {
    for (const clients of this.#groups.values()) if (clients.has(channelId)) return true;
    return false;
  }

  #expire(): void {
    const oldest = this.#o.clock.now() - CLIENT_EXPIRED_MS;
    const silent: [string, ProducerClient][] = [];
    for (const [group, clients] of this.#groups) {
      for (const client of clients.values()) if (client.lastUpdateMs < oldest) silent.push([group, client]);
    }
    for (const [group, { channel, clientId }] of silent) {
      this.#o.log.warn({ group, clientId, remoteAddress: channel.remoteAddress }, "producer is silent: connection closed");
      this.#remove(group, channel.id);
      channel.close();
    }
  }

  #connections(command: RemotingCommand): RemotingCommand {
    const group = requiredText(command, "producerGroup");
    const clients = this.#groups.get(group);
    if (clients === undefined) return response(command, ResponseCode.SYSTEM_ERROR, `the producer group[${group}] not exist`);
    const connectionSet = [...clients.values()].map(connectionMembers);
    return response(command, ResponseCode.SUCCESS, undefined, {}, Buffer.from(writeJson({ connectionSet })));
  }

  #allProducers(command: RemotingCommand): RemotingCommand {
    const groups = [...this.#groups].map(([group, clients]) => [group, [...clients.values()].map(producerMembers)] as const);
    return response(command, ResponseCode.SUCCESS, undefined, {}, Buffer.from(writeJson({ data: new Map(groups) })));
  }
}

/** The address with a slash before it, as Java writes one. Source: Apache `ProducerInfo`. */
function producerMembers(client: ProducerClient): object {
  const { clientId, language, lastUpdateMs, channel, version } = client;
  return { clientId, language, lastUpdateTimestamp: lastUpdateMs, remoteIP: `/${channel.remoteAddress}`, version };
}
