import type { Clock } from "../../base/clock.ts";
import { optionalText, requiredText } from "../../format/remoting/command-fields.ts";
import { decodeHeartbeat } from "../../format/remoting/heartbeat.ts";
import { RequestCode, ResponseCode } from "../../format/remoting/remoting-codes.ts";
import { type RemotingCommand, response } from "../../format/remoting/remoting-command.ts";
import type { Channel } from "../channel.ts";
import type { ConsumerClient, HandlerTable } from "../contracts.ts";
import type { Consumers } from "./consumers.ts";
import type { Producers } from "./producers.ts";

export interface HeartbeatsOptions {
  clock: Clock;
  consumers: Consumers;
  producers: Producers;
}

/**
 * HEART_BEAT (34) and UNREGISTER_CLIENT (35), whose effects are in Consumers and Producers.
 * Source: Apache `ClientManageProcessor`.
 */
export class Heartbeats {
  readonly #o: HeartbeatsOptions;

  constructor(options: HeartbeatsOptions) {
    this.#o = options;
  }

  handlers(): HandlerTable {
    return new Map([
      [RequestCode.HEART_BEAT, (command, channel) => this.#heartbeat(command, channel)],
      [RequestCode.UNREGISTER_CLIENT, (command, channel) => this.#unregister(command, channel)],
    ]);
  }

  channelClosed(channelId: number): void {
    this.#o.consumers.channelClosed(channelId);
    this.#o.producers.channelClosed(channelId);
  }

  #heartbeat(command: RemotingCommand, channel: Channel): RemotingCommand {
    const { consumers, producers, clock } = this.#o;
    const { clientId, consumers: groups, producerGroups, fingerprint, withoutSub } = decodeHeartbeat(command.body);
    const { language, version } = command;
    const client: ConsumerClient = { clientId, channel, language, version, lastUpdateMs: clock.now() };
    // Only the second form, which has a fingerprint, may leave the subscriptions out.
    let isSubChange = fingerprint === 0;
    for (const group of groups) {
      if (consumers.heartbeat(group, client, fingerprint, fingerprint !== 0 && withoutSub)) isSubChange = true;
    }
    for (const group of producerGroups) producers.heartbeat(group, client);
    return response(command, ResponseCode.SUCCESS, undefined, { IS_SUPPORT_HEART_BEAT_V2: true, IS_SUB_CHANGE: isSubChange });
  }

  #unregister(command: RemotingCommand, channel: Channel): RemotingCommand {
    requiredText(command, "clientID");
    const producerGroup = optionalText(command, "producerGroup");
    if (producerGroup !== undefined) this.#o.producers.unregister(producerGroup, channel.id);
    const consumerGroup = optionalText(command, "consumerGroup");
    if (consumerGroup !== undefined) this.#o.consumers.unregister(consumerGroup, channel.id);
    return response(command, ResponseCode.SUCCESS);
  }
}
