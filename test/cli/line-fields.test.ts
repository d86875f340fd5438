// Goal: the named field is found in lines as they are really written, and nothing is found in others.
import test from "ava";
import { fieldReader, type LineFormat } from "../../src/cli/line-fields.ts";

const RFC_5424 = '<165>1 2003-10-11T22:14:15.003Z mymachine.example.com evntslog 77 ID47 [exampleSDID@32473 iut="3"] An event';
const RFC_3164 = "<34>Oct 11 22:14:15 mymachine su[230]: 'su root' failed";
const SYSLOG_FILE = "Nov  9 06:25:01 web-1 CRON: (root) CMD (x)";
const SYSLOG_ISO = "2026-11-21T05:08:27.123456+00:00 web-1 systemd[1]: Started.";
const COMBINED =
  '203.0.113.9 - bob [10/Oct/2000:13:55:36 -0700] "GET /a?b=c HTTP/1.0" 200 2326 "http://example.com/start" "Mozilla/4.08 [en]"';

const cases: [LineFormat, string, string, string | undefined][] = [
  ["plain", "1", "  one two", "one"],
  ["plain", "2", "one two\r", "two"],
  ["plain", "3", "one two", undefined],
  ["plain", "1", "", undefined],
  ["syslog", "host", RFC_5424, "mymachine.example.com"],
  ["syslog", "app", RFC_5424, "evntslog"],
  ["syslog", "pid", RFC_5424, "77"],
  ["syslog", "msgid", RFC_5424, "ID47"],
  ["syslog", "message", RFC_5424, "An event"],
  ["syslog", "priority", RFC_3164, "34"],
  ["syslog", "host", RFC_3164, "mymachine"],
  ["syslog", "app", RFC_3164, "su"],
  ["syslog", "pid", RFC_3164, "230"],
  ["syslog", "pid", SYSLOG_FILE, undefined],
  ["syslog", "app", SYSLOG_FILE, "CRON"],
  ["syslog", "host", SYSLOG_ISO, "web-1"],
  ["syslog", "app", SYSLOG_ISO, "systemd"],
  ["syslog", "host", "no syslog at all", undefined],
  ["syslog", "4", SYSLOG_FILE, "web-1"],
  ["access-log", "host", COMBINED, "203.0.113.9"],
  ["access-log", "user", COMBINED, "bob"],
  ["access-log", "path", COMBINED, "/a?b=c"],
  ["access-log", "status", COMBINED, "200"],
  ["access-log", "agent", COMBINED, "Mozilla/4.08 [en]"],
  ["access-log", "bytes", '::1 - - [x] "GET / HTTP/1.1" 304 -', "-"],
  ["access-log", "agent", '::1 - - [x] "GET / HTTP/1.1" 304 -', undefined],
  ["access-log", "status", '1.2.3.4 - - [x] "-" 400 0', "400"],
  ["access-log", "status", "garbage", undefined],
  ["ndjson", "user", '{"user":"ann"}', "ann"],
  ["ndjson", "user.id", '{"user":{"id":7}}', "7"],
  ["ndjson", "user.id", '{"user":null}', undefined],
  ["ndjson", "toString", "{}", undefined],
  ["ndjson", "user", "{broken", undefined],
];

test("finds fields", (t) => {
  for (const [format, name, line, expected] of cases)
    t.is(fieldReader(format, name)(line), expected, `${format} ${name}: ${line}`);
});

test("a field that the format has not is refused with those it has", (t) => {
  t.throws(() => fieldReader("syslog", "hots"), { code: "MILLRACE_CONFIG_INVALID", message: /--key-field hots.*host, app/ });
  t.throws(() => fieldReader("plain", "host"), { code: "MILLRACE_CONFIG_INVALID", message: /number of a word/ });
  t.throws(() => fieldReader("plain", "0"), { code: "MILLRACE_CONFIG_INVALID" });
});

test("a hostile line costs no more than its length", (t) => {
  const long = "a ".repeat(100_000);
  const started = performance.now();
  for (const [format, name] of [
    ["syslog", "host"],
    ["access-log", "agent"],
    ["plain", "99999"],
    ["ndjson", "x"],
  ] as const) {
    fieldReader(format, name)(long);
    fieldReader(format, name)(`<1>1 ${"[".repeat(100_000)}`);
  }
  t.true(performance.now() - started < 2000);
});
