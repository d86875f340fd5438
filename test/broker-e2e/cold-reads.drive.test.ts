// Goal: what is on the disk alone is handed out whole, in order and once, with and without a filter, beside other requests of
// the same connection.
// Method: write, restart, drop the files from the page cache, then pull everything, several pulls at once.
import { closeSync, globSync, openSync } from "node:fs";
import { join } from "node:path";
import test from "ava";
import koffi from "koffi";
import { decodeMessages } from "../../src/format/record/message.ts";
import { Lab } from "./lab.ts";
import * as requests from "./requests.ts";

const TOPIC = "Backlog";
const QUEUES = 4;
/** More than the entries that are never looked for, in each queue. */
const COUNT = 20_000;
const BATCH = 500;
const DONT_NEED = 4;

function dropFromCache(store: string): void {
  if (process.platform !== "linux") return;
  const advise = koffi.load(null).func("int posix_fadvise(int fd, int64_t offset, int64_t size, int advice)");
  for (const file of globSync(join(store, "{commitlog,consumequeue}/**/*"), { withFileTypes: true })) {
    if (!file.isFile()) continue;
    const fd = openSync(join(file.parentPath, file.name), "r");
    advise(fd, 0, 0, DONT_NEED);
    closeSync(fd);
  }
}

test("a backlog that is not in memory is read whole, in order and once", async (t) => {
  const lab = new Lab(t);
  const store = lab.directory();
  await lab.start({ store });
  const writer = await lab.raw();
  t.is((await writer.ask(requests.CREATE_TOPIC, requests.topicHeader(TOPIC, QUEUES))).code, 0);
  for (let first = 0; first < COUNT; first += BATCH) {
    const body = requests.batchBody(
      Array.from({ length: BATCH }, (_, i) => ({ body: Buffer.from(`message ${first + i} ${"x".repeat(100)}`) })),
    );
    const queueId = (first / BATCH) % QUEUES;
    const answer = await writer.ask(requests.SEND_BATCH, requests.sendHeaderV2({ topic: TOPIC, queueId, batch: true }), body);
    t.is(answer.code, 0, answer.remark);
  }
  await lab.broker.close();
  dropFromCache(store);
  await lab.start({ store });
  const reader = await lab.raw();
  const readQueue = async (queueId: number): Promise<string[]> => {
    const bodies: string[] = [];
    for (let offset = 0; offset < COUNT / QUEUES; ) {
      const answer = await reader.ask(requests.PULL, requests.pullHeader({ group: "g", topic: TOPIC, queueId, offset }));
      t.is(answer.code, 0, answer.remark);
      const messages = decodeMessages(answer.body);
      t.is(messages[0]!.queueOffset, offset);
      bodies.push(...messages.map(({ body }) => body.toString().split(" ")[1]!));
      offset = Number(answer.extFields["nextBeginOffset"]);
    }
    return bodies;
  };
  const queues = await Promise.all(Array.from({ length: QUEUES }, (_, queueId) => readQueue(queueId)));
  for (const [queueId, bodies] of queues.entries()) {
    const wanted: string[] = [];
    for (let first = queueId * BATCH; first < COUNT; first += QUEUES * BATCH)
      for (let i = 0; i < BATCH; i++) wanted.push(String(first + i));
    t.deepEqual(bodies, wanted);
  }
});
