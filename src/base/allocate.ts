/**
 * The share of `items` that member `self` of a group gets: all members get equally many, the first ones of
 * the remainder one more, each a run of neighbours. Every member must see the same lists in the same order.
 *
 * @param items    sorted
 * @param members  sorted as strings by UTF-16 code units
 * @returns nothing if `self` is no member
 * Source: Apache `AllocateMessageQueueAveragely`.
 */
export function allocateAveragely<T>(items: readonly T[], members: readonly string[], self: string): T[] {
  const index = members.indexOf(self);
  if (index < 0) return [];
  const remainder = items.length % members.length;
  const share = Math.floor(items.length / members.length);
  const start = index * share + Math.min(index, remainder);
  return items.slice(start, start + share + (index < remainder ? 1 : 0));
}

/** Likewise, but each member gets every so-many-th item. Source: Apache `AllocateMessageQueueAveragelyByCircle`. */
export function allocateByCircle<T>(items: readonly T[], members: readonly string[], self: string): T[] {
  const index = members.indexOf(self);
  return index < 0 ? [] : items.filter((_, at) => at % members.length === index);
}
