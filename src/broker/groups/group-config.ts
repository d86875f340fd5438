import { MillraceError } from "../../base/errors.ts";
import { entriesOf, memberOf } from "../../format/text/fastjson.ts";
import type { SubscriptionGroupConfig } from "../contracts.ts";

/** JSON of one consumer group. Source: Apache `SubscriptionGroupConfig`. */

export function newGroup(groupName: string): SubscriptionGroupConfig {
  return {
    groupName,
    consumeEnable: true,
    consumeFromMinEnable: true,
    consumeBroadcastEnable: true,
    consumeMessageOrderly: false,
    retryQueueNums: 1,
    retryMaxTimes: 16,
    groupRetryPolicy: { type: "CUSTOMIZED" },
    brokerId: 0,
    whichBrokerWhenConsumeSlowly: 1,
    notifyConsumerIdsChangedEnable: true,
    groupSysFlag: 0,
    consumeTimeoutMinute: 15,
    attributes: {},
  };
}

/** The members in the order that Java writes. */
export function groupConfigMembers(config: SubscriptionGroupConfig): object {
  return Object.fromEntries(Object.entries(config).sort(([a], [b]) => (a < b ? -1 : 1)));
}

/**
 * Missing members take Java's defaults.
 * @throws MillraceError MILLRACE_PROTOCOL naming group and member
 */
export function groupConfigFrom(groupName: string, value: unknown): SubscriptionGroupConfig {
  const config: SubscriptionGroupConfig & Record<string, unknown> = { ...newGroup(groupName) };
  for (const [name, standard] of Object.entries(config)) {
    const member = memberOf(value, name);
    if (member === undefined || member === null || name === "groupName" || name === "attributes") continue;
    const isRight = typeof standard === "number" ? Number.isSafeInteger(member) : typeof member === typeof standard;
    if (!isRight || Array.isArray(member)) {
      throw new MillraceError("MILLRACE_PROTOCOL", `group[${groupName}]: ${name} is not ${kindOf(standard)}`, {
        groupName,
        name,
      });
    }
    config[name] = member;
  }
  config.attributes = Object.fromEntries(
    entriesOf(memberOf(value, "attributes")).filter(
      (entry): entry is [string, string] => typeof entry[0] === "string" && typeof entry[1] === "string",
    ),
  );
  return config;
}

function kindOf(standard: unknown): string {
  return typeof standard === "number" ? "an integer" : `a ${typeof standard}`;
}
