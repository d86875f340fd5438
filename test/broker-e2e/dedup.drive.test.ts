// Goal: on a topic with dedup.window.seconds a message is stored once, however often and in whatever way it is sent, and
// each send gets the place of the one that is stored.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import test from "ava";
import { ResponseCode } from "../../src/format/remoting/remoting-codes.ts";
import type { RemotingCommand } from "../../src/format/remoting/remoting-command.ts";
import { until } from "../until.ts";
import { Lab, NATIVE_FREE } from "./lab.ts";
import { RawClient } from "./raw-client.ts";
import * as ask from "./requests.ts";

const BODY = Buffer.from("payload");

function attributes(topic: string, queueCount: number, windowS: number): Record<string, string | number | boolean | undefined> {
  return { ...ask.topicHeader(topic, queueCount), attributes: `+dedup.window.seconds=${windowS}` };
}

async function createTopic(client: RawClient, topic: string, queueCount: number, windowS: number): Promise<void> {
  const answer = await client.ask(ask.CREATE_TOPIC, attributes(topic, queueCount, windowS));
  if (answer.code !== 0) throw new Error(answer.remark);
}

function send(client: RawClient, topic: string, key: string, fields: Partial<ask.SendFields> = {}): Promise<RemotingCommand> {
  const { properties, ...rest } = fields;
  const all = { UNIQ_KEY: key, ...properties };
  return client.ask(ask.SEND_V2, ask.sendHeaderV2({ topic, properties: all, ...rest }), BODY);
}

/** Where the answer says that the message stands. The ids begin with the broker's address, which a start may change. */
function place({ code, extFields }: RemotingCommand): string {
  const { msgId, queueId, queueOffset } = extFields;
  return `${code} ${msgId?.replaceAll(/[^,]{16}(?=[^,]{16}(,|$))/g, "")} ${queueId} ${queueOffset}`;
}

async function storedCount(client: RawClient, topic: string, queueCount: number): Promise<number> {
  let count = 0;
  for (let queueId = 0; queueId < queueCount; queueId++) {
    const answer = await client.ask(ask.MAX_OFFSET, { topic, queueId });
    count += Number(answer.extFields["offset"]);
  }
  return count;
}

test("a message that is sent again, to any queue, is answered with the first one's place", async (t) => {
  const lab = new Lab(t);
  await lab.start();
  const client = await lab.raw();
  const other = await lab.raw();
  await createTopic(client, "Once", 4, 60);
  await createTopic(client, "Twice", 4, 60);
  const first = await send(client, "Once", "A", { queueId: 1 });
  t.is(first.code, 0);
  t.is(place(await send(client, "Once", "A", { queueId: 1 })), place(first));
  t.is(place(await send(other, "Once", "A", { queueId: 3 })), place(first));
  t.not(place(await send(client, "Once", "B", { queueId: 1 })), place(first));
  t.not(place(await send(client, "Twice", "A", { queueId: 1 })), place(first), "another topic");
  await until(async () => (await storedCount(client, "Once", 4)) === 2);
});

test("many copies in flight at once on several connections: one is stored", async (t) => {
  const lab = new Lab(t);
  await lab.start();
  const clients = [await lab.raw(), await lab.raw(), await lab.raw()];
  await createTopic(clients[0]!, "Flood", 4, 60);
  const answers = await Promise.all(
    Array.from({ length: 3000 }, async (_, i) => {
      for (;;) {
        const answer = await send(clients[i % 3]!, "Flood", `key-${i % 500}`, { queueId: i % 4 });
        if (answer.code !== ResponseCode.SYSTEM_BUSY) return answer; // Refused on a busy machine: as clients do, once more.
      }
    }),
  );
  const places = new Map<string, Set<string>>();
  for (const [i, answer] of answers.entries()) {
    const key = `key-${i % 500}`;
    places.set(key, (places.get(key) ?? new Set()).add(place(answer)));
  }
  t.deepEqual(
    [...places].filter(([, set]) => set.size !== 1 || ![...set][0]!.startsWith("0 ")),
    [],
  );
  t.is(new Set([...places.values()].map((set) => [...set][0])).size, 500);
  await until(async () => (await storedCount(clients[0]!, "Flood", 4)) >= 500);
  t.is(await storedCount(clients[0]!, "Flood", 4), 500);
});

test("batches, delayed messages; those without a key are never taken for copies", async (t) => {
  const lab = new Lab(t);
  await lab.start();
  const client = await lab.raw();
  await createTopic(client, "Kinds", 2, 60);
  const batch = ask.batchBody(["x", "y", "z"].map((key) => ({ body: BODY, properties: { UNIQ_KEY: key } })));
  const header = ask.sendHeaderV2({ topic: "Kinds", batch: true });
  const first = await client.ask(ask.SEND_BATCH, header, batch);
  t.is(first.code, 0);
  t.is(first.extFields["msgId"]?.split(",").length, 3);
  t.is(place(await client.ask(ask.SEND_BATCH, header, batch)), place(first));
  const delayed = await send(client, "Kinds", "D", { properties: { DELAY: "1" } });
  const again = await send(client, "Kinds", "D", { properties: { DELAY: "1" } });
  t.is(again.extFields["msgId"], delayed.extFields["msgId"]);
  const bare = () => client.ask(ask.SEND_V2, ask.sendHeaderV2({ topic: "Kinds", queueId: 1 }), BODY);
  t.not(place(await bare()), place(await bare()));
  await until(async () => (await storedCount(client, "Kinds", 2)) >= 6);
  t.is(await storedCount(client, "Kinds", 2), 6); // Three of the batch, two bare ones, the delayed one.
});

test("the window ends, by time", async (t) => {
  const lab = new Lab(t);
  await lab.start({ clock: "virtual" });
  const client = await lab.raw();
  await createTopic(client, "Ends", 1, 10);
  const first = place(await send(client, "Ends", "A"));
  await lab.broker.advance(9000);
  t.is(place(await send(client, "Ends", "A")), first);
  await lab.broker.advance(2000);
  t.not(place(await send(client, "Ends", "A")), first);
});

test("a wrong window is refused", async (t) => {
  const lab = new Lab(t);
  await lab.start();
  const client = await lab.raw();
  for (const window of ["-1", "x", "536870912", ""]) {
    const answer = await client.ask(ask.CREATE_TOPIC, {
      ...ask.topicHeader("Wrong", 1),
      attributes: `+dedup.window.seconds=${window}`,
    });
    t.not(answer.code, 0, window);
    t.regex(answer.remark ?? "", /dedup\.window\.seconds|format/, window);
  }
});

test("kill -9 and a start: what was acknowledged is known, nothing is stored twice", async (t) => {
  t.timeout(120_000);
  const store = mkdtempSync(join(tmpdir(), "millrace-dedup-"));
  t.teardown(() => rmSync(store, { recursive: true, force: true }));
  const start = async (): Promise<{ address: string; kill: () => Promise<void> }> => {
    const args = ["src/cli/main.ts", "up", "--port", "0", "--namesrv-port", "0", "--store", store];
    if (NATIVE_FREE) args.push("--native-free");
    const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "ignore"] });
    t.teardown(() => void child.kill("SIGKILL"));
    for await (const line of createInterface({ input: child.stdout })) {
      const address = /broker=(\S+)/.exec(line)?.[1];
      if (address === undefined) continue;
      const kill = async (): Promise<void> => {
        const exited = once(child, "exit");
        child.kill("SIGKILL");
        await exited;
      };
      return { address, kill };
    }
    throw new Error("no ready line");
  };
  let broker = await start();
  let client = await RawClient.connect(broker.address);
  await createTopic(client, "Crash", 4, 600);
  const places = new Map<string, string>();
  const delayed = await send(client, "Crash", "delayed", { properties: { DELAY: "18" } });
  await Promise.all(
    Array.from({ length: 400 }, async (_, i) => {
      const answer = await send(client, "Crash", `k${i}`, { queueId: i % 4 }).catch(() => undefined);
      if (answer !== undefined) places.set(`k${i}`, place(answer));
      if (places.size === 300) void broker.kill();
    }),
  );
  t.true(places.size >= 300);
  for (let round = 0; round < 2; round++) {
    if (round > 0) await broker.kill();
    broker = await start();
    client.close();
    client = await RawClient.connect(broker.address);
    for (const [key, known] of places) t.is(place(await send(client, "Crash", key, { queueId: 2 })), known, key);
    const again = await send(client, "Crash", "delayed", { properties: { DELAY: "18" } });
    t.is(place(again), place(delayed));
    const all = await Promise.all(Array.from({ length: 400 }, (_, i) => send(client, "Crash", `k${i}`)));
    t.is(new Set(all.map(place)).size, 400);
    await until(async () => (await storedCount(client, "Crash", 4)) >= 400);
    t.is(await storedCount(client, "Crash", 4), 400);
  }
  client.close();
  await broker.kill();
});
