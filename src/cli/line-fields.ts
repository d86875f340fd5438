import { MillraceError } from "../base/errors.ts";

export const LINE_FORMATS = ["plain", "syslog", "access-log", "ndjson"] as const;
export type LineFormat = (typeof LINE_FORMATS)[number];

/** The named field of a line; undefined where the line has none or is of another form. */
export type FieldReader = (line: string) => string | undefined;

const HEAD_5424 = String.raw`<(?<priority>\d{1,3})>\d+ (?<time>\S+) (?<host>\S+) (?<app>\S+) (?<pid>\S+) (?<msgid>\S+)`;
const SYSLOG_5424 = new RegExp(String.raw`^${HEAD_5424} (?:-|(?:\[[^\]]*\])+)(?: (?<message>.*))?$`, "s");
/** RFC 3164, with or without the priority, and with the time stamps of newer daemons. */
const TIME_3164 = String.raw`(?<time>[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d|\d{4}-\d\d-\d\dT\S+)`;
const SYSLOG_3164 = new RegExp(
  String.raw`^(?:<(?<priority>\d{1,3})>)?${TIME_3164} (?<host>\S+) (?<app>[^\s:[]+)(?:\[(?<pid>[^\]]*)\])?: ?(?<message>.*)$`,
  "s",
);
/** Common log format, and with referer and agent the combined one. */
const REQUEST = String.raw`(?<request>(?<method>\S+)(?: (?<path>\S+))?[^"]*)`;
const COMMON = String.raw`^(?<host>\S+) (?<ident>\S+) (?<user>\S+) \[(?<time>[^\]]*)\] "${REQUEST}" (?<status>\d{3}) (?<bytes>\d+|-)`;
const ACCESS_LOG = new RegExp(String.raw`${COMMON}(?: "(?<referer>[^"]*)" "(?<agent>[^"]*)")?`);

const FIELDS: Readonly<Record<"syslog" | "access-log", readonly string[]>> = {
  syslog: ["priority", "time", "host", "app", "pid", "msgid", "message"],
  "access-log": ["host", "ident", "user", "time", "request", "method", "path", "status", "bytes", "referer", "agent"],
};

/**
 * Reads field `name`: a name that the format knows, or the number of a blank-separated word, from 1.
 * @throws MillraceError MILLRACE_CONFIG_INVALID: the format has no such field
 */
export function fieldReader(format: LineFormat, name: string): FieldReader {
  if (/^[1-9]\d*$/.test(name)) return wordReader(Number(name));
  switch (format) {
    case "plain":
      throw unknownField(format, name, "the number of a word, from 1");
    case "syslog":
      checkField(format, name);
      return (line) => (SYSLOG_5424.exec(line) ?? SYSLOG_3164.exec(line))?.groups?.[name];
    case "access-log":
      checkField(format, name);
      return (line) => ACCESS_LOG.exec(line)?.groups?.[name];
    case "ndjson":
      return memberReader(name.split("."));
  }
}

function wordReader(number: number): FieldReader {
  const pattern = new RegExp(`^\\s*(?:\\S+\\s+){${number - 1}}(\\S+)`);
  return (line) => pattern.exec(line)?.[1];
}

function memberReader(path: readonly string[]): FieldReader {
  return (line) => {
    try {
      let value: unknown = JSON.parse(line);
      for (const name of path) {
        if (typeof value !== "object" || value === null || !Object.hasOwn(value, name)) return undefined;
        value = (value as Record<string, unknown>)[name];
      }
      return typeof value === "string" ? value : JSON.stringify(value);
    } catch {
      return undefined;
    }
  };
}

function checkField(format: "syslog" | "access-log", name: string): void {
  if (!FIELDS[format].includes(name))
    throw unknownField(format, name, `${FIELDS[format].join(", ")}, or the number of a word, from 1`);
}

function unknownField(format: LineFormat, name: string, allowed: string): MillraceError {
  return new MillraceError(
    "MILLRACE_CONFIG_INVALID",
    `--key-field ${name} is not valid with --format ${format}; allowed: ${allowed}`,
    {
      format,
      name,
    },
  );
}
