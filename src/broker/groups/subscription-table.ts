import type { SubscriptionData } from "../contracts.ts";

/** `topics`: some came or went. `data`: only what is wanted of a topic is not what it was. */
export type SubscriptionChange = "same" | "data" | "topics";

/** What one consumer group subscribes to, by topic: always what the newest heart-beat said. */
export class SubscriptionTable extends Map<string, SubscriptionData> {
  /**
   * Takes over the whole set. Where a topic stays, the larger subVersion counts: a member that was started earlier
   * and repeats its own does not undo it.
   * Source: Apache `ConsumerGroupInfo.updateSubscription`.
   */
  replaceAll(subscriptions: readonly SubscriptionData[]): SubscriptionChange {
    let change: SubscriptionChange = "same";
    const wanted = new Set(subscriptions.map(({ topic }) => topic));
    for (const topic of [...this.keys()]) {
      if (wanted.has(topic)) continue;
      this.delete(topic);
      change = "topics";
    }
    for (const subscription of subscriptions) {
      const before = this.get(subscription.topic);
      if (before !== undefined && subscription.subVersion <= before.subVersion) continue;
      this.set(subscription.topic, subscription);
      if (before === undefined) change = "topics";
      else if (change === "same") change = "data";
    }
    return change;
  }
}

/** The members in the order that Java writes. */
export function subscriptionMembers(data: SubscriptionData): SubscriptionData {
  const { classFilterMode, codeSet, expressionType, subString, subVersion, tagsSet, topic } = data;
  return { classFilterMode, codeSet, expressionType, subString, subVersion, tagsSet, topic };
}
