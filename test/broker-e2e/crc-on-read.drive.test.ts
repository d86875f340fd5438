// Goal: with checkCRCOnRead a message whose bytes were damaged in the log is never handed out, and all others are.
// Method: flip one bit of a body under a running broker, then pull.
import fs from "node:fs";
import { join } from "node:path";
import test from "ava";
import { decodeMessages } from "../../src/format/record/message.ts";
import { Lab } from "./lab.ts";
import * as requests from "./requests.ts";

const TOPIC = "Damaged";

test("a damaged message is passed over, alone", async (t) => {
  const lab = new Lab(t);
  const store = lab.directory();
  await lab.start({ store, config: { checkCRCOnRead: true } });
  const client = await lab.raw();
  t.is((await client.ask(requests.CREATE_TOPIC, requests.topicHeader(TOPIC, 1))).code, 0);
  for (let i = 0; i < 5; i++) {
    const answer = await client.ask(
      requests.SEND_V2,
      requests.sendHeaderV2({ topic: TOPIC }),
      Buffer.from(`message number ${i}`),
    );
    t.is(answer.code, 0);
  }
  const file = join(store, "commitlog", "0".padStart(20, "0"));
  const at = fs.readFileSync(file).indexOf("message number 2");
  const fd = fs.openSync(file, "r+");
  fs.writeSync(fd, "M", at);
  fs.closeSync(fd);
  const bodies: string[] = [];
  let offset = 0;
  for (let pulls = 0; offset < 5 && pulls < 20; pulls++) {
    const answer = await client.ask(requests.PULL, requests.pullHeader({ group: "g", topic: TOPIC, offset }));
    offset = Number(answer.extFields["nextBeginOffset"]);
    if (answer.code === 0) bodies.push(...decodeMessages(answer.body).map(({ body }) => body.toString()));
  }
  t.deepEqual(
    bodies,
    [0, 1, 3, 4].map((i) => `message number ${i}`),
  );
});
