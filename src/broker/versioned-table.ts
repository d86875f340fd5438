import type { Clock } from "../base/clock.ts";
import { MillraceError } from "../base/errors.ts";
import { optionalInteger, optionalText } from "../format/remoting/command-fields.ts";
import type { RemotingCommand } from "../format/remoting/remoting-command.ts";
import { memberOf, parseJson } from "../format/text/fastjson.ts";
import { type DataVersion, dataVersionFrom, equalDataVersions } from "../format/topic-config.ts";

/** The version after a change. Source: Apache `DataVersion.nextVersion`. */
export function nextVersion(version: DataVersion, clock: Clock): DataVersion {
  return { ...version, counter: version.counter + 1, timestamp: clock.now() };
}

/** The dataVersion of a table's file. @throws MillraceError MILLRACE_PROTOCOL */
export function storedVersion(table: unknown): DataVersion {
  return dataVersionFrom(memberOf(table, "dataVersion"));
}

/**
 * The part of a table that a paged request asks for: names in order, from a place on, at most so many. Without any of
 * the fields, all of it. A reader whose version is not ours begins again. Source: Apache `subTopicConfigTable`.
 */
export function pageOf<V>(
  table: ReadonlyMap<string, V>,
  version: DataVersion,
  command: RemotingCommand,
  fields: { sequence: string; count: string },
): [string, V][] {
  const sequence = optionalInteger(command, fields.sequence);
  const count = optionalInteger(command, fields.count);
  const seenText = optionalText(command, "dataVersion");
  const entries = [...table];
  if (count === undefined && seenText === undefined && sequence === undefined) return entries;
  entries.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
  const isSame = seenText !== undefined && seenText.trim() !== "" && equalDataVersions(versionFromText(seenText), version);
  const start = isSame ? Math.max(0, sequence ?? 0) : 0;
  return entries.slice(start, count !== undefined && count > 0 ? start + count : undefined);
}

/** What is no version is equal to none. */
function versionFromText(text: string): DataVersion {
  try {
    return dataVersionFrom(parseJson(text));
  } catch (error) {
    if (!(error instanceof MillraceError)) throw error;
    return { counter: -1, stateVersion: -1, timestamp: -1 };
  }
}
