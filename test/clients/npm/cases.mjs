// Acceptance cases on the npm client ali-ons. Prints one JSON line for each:
// {"case":"send","ok":true,"detail":"","ms":123}. Exit code 0 if all passed, 1 if one failed, 2 for bad arguments.
//   node cases.mjs --namesrv HOST:PORT [--case NAME,NAME] [--parallel N] [--timeout SECONDS] [--list]
import { parseArgs } from "node:util";
import { createTopic } from "./remoting.mjs";

const run = Date.now().toString(36);
let instances = 0;
// An unknown client library may print what it likes; results alone go to standard output.
const print = process.stdout.write.bind(process.stdout);
process.stdout.write = process.stderr.write.bind(process.stderr);

const sleep = (ms) => new Promise((wake) => setTimeout(wake, ms));
const bodies = (stem, count) => Array.from({ length: count }, (_, i) => `${stem}-${i}`);

function check(holds, otherwise) {
  if (!holds) throw new Error(otherwise);
}

function sameOnce(actual, expected, what) {
  const missing = expected.filter((thing) => !actual.includes(thing));
  const extra = actual.filter((thing, i) => !expected.includes(thing) || actual.indexOf(thing) !== i);
  const some = (things) => JSON.stringify(things.slice(0, 5).map((thing) => thing.slice(0, 60)));
  check(
    missing.length + extra.length === 0,
    `${what}: ${missing.length} missing ${some(missing)}, ${extra.length} too much or twice ${some(extra)}`,
  );
}

async function expectExactly(inbox, expected, seconds) {
  const end = Date.now() + seconds * 1000;
  while (inbox.length < expected.length && Date.now() < end) await sleep(50);
  await sleep(300);
  sameOnce(
    inbox.map((message) => message.body.toString()),
    expected,
    "bodies",
  );
}

/** What one case works with: fresh names, clients that are closed at its end. */
class Lab {
  constructor(ons, namesrv, name) {
    this.ons = ons;
    this.namesrv = namesrv;
    this.suffix = `${name}_${run}`;
    this.clients = [];
    const quiet = () => {};
    this.options = {
      nameSrv: namesrv,
      // Demanded by the library, for lists of name servers behind a URL.
      httpclient: { request: () => Promise.reject(new Error("no HTTP here")) },
      accessKeyId: "any",
      accessKeySecret: "any",
      rebalanceInterval: 1000,
      heartbeatBrokerInterval: 1000,
      persistConsumerOffsetInterval: 1000,
      logger: { info: quiet, debug: quiet, warn: quiet, error: (...told) => console.error(this.suffix, ...told) },
    };
  }

  name(stem) {
    return `${stem}_${this.suffix}`;
  }

  async topic(stem, queues) {
    const topic = this.name(stem);
    await createTopic(this.namesrv, topic, queues);
    return topic;
  }

  async producer(options = {}) {
    const made = new this.ons.Producer({
      ...this.options,
      producerGroup: this.name("producer"),
      instanceName: `lab${++instances}`,
      ...options,
    });
    made.on("error", (error) => console.error(this.suffix, error.message));
    this.clients.push(made);
    await made.ready();
    return made;
  }

  /** A started consumer whose messages go into `inbox`. */
  async consumer(group, topic, expression, inbox, options = {}) {
    const made = new this.ons.Consumer({
      ...this.options,
      consumerGroup: group,
      consumeFromWhere: "CONSUME_FROM_FIRST_OFFSET",
      instanceName: `lab${++instances}`,
      ...options,
    });
    made.on("error", (error) => console.error(this.suffix, error.message));
    this.clients.push(made);
    await made.ready();
    made.subscribe(topic, expression, async (message) => {
      inbox.push(message);
    });
    return made;
  }

  async send(producer, topic, body, change = () => {}) {
    const message = new this.ons.Message(topic, undefined, body);
    delete message.properties.TAGS;
    change(message);
    const result = await producer.send(message);
    check(result.sendStatus === "SEND_OK", `send status ${result.sendStatus}`);
    return result;
  }

  async close() {
    for (const client of this.clients.reverse()) await client.close();
  }
}

const cases = {
  async twoConsumers(lab) {
    const topic = await lab.topic("split", 8);
    const producer = await lab.producer();
    const group = lab.name("team");
    const inboxes = [[], []];
    const one = await lab.consumer(group, topic, "*", inboxes[0]);
    const two = await lab.consumer(group, topic, "*", inboxes[1]);
    // The library does not listen to the broker's notice (code 40); it looks every rebalanceInterval.
    const held = (consumer) => [...consumer.processQueueTable.keys()].filter((key) => key.includes(topic)).length;
    for (let tries = 0; held(one) !== 4 || held(two) !== 4; tries++) {
      check(tries < 200, `queues are split ${held(one)} to ${held(two)}`);
      await sleep(100);
    }
    await sleep(1500);
    const wanted = bodies("settled", 200);
    for (const body of wanted) await lab.send(producer, topic, body);
    const end = Date.now() + 20_000;
    while (inboxes[0].length + inboxes[1].length < wanted.length && Date.now() < end) await sleep(50);
    await sleep(300);
    sameOnce(
      inboxes.flat().map((message) => message.body.toString()),
      wanted,
      "both consumers",
    );
    check(inboxes[0].length === 100 && inboxes[1].length === 100, `split ${inboxes[0].length} to ${inboxes[1].length}`);
  },

  async send(lab) {
    const topic = await lab.topic("send", 4);
    const producer = await lab.producer();
    const wanted = bodies("send", 40);
    const results = new Map();
    for (const body of wanted) results.set(body, await lab.send(producer, topic, body));
    const inbox = [];
    await lab.consumer(lab.name("reader"), topic, "*", inbox);
    await expectExactly(inbox, wanted, 20);
    for (const message of inbox) {
      const result = results.get(message.body.toString());
      check(message.queueId === Number(result.messageQueue.queueId), `queue ${message.queueId}`);
      check(Number(message.queueOffset) === Number(result.queueOffset), `queue offset ${message.queueOffset}`);
    }
  },

  async tags(lab) {
    const topic = await lab.topic("tags", 2);
    const producer = await lab.producer();
    const inbox = [];
    await lab.consumer(lab.name("filter"), topic, "TagA || TagB", inbox);
    for (const tag of ["TagA", "TagB", "TagC", "none"]) {
      for (const body of bodies(tag, 5)) {
        await lab.send(producer, topic, body, (message) => {
          if (tag !== "none") message.tags = tag;
        });
      }
    }
    await expectExactly(inbox, [...bodies("TagA", 5), ...bodies("TagB", 5)], 20);
  },

  async keysAndProperties(lab) {
    const topic = await lab.topic("properties", 1);
    const producer = await lab.producer();
    const wanted = { quotes: "\"a\" 'b' \\", lines: "a\nb\tc", unicode: "żółć 消息 🚀", "ключ-🚀": "not ASCII" };
    await lab.send(producer, topic, "properties", (message) => {
      message.keys = ["k1", "k2"];
      Object.assign(message.properties, wanted);
    });
    const inbox = [];
    await lab.consumer(lab.name("reader"), topic, "*", inbox);
    await expectExactly(inbox, ["properties"], 20);
    check(inbox[0].keys === "k1 k2", `keys ${inbox[0].keys}`);
    for (const [name, value] of Object.entries(wanted)) {
      check(inbox[0].properties[name] === value, `property ${name}: ${JSON.stringify(inbox[0].properties[name])}`);
    }
  },

  async compressed(lab) {
    const topic = await lab.topic("compressed", 1);
    const producer = await lab.producer();
    const body = "the quick brown fox jumps over the lazy dog ".repeat(1000);
    await lab.send(producer, topic, body);
    const inbox = [];
    await lab.consumer(lab.name("reader"), topic, "*", inbox);
    await expectExactly(inbox, [body], 20);
    check(inbox[0].storeSize < body.length / 4, `stored as ${inbox[0].storeSize} bytes`);
  },

  async shardingOrder(lab) {
    const topic = await lab.topic("order", 4);
    const producer = await lab.producer();
    for (let i = 0; i < 20; i++) {
      for (let shard = 0; shard < 5; shard++) {
        await lab.send(producer, topic, `${shard}:${i}`, (message) => {
          message.shardingKey = `shard${shard}`;
        });
      }
    }
    const inbox = [];
    await lab.consumer(lab.name("line"), topic, "*", inbox);
    const end = Date.now() + 20_000;
    while (inbox.length < 100 && Date.now() < end) await sleep(50);
    await sleep(300);
    for (let shard = 0; shard < 5; shard++) {
      const places = inbox.map((m) => m.body.toString().split(":")).filter(([of]) => of === String(shard));
      const told = places.map(([, place]) => place).join(" ");
      check(told === Array.from({ length: 20 }, (_, i) => i).join(" "), `order in shard ${shard}: ${told}`);
    }
  },

  async broadcast(lab) {
    const topic = await lab.topic("broadcast", 4);
    const producer = await lab.producer();
    const inboxes = [[], []];
    const readers = [];
    for (const inbox of inboxes) {
      readers.push(await lab.consumer(lab.name("everyone"), topic, "*", inbox, { isBroadcast: true }));
    }
    for (let tries = 0; readers.some((reader) => reader.processQueueTable.size < 4); tries++) {
      check(tries < 200, "broadcast consumers do not read all queues");
      await sleep(100);
    }
    const wanted = bodies("broadcast", 40);
    for (const body of wanted) await lab.send(producer, topic, body);
    for (const inbox of inboxes) await expectExactly(inbox, wanted, 20);
  },

  async resume(lab) {
    const topic = await lab.topic("resume", 4);
    const producer = await lab.producer();
    for (let life = 0; life < 2; life++) {
      const wanted = bodies(`life${life}`, 30);
      for (const body of wanted) await lab.send(producer, topic, body);
      const inbox = [];
      const reader = await lab.consumer(lab.name("stayer"), topic, "*", inbox);
      await expectExactly(inbox, wanted, 20);
      await reader.close();
      lab.clients.splice(lab.clients.indexOf(reader), 1);
    }
  },
};

async function runCase(ons, namesrv, name, timeoutMs) {
  const start = performance.now();
  const lab = new Lab(ons, namesrv, name);
  let detail = "";
  let timer;
  try {
    const late = new Promise((_, reject) => {
      timer = setTimeout(() => reject(new Error(`no end after ${timeoutMs} ms`)), timeoutMs);
    });
    await Promise.race([cases[name](lab), late]);
  } catch (error) {
    detail = error.message || String(error);
  }
  clearTimeout(timer);
  await Promise.race([lab.close().catch((error) => console.error("closing:", error.message)), sleep(5000)]);
  const ok = detail === "";
  print(`${JSON.stringify({ case: name, ok, detail, ms: Math.round(performance.now() - start) })}\n`);
  return ok;
}

function usage(what) {
  console.error(`${what}\n--namesrv HOST:PORT [--case NAME,NAME] [--parallel N] [--timeout SECONDS] [--list]`);
  process.exit(2);
}

function options() {
  const text = { type: "string" };
  try {
    return parseArgs({ options: { namesrv: text, case: text, parallel: text, timeout: text, list: { type: "boolean" } } }).values;
  } catch (error) {
    return usage(error.message);
  }
}

const given = options();
if (given.list) {
  for (const name of Object.keys(cases)) print(`normal ${name}\n`);
  process.exit(0);
}
if (given.namesrv === undefined) usage("--namesrv is missing");
const wanted = (given.case ?? "normal") === "normal" ? Object.keys(cases) : given.case.split(",");
for (const name of wanted) if (!Object.hasOwn(cases, name)) usage(`no case ${name}`);
const { default: ons } = await import("ali-ons");
let ok = true;
const next = wanted.values();
const worker = async () => {
  for (const name of next) ok = (await runCase(ons, given.namesrv, name, Number(given.timeout ?? 60) * 1000)) && ok;
};
await Promise.all(Array.from({ length: Number(given.parallel ?? 1) }, worker));
process.exit(ok ? 0 : 1);
