export interface StoreDefaults {
  logFileSize: number;
  queueFileSize: number;
  maxMessageSize: number;
  checksumBytesPerSecond: number;
  flushIntervalMs: number;
  flushLeastPages: number;
  flushThoroughIntervalMs: number;
  queueFlushIntervalMs: number;
  queueFlushLeastPages: number;
  queueFlushThoroughIntervalMs: number;
  isIndexed: boolean;
  indexSlotCount: number;
  indexEntryCount: number;
}

/** Defaults of the store; those with a name of RocketMQ's have its values. */
export const STORE_DEFAULTS: Readonly<StoreDefaults> = {
  /** Bytes: mappedFileSizeCommitLog, mappedFileSizeConsumeQueue (300,000 entries). */
  logFileSize: 1_073_741_824,
  queueFileSize: 6_000_000,
  maxMessageSize: 4_194_304,
  checksumBytesPerSecond: 33_554_432,
  flushIntervalMs: 500,
  flushLeastPages: 4,
  flushThoroughIntervalMs: 10_000,
  queueFlushIntervalMs: 1000,
  queueFlushLeastPages: 2,
  queueFlushThoroughIntervalMs: 60_000,
  isIndexed: true,
  indexSlotCount: 5_000_000,
  indexEntryCount: 20_000_000,
};

/** messageDelayLevel `1s 5s 10s 30s 1m 2m … 10m 20m 30m 1h 2h`, ms; level 1 first. */
export const DELAY_LEVELS_MS: number[] = [
  1_000, 5_000, 10_000, 30_000, 60_000, 120_000, 180_000, 240_000, 300_000, 360_000, 420_000, 480_000, 540_000, 600_000,
  1_200_000, 1_800_000, 3_600_000, 7_200_000,
];
