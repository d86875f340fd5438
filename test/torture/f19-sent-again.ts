// F19: producers send messages again, to a topic that stores each once, while the broker is killed again and again.
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { ResponseCode } from "../../src/format/remoting/remoting-codes.ts";
import { RawClient } from "../broker-e2e/raw-client.ts";
import * as requests from "../broker-e2e/requests.ts";
import type { Command } from "../cli/command.ts";
import { brokerCommand, ready } from "./broker-command.ts";
import { readTopic, TOPIC } from "./ledger.ts";
import type { Random } from "./random.ts";
import { type Figures, must, type Scenario, type Torture } from "./scenario.ts";

const QUEUE_COUNT = 4;
const CONNECTION_COUNT = 8;
/** Sends in flight on each connection. */
const PIPELINE = 32;
/** Sends before each kill; ten kills make a million. */
const SENDS_A_KILL = 100_000;
const SENDS_A_KILL_SHORT = 2000;
/** Of the messages that are sent again long after, how many back; the broker remembers a million. */
const LATE_MAX = 200_000;
const WINDOW_S = 86_400;
const POLL_MS = 5;

export const scenario: Scenario = {
  id: "F19",
  title: "kill -9 while most messages are sent again, de-duplication on: each is stored once, and has one place",
  run: torture,
};

async function torture({ random, drive, directory, isShort, hasNext, say }: Torture): Promise<Figures> {
  const store = join(directory, "store");
  const launch = (): Command => brokerCommand(store, drive);
  const books = new Books();
  const sendsAKill = isShort ? SENDS_A_KILL_SHORT : SENDS_A_KILL;
  let kills = 0;
  let broker = launch();
  try {
    let address = await ready(broker);
    await createTopic(address);
    while (hasNext(kills, isShort ? 2 : 10)) {
      const end = books.sends + sendsAKill;
      // They go on until the broker is gone: the kill comes while sends are in flight.
      let isOver = false;
      const round = produceAll(address, books, random.fork(), () => true).finally(() => (isOver = true));
      while (books.sends < end && !isOver) await Promise.race([sleep(POLL_MS), round]);
      must(!isOver, () => `the broker has ended by itself: ${broker.stderr}`);
      await broker.end("SIGKILL");
      await round;
      kills++;
      broker = launch();
      address = await ready(broker);
      say(`${kills} kills, ${books.sends} sends of ${books.count} messages, ${books.open.length} without an answer`);
    }
    await produceAll(address, books, random.fork(), () => books.open.length > 0);
    const stored = await countStored(address, books);
    must(books.sends > books.count, "nothing was sent again: the round proves nothing");
    return { kills, sends: books.sends, messages: books.count, stored, duplicates: stored - books.count, lost: 0 };
  } finally {
    await broker.end("SIGKILL");
  }
}

async function createTopic(address: string): Promise<void> {
  const client = await RawClient.connect(address);
  const header = { ...requests.topicHeader(TOPIC, QUEUE_COUNT), attributes: `+dedup.window.seconds=${WINDOW_S}` };
  const answer = await client.ask(requests.CREATE_TOPIC, header);
  must(answer.code === ResponseCode.SUCCESS, `the topic was not made: ${answer.remark}`);
  client.close();
}

/** What the producers know. */
class Books {
  /** `queueId/queueOffset` by the message's number; undefined: no answer yet. */
  readonly #places: (string | undefined)[] = [];
  /** Messages whose answer got lost with the connection: they are sent again next. */
  readonly open: number[] = [];
  sends = 0;

  get count(): number {
    return this.#places.length;
  }

  newMessage(): number {
    return this.#places.push(undefined) - 1;
  }

  placeOf(message: number): string | undefined {
    return this.#places[message];
  }

  /** Whatever send of the message is answered, it is the same place. */
  answered(message: number, place: string): void {
    const known = this.#places[message];
    must(known === undefined || known === place, () => `message ${message} stands at ${known}, and at ${place}`);
    this.#places[message] = place;
  }
}

/** @param isOn no further message is begun when it says no */
async function produceAll(address: string, books: Books, random: Random, isOn: () => boolean): Promise<void> {
  const connections = Array.from({ length: CONNECTION_COUNT }, async () => {
    const own = random.fork();
    const client = await RawClient.connect(address).catch(() => undefined);
    if (client === undefined) return;
    await Promise.all(Array.from({ length: PIPELINE }, () => produce(client, books, own, isOn)));
    client.close();
  });
  await Promise.all(connections);
}

/** Two of three messages are sent twice at once, and one of eight is one from before. Ends with the connection. */
async function produce(client: RawClient, books: Books, random: Random, isOn: () => boolean): Promise<void> {
  while (isOn()) {
    const message = nextMessage(books, random);
    const copies = random.below(3) === 0 ? 1 : 2;
    const sends = Array.from({ length: copies }, () => sendOnce(client, books, message, random.below(QUEUE_COUNT)));
    const ended = await Promise.allSettled(sends);
    const failed = ended.find((send) => send.status === "rejected");
    if (failed === undefined) continue;
    if (String(failed.reason).includes("violated")) throw failed.reason;
    if (books.placeOf(message) === undefined) books.open.push(message);
    return;
  }
}

function nextMessage(books: Books, random: Random): number {
  const open = books.open.pop();
  if (open !== undefined) return open;
  const late = books.count - 1 - random.below(LATE_MAX);
  return random.chance(8) && late >= 0 && books.placeOf(late) !== undefined ? late : books.newMessage();
}

async function sendOnce(client: RawClient, books: Books, message: number, queueId: number): Promise<void> {
  const properties = { UNIQ_KEY: `M${message}` };
  for (;;) {
    books.sends++;
    const header = requests.sendHeaderV2({ topic: TOPIC, queueId, properties });
    const { code, remark, extFields } = await client.ask(requests.SEND_V2, header, Buffer.from(String(message)));
    if (code === ResponseCode.SYSTEM_BUSY) continue;
    must(code === ResponseCode.SUCCESS, `a send was answered ${code}: ${remark}`);
    books.answered(message, `${extFields["queueId"]}/${extFields["queueOffset"]}`);
    return;
  }
}

/** Reads all: each message is there once, where its answers said. @returns how many records there are */
async function countStored(address: string, books: Books): Promise<number> {
  const seen = new Uint8Array(books.count);
  let stored = 0;
  await readTopic(address, QUEUE_COUNT, ({ body, queueOffset }, queueId) => {
    const message = Number(body.toString());
    must(seen[message] === 0, () => `message ${message} is stored twice: at ${queueId}/${queueOffset} again`);
    const place = books.placeOf(message);
    must(place === `${queueId}/${queueOffset}`, () => `message ${message} is at ${queueId}/${queueOffset}, not ${place}`);
    seen[message] = 1;
    stored++;
  });
  const lost = seen.indexOf(0);
  must(lost < 0, () => `message ${lost} was acknowledged at ${books.placeOf(lost)}, and is lost`);
  return stored;
}
