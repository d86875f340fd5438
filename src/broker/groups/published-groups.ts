import { isTagType } from "../../filter/entry-filter.ts";
import type { ConsumerLookup, GroupLookup, SubscriptionData } from "../contracts.ts";
import type { PublishedFilter, PublishedGroup, PublishedSubscription, TablePublisher } from "../table-publisher.ts";
import type { ConsumerFilter, ConsumerFilters } from "./consumer-filters.ts";

export interface PublishedGroupsOptions {
  groups: GroupLookup;
  consumers: ConsumerLookup;
  tables: TablePublisher;
  filters: Pick<ConsumerFilters, "get" | "ofGroup">;
  /** Names as in the configuration, read at each change. */
  settings: { enablePropertyFilter: boolean; filterSupportRetry: boolean; enableConsumeQueueExt?: boolean };
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
    for (const group of [...this.#published.keys()]) this.refresh(group); // Those that stand in no table, too.
  }

  #stateOf(group: string): PublishedGroup | undefined {
    const { groups, consumers, filters, settings } = this.#o;
    const config = groups.get(group);
    if (config === undefined) return undefined;
    const online = consumers.group(group);
    const subscriptions = [...(online?.subscriptions.values() ?? [])].map((data) =>
      publishedSubscription(data, filters.get(data.topic, group), settings.enableConsumeQueueExt === true),
    );
    return {
      group,
      consumeEnable: config.consumeEnable,
      consumeBroadcastEnable: config.consumeBroadcastEnable,
      broadcasting: online?.messageModel === "BROADCASTING",
      hasClients: (online?.clients.size ?? 0) > 0,
      retryMaxTimes: config.retryMaxTimes,
      brokerId: config.brokerId,
      groupSysFlag: config.groupSysFlag,
      whichBrokerWhenConsumeSlowly: config.whichBrokerWhenConsumeSlowly,
      // Without clients the subscriptions mean nothing: a pull that relies on them is answered with an error.
      subscriptions: (online?.clients.size ?? 0) > 0 ? subscriptions : [],
      forbiddenTopics: subscriptions.map(({ topic }) => topic).filter((topic) => groups.isForbidden(group, topic)),
      mayFilter: settings.enablePropertyFilter,
      filterRetries: settings.filterSupportRetry,
      filters: filters.ofGroup(group).map((filter) => publishedFilter(filter, false)),
    };
  }
}

function publishedSubscription(
  data: SubscriptionData,
  filter: ConsumerFilter | undefined,
  isMarked: boolean,
): PublishedSubscription {
  const { topic, subString, expressionType, subVersion, codeSet } = data;
  return {
    topic,
    subString,
    subVersion,
    filter: isTagType(expressionType) ? "tags" : filter && publishedFilter(filter, isMarked),
    codes: codeSet,
    matchAll: subString === "*",
  };
}

function publishedFilter(filter: ConsumerFilter, isMarked: boolean): PublishedFilter {
  const { topic, expressionType, expression, clientVersion, bloomFilterData, bornTime } = filter;
  const bloom = isMarked ? { ...bloomFilterData, bornTime } : undefined;
  return { topic, expressionType, expression, version: clientVersion, bloom };
}
