import { BROKER_KEYS, type BrokerValues } from "./broker-keys.ts";
import type { ConfigKey, KeyTable } from "./config-key.ts";
import { STORE_KEYS, type StoreValues } from "./store-keys.ts";

/** All that can be set of a broker, by RocketMQ's names. */
export interface ConfigValues extends BrokerValues, StoreValues {}

export type ConfigName = keyof ConfigValues;
export type ConfigValue = ConfigValues[ConfigName];

/** Every key that is checked, in the order in which they are shown. */
export const KEYS: KeyTable<ConfigValues> = { ...BROKER_KEYS, ...STORE_KEYS };

export const CONFIG_NAMES: readonly ConfigName[] = Object.keys(KEYS) as ConfigName[];

/**
 * Keys whose values are checked, but that nothing follows yet: whoever sets one is warned. A test keeps this
 * list in step with the code that reads the values. commitLogRecoverMaxNum stays here: where Apache's broker has gone back
 * so many files it begins there, and what lies before gets no queue entries; here recovery begins at the first record
 * whose entries are in doubt, wherever that is (store/recovery/recovery.ts).
 */
export const WITHOUT_EFFECT: ReadonlySet<ConfigName> = new Set<ConfigName>([
  "forceRegister",
  "channelExpiredTimeout",
  "subscriptionExpiredTimeout",
  "serverSocketBacklog",
  "commitLogRecoverMaxNum",
]);

/** Older spellings that RocketMQ's own example files still use. */
const ALIASES: ReadonlyMap<string, ConfigName> = new Map([
  ["mapedFileSizeCommitLog", "mappedFileSizeCommitLog"],
  ["mapedFileSizeConsumeQueue", "mappedFileSizeConsumeQueue"],
]);

/** The key that a name in a file or on the command line stands for. */
export function configNameOf(name: string): ConfigName | undefined {
  return Object.hasOwn(KEYS, name) ? (name as ConfigName) : ALIASES.get(name);
}

export function keyOf(name: ConfigName): ConfigKey<ConfigValue> {
  return KEYS[name];
}
