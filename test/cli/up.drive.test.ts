// Goal: the start contract of `up`, on both drives: one ready line when both really answer, a clean stop, a clear
// line for each way in which a start can fail; and lines of any kind go through a topic and back, byte for byte.
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test, { type ExecutionContext } from "ava";
import { Command, runCommand } from "./command.ts";

const DRIVE = process.env["MILLRACE_DRIVE"] === "native-free" ? ["--native-free"] : [];
const directory = mkdtempSync(join(tmpdir(), "millrace-up-"));
test.after.always(() => rmSync(directory, { recursive: true }));

const SMALL = ["--set", "mappedFileSizeCommitLog=16777216", "--set", "maxHashSlotNum=1000", "--set", "maxIndexNum=4000"];

interface Broker {
  command: Command;
  namesrv: string;
  brokerPort: string;
}

/** A broker on free ports; ended with the test at the latest. */
async function up(t: ExecutionContext, store: string, args: readonly string[] = []): Promise<Broker> {
  const command = new Command([
    "up",
    "--host",
    "127.0.0.1",
    "--port",
    "0",
    "--namesrv-port",
    "0",
    "--store",
    store,
    ...DRIVE,
    ...SMALL,
    ...args,
  ]);
  t.teardown(() => void command.child.kill("SIGKILL"));
  const [, namesrv, brokerPort, pid] = await command.line(
    /^ready namesrv=(127\.0\.0\.1:\d+) broker=127\.0\.0\.1:(\d+) pid=(\d+)$/m,
  );
  t.is(Number(pid), command.child.pid!);
  return { command, namesrv: namesrv!, brokerPort: brokerPort! };
}

/** Empty lines, carriage returns, bytes that are no UTF-8, separators of properties, no line feed at the end. */
function oddLines(count: number): Buffer {
  const parts: Buffer[] = [];
  for (let i = 0; i < count; i++) {
    const kind = i % 7;
    if (kind === 0) parts.push(Buffer.from("\n"));
    else if (kind === 1) parts.push(Buffer.from(`host-${i % 13} carriage return ${i}\r\n`));
    else if (kind === 2) parts.push(Buffer.from([0xff, 0xfe, i % 10, 0x01, 0x02, 0x00, 0x0a]));
    else parts.push(Buffer.from(`host-${i % 13} line ${i} ${"x".repeat(i % 97)}\n`));
  }
  return Buffer.concat([...parts, Buffer.from("the last line has no line feed")]);
}

test.serial("ready, then a clean stop, and everything is there at the next start", async (t) => {
  const store = join(directory, "restart");
  const first = await up(t, store);
  const input = oddLines(2000);
  const sent = await runCommand(["ingest", "--namesrv", first.namesrv, "--topic", "Kept", "--queue-by", "2", "--quiet"], input);
  t.is(sent.code, 0, sent.stderr);
  t.regex(sent.stdout, /^2,000 lines, .*: 2,001 of 2,001 messages acknowledged, in order in each queue\n.*\/2: 2,001\n$/);
  const stopped = await first.command.end("SIGTERM");
  t.is(stopped.code, 0, stopped.stderr);
  t.is(stopped.stdout.split("\n").length, 2, "one line on standard output");
  const second = await up(t, store);
  const received = await runCommand([
    "consume",
    "--namesrv",
    second.namesrv,
    "--topic",
    "Kept",
    "--queue",
    "2",
    "--until-end",
    "-o",
    join(directory, "kept"),
  ]);
  t.is(received.code, 0, received.stderr);
  t.deepEqual(readFileSync(join(directory, "kept")), input);
  t.is((await second.command.end("SIGINT")).code, 0);
});

test.serial("lines spread over queues come back in order, per queue and altogether", async (t) => {
  const { namesrv } = await up(t, "memory");
  const input = oddLines(20_000);
  const file = join(directory, "input");
  writeFileSync(file, input);
  const sent = await runCommand([
    "ingest",
    file,
    "--namesrv",
    namesrv,
    "--topic",
    "Odd",
    "--number-lines",
    "--key-field",
    "1",
    "--queue-by",
    "key",
  ]);
  t.is(sent.code, 0, sent.stderr);
  const whole = await runCommand([
    "consume",
    "--namesrv",
    namesrv,
    "--topic",
    "Odd",
    "--until-end",
    "--in-line-order",
    "-o",
    join(directory, "whole"),
  ]);
  t.is(whole.code, 0, whole.stderr);
  t.deepEqual(readFileSync(join(directory, "whole")), input);

  const meta = await runCommand(["consume", "--namesrv", namesrv, "--topic", "Odd", "--until-end", "--with-meta", "--quiet"]);
  const messages = meta.stdout
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as Meta);
  t.is(messages.length, 20_001);
  const queueOf = new Map<string, number>();
  const lastLine = new Map<number, number>();
  for (const { queueId, properties } of messages) {
    const key = properties.KEYS ?? "";
    t.is(queueOf.get(key) ?? queueId, queueId, `key ${key} is in one queue`);
    queueOf.set(key, queueId);
    t.true(Number(properties.LINE) > (lastLine.get(queueId) ?? 0), "in order");
    lastLine.set(queueId, Number(properties.LINE));
  }
  t.true(lastLine.size > 1, "several queues are in use");
  t.is(messages.find(({ properties }) => properties.LINE === "2")!.body, "host-1 carriage return 1\r");
});

interface Meta {
  queueId: number;
  body?: string;
  properties: { KEYS?: string; LINE: string };
}

test.serial("a line beyond the largest message is named, or split", async (t) => {
  const { namesrv } = await up(t, "memory");
  const input = Buffer.concat([Buffer.from("short\n"), Buffer.alloc(5_000_000, "y"), Buffer.from("\nend\n")]);
  const refused = await runCommand(["ingest", "--namesrv", namesrv, "--topic", "Long", "--quiet"], input);
  t.is(refused.code, 1);
  t.regex(refused.stderr, /^millrace: line 2 is longer than \d+ bytes.*--split/);
  const sent = await runCommand(
    ["ingest", "--namesrv", namesrv, "--topic", "Long2", "--split", "--queue-by", "0", "--quiet"],
    input,
  );
  t.is(sent.code, 0, sent.stderr);
  t.regex(sent.stdout, /^3 lines, .*4 of 4 messages/);
  await runCommand(["consume", "--namesrv", namesrv, "--topic", "Long2", "--until-end", "-o", join(directory, "long")]);
  t.true(readFileSync(join(directory, "long")).equals(input));
});

test.serial("consume follows what is sent later, until it has enough", async (t) => {
  const { namesrv } = await up(t, "memory");
  await runCommand(["ingest", "--namesrv", namesrv, "--topic", "Follow", "--quiet"], "one\n");
  const follower = new Command(["consume", "--namesrv", namesrv, "--topic", "Follow", "--count", "3", "--quiet"]);
  await follower.line(/^one$/m);
  await runCommand(["ingest", "--namesrv", namesrv, "--topic", "Follow", "--queue-by", "0", "--quiet"], "two\nthree\nfour\n");
  const { code, stdout } = await follower.end();
  t.is(code, 0);
  t.is(stdout, "one\ntwo\nthree\n");
});

test.serial("a store in use, a port in use, a store that cannot be written: one clear line each", async (t) => {
  const store = join(directory, "locked");
  const { brokerPort, namesrv, command } = await up(t, store);
  const free = ["--host", "127.0.0.1", "--port", "0", "--namesrv-port", "0", ...DRIVE, ...SMALL];
  const attempts: [args: string[], expected: RegExp][] = [
    [[...free, "--store", store], /^millrace: .*in use.*\n$/],
    [
      [
        "--store",
        join(directory, "other"),
        "--host",
        "127.0.0.1",
        "--port",
        brokerPort,
        "--namesrv-port",
        "0",
        ...DRIVE,
        ...SMALL,
      ],
      new RegExp(`^millrace: .*in use.*${brokerPort}.*\\n$`),
    ],
    [
      [
        "--store",
        join(directory, "third"),
        "--host",
        "127.0.0.1",
        "--port",
        "0",
        "--namesrv-port",
        namesrv.split(":")[1]!,
        ...DRIVE,
        ...SMALL,
      ],
      /^millrace: .*in use.*\n$/,
    ],
  ];
  const file = join(directory, "a-file");
  writeFileSync(file, "");
  attempts.push([[...free, "--store", join(file, "store")], /^millrace: .*a-file.*\n$/]);
  mkdirSync(join(directory, "empty"), { recursive: true });
  for (const [args, expected] of attempts) {
    const { code, stdout, stderr } = await runCommand(["up", "--log-level", "silent", ...args]);
    t.is(code, 1, args.join(" "));
    t.is(stdout, "");
    t.regex(stderr, expected, args.join(" "));
  }
  t.is((await command.end("SIGTERM")).code, 0);
});

test.serial("tools say in one line what is wrong", async (t) => {
  const { namesrv } = await up(t, "memory");
  const cases: [args: string[], expected: RegExp][] = [
    [["consume", "--topic", "Nowhere", "--until-end"], /^millrace: no broker has the topic "Nowhere"\n$/],
    [["consume", "--topic", "bad topic"], /^millrace: topic: "bad topic" is not valid/],
    [["consume", "--topic", "TBW102", "--queue", "99"], /^millrace: --queue 99: topic "TBW102" has queues 0 to \d+\n$/],
    [["consume", "--topic", "TBW102", "--from", "yesterday"], /^millrace: --from yesterday is not valid; allowed: first/],
    [["ingest", "--topic", "T", "/does/not/exist"], /^millrace: cannot read \/does\/not\/exist: /],
    [["ingest", "--topic", "T", "--queue-by", "key"], /^millrace: --queue-by key needs --key-field\n$/],
    [
      ["ingest", "--topic", "T", "--queue-by", "x"],
      /^millrace: --queue-by x is not valid; allowed: key, round-robin or a whole number/,
    ],
  ];
  for (const [args, expected] of cases) {
    const { code, stdout, stderr } = await runCommand([...args, "--namesrv", namesrv]);
    t.is(code, 1, args.join(" "));
    t.is(stdout, "", args.join(" "));
    t.regex(stderr, expected, args.join(" "));
  }
  const nobody = await runCommand(["consume", "--topic", "T", "--namesrv", "127.0.0.1:1"]);
  t.regex(nobody.stderr, /^millrace: 127\.0\.0\.1:1: cannot connect/);
});

test.serial("demo shows messages flow and ends by itself", async (t) => {
  const { code, stdout, stderr } = await runCommand(["demo", "--seconds", "2", "--rate", "1000", ...DRIVE]);
  t.is(code, 0, stderr);
  t.regex(stdout, /sent\/s +received\/s/);
  const [, sent, acknowledged, received] = /([\d,]+) sent, ([\d,]+) acknowledged, ([\d,]+) received/.exec(stdout) ?? [];
  t.is(sent, acknowledged);
  t.is(sent, received);
  t.true(Number(sent!.replaceAll(",", "")) > 500, sent);
});
