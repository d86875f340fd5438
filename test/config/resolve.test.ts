// Goal: whatever is given as configuration, either every key has an allowed value from the strongest source,
// or one line says which key, which value and what would be right.
import test from "ava";
import fc from "fast-check";
import { CONFIG_NAMES, KEYS } from "../../src/config/keys.ts";
import { type ConfigSource, resolveConfig } from "../../src/config/resolve.ts";
import { ROCKETMQ_KEYS } from "../../src/config/rocketmq-keys.ts";

const MACHINE = { hostName: "host.example", homeDirectory: "/home/me", addresses: ["192.0.2.7", "192.0.2.8"], processors: 4 };

function from(origin: string, values: Record<string, string>): ConfigSource {
  return { origin, values: Object.entries(values) };
}

function faultOf(values: Record<string, string>, origin = "file a.conf"): string {
  try {
    resolveConfig([from(origin, values)], MACHINE);
    return "no fault";
  } catch (error) {
    const { code, message } = error as { code?: string; message: string };
    return `${code} ${message}`;
  }
}

test("without sources, RocketMQ's defaults and what the machine tells", (t) => {
  const { values, origins, warnings } = resolveConfig([], MACHINE);
  t.like(values, {
    listenPort: 10911,
    brokerClusterName: "DefaultCluster",
    flushDiskType: "ASYNC_FLUSH",
    mappedFileSizeCommitLog: 1_073_741_824,
    mappedFileSizeConsumeQueue: 6_000_000,
    maxMessageSize: 4_194_304,
    brokerName: "host.example",
    bindAddress: "127.0.0.1",
    brokerIP1: "127.0.0.1",
    brokerIP2: "127.0.0.1",
    storePathRootDir: "/home/me/store",
    storePathCommitLog: "/home/me/store/commitlog",
    ioWorkers: 2,
  });
  t.deepEqual(warnings, []);
  t.deepEqual([...new Set(origins.values())], ["default"]);
  t.is(origins.size, CONFIG_NAMES.length);
});

test("the later source goes before the earlier, key by key, and the origin says so", (t) => {
  const { values, origins } = resolveConfig(
    [
      from("file a.conf", { listenPort: "1", brokerName: "a", flushDiskType: "SYNC_FLUSH" }),
      from("environment", { listenPort: "2", brokerName: "b" }),
      from("flag --port", { listenPort: "3" }),
    ],
    MACHINE,
  );
  t.deepEqual([values.listenPort, origins.get("listenPort")], [3, "flag --port"]);
  t.deepEqual([values.brokerName, origins.get("brokerName")], ["b", "environment"]);
  t.deepEqual([values.flushDiskType, origins.get("flushDiskType")], ["SYNC_FLUSH", "file a.conf"]);
});

test("an unknown key is refused with its value and the nearest match", (t) => {
  t.is(
    faultOf({ listenPrt: "10911" }),
    'MILLRACE_CONFIG_INVALID file a.conf: unknown config key "listenPrt" (value "10911"); did you mean listenPort?',
  );
  t.regex(faultOf({ flushdisktype: "x" }), /did you mean flushDiskType\?$/);
  t.regex(faultOf({ xyzzy: "1" }), /unknown config key "xyzzy" \(value "1"\)$/);
  // Names that every object has are no keys.
  t.regex(faultOf({ toString: "1", constructor: "2" }), /unknown config key "toString".*unknown config key "constructor"/);
});

test("a key of RocketMQ that has no effect is accepted with one warning", (t) => {
  const { warnings } = resolveConfig(
    [from("file a.conf", { sendMessageThreadPoolNums: "8", transferMsgByHeap: "false" })],
    MACHINE,
  );
  t.deepEqual(warnings, [
    "file a.conf: sendMessageThreadPoolNums is known to RocketMQ, not used by Millrace",
    "file a.conf: transferMsgByHeap is known to RocketMQ, not used by Millrace",
  ]);
});

test("a value that is not allowed is refused with what is", (t) => {
  t.is(
    faultOf({ listenPort: "70000" }),
    "MILLRACE_CONFIG_INVALID file a.conf: listenPort=70000 is not valid; allowed: a whole number from 0 to 65535 (port)",
  );
  t.regex(faultOf({ flushDiskType: "SOMETIMES" }), /flushDiskType=SOMETIMES is not valid; allowed: ASYNC_FLUSH, SYNC_FLUSH$/);
  t.regex(faultOf({ autoCreateTopicEnable: "yes" }), /allowed: true or false$/);
  t.regex(faultOf({ deleteWhen: "25" }), /deleteWhen=25 is not valid; allowed: hours/);
  t.regex(faultOf({ messageDelayLevel: "1s 5x" }), /messageDelayLevel=1s 5x is not valid/);
  t.regex(faultOf({ namesrvAddr: "localhost" }), /namesrvAddr=localhost is not valid; allowed: host:port/);
  t.regex(faultOf({ brokerIP1: "broker.example" }), /allowed: an IP address$/);
  t.regex(faultOf({ storePathCommitLog: "/a,/b" }), /allowed: one path, without commas$/);
  t.regex(faultOf({ brokerRole: "SLAVE" }), /allowed: ASYNC_MASTER, SYNC_MASTER$/);
  t.regex(faultOf({ listenPort: "1e3" }), /listenPort=1e3 is not valid/);
  t.regex(faultOf({ listenPort: "" }), /listenPort= is not valid/);
});

test("access control that was asked for but is not there stops the start", (t) => {
  for (const key of ["aclEnable", "authenticationEnabled", "authorizationEnabled"]) {
    t.regex(faultOf({ [key]: "true" }), /no access control/);
    t.is(faultOf({ [key]: "false" }), "no fault");
  }
});

test("all faults come in one message of one line", (t) => {
  const message = faultOf({ listenPrt: "1", listenPort: "x", brokerId: "-1" });
  t.regex(message, /listenPrt.*brokerId=-1.*listenPort=x/);
  t.false(message.includes("\n"));
});

test("older spellings mean the same key", (t) => {
  const { values } = resolveConfig([from("f", { mapedFileSizeCommitLog: "10485760", mapedFileSizeConsumeQueue: "30" })], MACHINE);
  t.is(values.mappedFileSizeCommitLog, 10_485_760);
  t.is(values.mappedFileSizeConsumeQueue, 40, "whole entries only");
  t.regex(faultOf({ mapedFileSizeCommitLog: "1" }), /mapedFileSizeCommitLog=1 is not valid/);
});

test("maxMessageSize gives way to a small log file, and says so", (t) => {
  const { values, warnings } = resolveConfig([from("f", { mappedFileSizeCommitLog: "1048576" })], MACHINE);
  t.is(values.maxMessageSize, 983_040);
  t.is(warnings.length, 1);
  t.regex(warnings[0]!, /^maxMessageSize=4194304 is lowered to 983040/);
});

test("the address that clients are told follows the bind address", (t) => {
  const told = (bindAddress: string, addresses = MACHINE.addresses) =>
    resolveConfig([from("f", { bindAddress })], { ...MACHINE, addresses }).values.brokerIP1;
  t.is(told("127.0.0.1"), "127.0.0.1");
  t.is(told("localhost"), "127.0.0.1");
  t.is(told("0.0.0.0"), "192.0.2.7");
  t.is(told("::"), "192.0.2.7");
  t.is(told("2001:db8::1"), "2001:db8::1");
  t.is(told("0.0.0.0", []), "127.0.0.1");
});

test("network threads follow the processors, at least one", (t) => {
  const threads = (processors: number, ioWorkers = "0") =>
    resolveConfig([from("f", { ioWorkers })], { ...MACHINE, processors }).values.ioWorkers;
  t.deepEqual([threads(1), threads(2), threads(5), threads(64), threads(64, "12")], [1, 1, 2, 8, 12]);
});

test("every key's default is allowed, and every key of RocketMQ's is spelt as there", (t) => {
  for (const name of CONFIG_NAMES) {
    const key = KEYS[name];
    t.is<unknown, unknown>(key.parse(String(key.default)), key.default, name);
    t.is(ROCKETMQ_KEYS.has(name), key.source === "rocketmq", name);
    t.regex(key.about, /^[A-Z\d].*\.$/, name);
  }
  t.true(ROCKETMQ_KEYS.size > 500);
});

// Method: random texts for random keys. Either the result holds the value that the key's own parser gives, or it is refused.
test("a resolved value is always one that its key allows", (t) => {
  const texts = fc.oneof(
    fc.string(),
    fc.integer().map(String),
    fc.constantFrom("true", "FALSE", "1s 2m", "127.0.0.1:9876;[::1]:1", " 7 "),
  );
  const property = fc.property(fc.constantFrom(...CONFIG_NAMES), texts, (name, text) => {
    const allowed = KEYS[name].parse(text.trim());
    try {
      const { values, origins } = resolveConfig([from("f", { [name]: text })], MACHINE);
      return allowed !== undefined && origins.get(name) === "f" && typeof values[name] === typeof KEYS[name].default;
    } catch (error) {
      return allowed === undefined && (error as Error).message.includes(`${name}=`) && !(error as Error).message.includes("\n");
    }
  });
  t.notThrows(() => fc.assert(property));
});

test("only a broker that is given an address for others listens to others", (t) => {
  const bound = (brokerIP1: string) => resolveConfig([from("f", { brokerIP1 })], MACHINE).values.bindAddress;
  t.is(bound("127.0.0.1"), "127.0.0.1");
  t.is(bound("192.0.2.9"), "0.0.0.0");
});
