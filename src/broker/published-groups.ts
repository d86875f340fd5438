import type { ConsumerLookup, GroupLookup, SubscriptionData } from "./contracts.ts";
import type { PublishedGroup, PublishedSubscription, TablePublisher } from "./table-publisher.ts";

export interface PublishedGroupsOptions {
  groups: GroupLookup;
  consumers: ConsumerLookup;
  tables: TablePublisher;
}

/**
 * What the I/O workers know of each group: its configuration and its subscriptions in one. Told only when
 * something has changed. Control thread only.
 */
export class PublishedGroups {
  readonly #o: PublishedGroupsOptions;
  /** What was last published, as text. */
  readonly #published = new Map<string, string>();

  constructor(options: PublishedGroupsOptions) {
    this.#o = options;
  }

  /** To be called whenever the group's configuration, its clients or its subscriptions may have changed. */
  refresh(group: string): void {
    const state = this.#stateOf(group);
    if (state === undefined) {
      if (this.#published.delete(group)) this.#o.tables.groupRemoved(group);
      return;
    }
    const text = JSON.stringify(state);
    if (this.#published.get(group) === text) return;
    this.#published.set(group, text);
    this.#o.tables.groupChanged(state);
  }

  refreshAll(): void {
    for (const { groupName } of this.#o.groups.all()) this.refresh(groupName);
    for (const { group } of this.#o.consumers.all()) this.refresh(group);
  }

  #stateOf(group: string): PublishedGroup | undefined {
    const { groups, consumers } = this.#o;
    const config = groups.get(group);
    if (config === undefined) return undefined;
    const online = consumers.group(group);
    const subscriptions = [...(online?.subscriptions.values() ?? [])].map(publishedSubscription);
    return {
      group,
      consumeEnable: config.consumeEnable,
      consumeBroadcastEnable: config.consumeBroadcastEnable,
      broadcasting: online?.messageModel === "BROADCASTING",
      hasClients: (online?.clients.size ?? 0) > 0,
      retryMaxTimes: config.retryMaxTimes,
      brokerId: config.brokerId,
      whichBrokerWhenConsumeSlowly: config.whichBrokerWhenConsumeSlowly,
      // Without clients the subscriptions mean nothing: a pull that relies on them is answered with an error.
      subscriptions: (online?.clients.size ?? 0) > 0 ? subscriptions : [],
      forbiddenTopics: subscriptions.map(({ topic }) => topic).filter((topic) => groups.isForbidden(group, topic)),
    };
  }
}

function publishedSubscription(data: SubscriptionData): PublishedSubscription {
  const { topic, subString, expressionType, subVersion, codeSet } = data;
  return { topic, subString, expressionType, subVersion, codes: codeSet, matchAll: subString === "*" };
}
