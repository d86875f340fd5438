const UNITS: Readonly<Record<string, number>> = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };
const LEVELS_MAX = 256;

/**
 * Delays in ms of level 1, 2 and so on, from RocketMQ's `messageDelayLevel` (`1s 5s 10m 2h 1d`); undefined where
 * the text is no such list. Source: Apache `ScheduleMessageService.parseDelayLevel`.
 */
export function parseDelayLevels(text: string): number[] | undefined {
  const words = text.trim().split(/ +/);
  if (words.length > LEVELS_MAX || !words.every((word) => /^\d{1,9}[smhd]$/.test(word))) return undefined;
  return words.map((word) => Number(word.slice(0, -1)) * UNITS[word.at(-1)!]!);
}
