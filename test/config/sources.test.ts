// Goal: files, environment and options are read as RocketMQ's users write them.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "ava";
import { parseDelayLevels } from "../../src/config/delay-levels.ts";
import { CONFIG_NAMES } from "../../src/config/keys.ts";
import { resolveConfig } from "../../src/config/resolve.ts";
import { showConfig } from "../../src/config/show.ts";
import {
  environmentName,
  environmentSource,
  fileSource,
  optionsSource,
  rocketmqEnvironmentSource,
} from "../../src/config/sources.ts";

const directory = mkdtempSync(join(tmpdir(), "millrace-config-"));
test.after.always(() => rmSync(directory, { recursive: true }));

function fileOf(name: string, content: string | Buffer): string {
  const path = join(directory, name);
  writeFileSync(path, content);
  return path;
}

test("reads a file of Java properties: comments, continuation, escapes, both separators", (t) => {
  const path = fileOf(
    "broker.conf",
    "# comment\n! other\n\nbrokerClusterName = DefaultCluster\nbrokerName:broker-\\\n   a\r\nlistenPort 10911\nregionId=\\u00e9t\\u00E9\nnamesrvAddr=127.0.0.1:9876;127.0.0.1:9877\n",
  );
  const { values, origins } = resolveConfig([fileSource(path)]);
  t.is(values.brokerName, "broker-a");
  t.is(values.listenPort, 10911);
  t.is(values.regionId, "été");
  t.is(values.namesrvAddr, "127.0.0.1:9876;127.0.0.1:9877");
  t.is(origins.get("brokerName"), `file ${path}`);
  t.is(origins.get("brokerId"), "default");
});

test("takes UTF-8, and Java's ISO-8859-1 where it is not UTF-8", (t) => {
  t.is(resolveConfig([fileSource(fileOf("utf8.conf", "regionId=Zürich"))]).values.regionId, "Zürich");
  t.is(resolveConfig([fileSource(fileOf("latin1.conf", Buffer.from("regionId=Zürich", "latin1")))]).values.regionId, "Zürich");
});

test("a file that cannot be read or is no properties names itself", (t) => {
  const missing = join(directory, "missing.conf");
  const error = t.throws(() => fileSource(missing), { code: "MILLRACE_CONFIG_INVALID" });
  t.true(error.message.includes(missing));
  const broken = fileOf("broken.conf", "brokerName=a\nregionId=\\u12");
  t.regex(t.throws(() => fileSource(broken), { code: "MILLRACE_CONFIG_INVALID" }).message, /broken\.conf.*line 2/);
});

test("environment names are the keys in upper case, all different", (t) => {
  t.is(environmentName("listenPort"), "MILLRACE_LISTEN_PORT");
  t.is(environmentName("brokerIP1"), "MILLRACE_BROKER_IP1");
  t.is(environmentName("checkCRCOnRecover"), "MILLRACE_CHECK_CRC_ON_RECOVER");
  t.is(new Set(CONFIG_NAMES.map(environmentName)).size, CONFIG_NAMES.length);
});

test("environment sets keys, warns of likely misspellings and leaves the rest alone", (t) => {
  const source = environmentSource({
    MILLRACE_LISTEN_PORT: "7",
    MILLRACE_LISTN_PORT: "8",
    MILLRACE_DRIVE: "ffi",
    HOME: "/",
    MILLRACE_X: "1",
  });
  t.deepEqual([...source.values], [["listenPort", "7"]]);
  t.deepEqual(source.warnings, ["environment: MILLRACE_LISTN_PORT is not known; did you mean MILLRACE_LISTEN_PORT?"]);
});

test("NAMESRV_ADDR stands in for a key that the file lacks", (t) => {
  const env = rocketmqEnvironmentSource({ NAMESRV_ADDR: "10.0.0.1:9876" });
  t.is(resolveConfig([env]).values.namesrvAddr, "10.0.0.1:9876");
  const file = fileSource(fileOf("ns.conf", "namesrvAddr=10.0.0.2:9876"));
  t.is(resolveConfig([env, file]).values.namesrvAddr, "10.0.0.2:9876");
  t.is(resolveConfig([rocketmqEnvironmentSource({})]).values.namesrvAddr, "");
});

test("an embedder's options are checked like texts", (t) => {
  const { values, origins } = resolveConfig([
    optionsSource({ listenPort: 0, autoCreateTopicEnable: false, flushDiskType: "SYNC_FLUSH" }),
  ]);
  t.deepEqual([values.listenPort, values.autoCreateTopicEnable, values.flushDiskType], [0, false, "SYNC_FLUSH"]);
  t.is(origins.get("listenPort"), "option");
  t.throws(() => resolveConfig([optionsSource({ listenPort: 1.5 })]), {
    code: "MILLRACE_CONFIG_INVALID",
    message: /listenPort=1.5/,
  });
});

test("shows every key with value, origin and meaning on a line of its own", (t) => {
  const lines = showConfig(resolveConfig([optionsSource({ listenPort: 4711 })])).split("\n");
  t.is(lines.length, CONFIG_NAMES.length);
  t.regex(lines.find((line) => line.startsWith("listenPort="))!, /^listenPort=4711 port +option +Port that clients/);
  t.regex(lines.find((line) => line.startsWith("ioWorkers="))!, / default +.*\(not a key of RocketMQ\)$/);
});

test("delay levels in milliseconds", (t) => {
  t.deepEqual(parseDelayLevels("1s 5s  2m 3h 1d"), [1000, 5000, 120_000, 10_800_000, 86_400_000]);
  for (const bad of ["", "1", "1s,5s", "s", "-1s", "1w"]) t.is(parseDelayLevels(bad), undefined, bad);
});
