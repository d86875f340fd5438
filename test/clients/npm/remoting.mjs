// The few requests that ali-ons has no function for, as single frames: length, header length, JSON header, body.
import { createConnection } from "node:net";

const TIMEOUT_MS = 5000;

function ask(address, code, extFields) {
  const colon = address.lastIndexOf(":");
  const header = Buffer.from(JSON.stringify({ code, language: "OTHER", version: 0, opaque: 1, flag: 0, extFields }));
  const frame = Buffer.alloc(8 + header.length);
  frame.writeUInt32BE(4 + header.length, 0);
  frame.writeUInt32BE(header.length, 4);
  header.copy(frame, 8);
  return new Promise((resolve, reject) => {
    const socket = createConnection(Number(address.slice(colon + 1)), address.slice(0, colon));
    let got = Buffer.alloc(0);
    socket.setTimeout(TIMEOUT_MS, () => socket.destroy(new Error(`no answer to code ${code} from ${address}`)));
    socket.on("error", reject);
    socket.on("connect", () => socket.write(frame));
    socket.on("data", (part) => {
      got = Buffer.concat([got, part]);
      if (got.length < 8 || got.length < 4 + got.readUInt32BE(0)) return;
      socket.destroy();
      const headerSize = got.readUInt32BE(4) & 0xffffff;
      const answer = JSON.parse(got.subarray(8, 8 + headerSize).toString());
      resolve({ code: answer.code, remark: answer.remark, body: got.subarray(8 + headerSize, 4 + got.readUInt32BE(0)) });
    });
  });
}

/** Creates a topic on the first master and waits for its route. */
export async function createTopic(namesrv, topic, queues) {
  const cluster = (await ask(namesrv, 106, {})).body.toString();
  // Not standard JSON: Apache writes the broker id without quotes.
  const broker = /"brokerAddrs":\{"?0"?:"([^"]+)"/.exec(cluster)?.[1];
  if (broker === undefined) throw new Error(`no master in ${cluster}`);
  const number = String(queues);
  const created = await ask(broker, 17, {
    topic,
    defaultTopic: "TBW102",
    readQueueNums: number,
    writeQueueNums: number,
    perm: "6",
    topicFilterType: "SINGLE_TAG",
    topicSysFlag: "0",
    order: "false",
  });
  if (created.code !== 0) throw new Error(`creation of ${topic}: ${created.code} ${created.remark}`);
  for (let tries = 0; ; tries++) {
    if ((await ask(namesrv, 105, { topic })).code === 0) return;
    if (tries === 100) throw new Error(`no route of ${topic}`);
    await new Promise((wake) => setTimeout(wake, 100));
  }
}
