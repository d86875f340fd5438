// F18: transactions end while the broker is killed again and again.
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { decodeMessage } from "../../src/format/record/message.ts";
import { physicalOffsetOf } from "../../src/format/record/message-id.ts";
import { RequestCode, ResponseCode } from "../../src/format/remoting/remoting-codes.ts";
import { RawClient } from "../broker-e2e/raw-client.ts";
import * as requests from "../broker-e2e/requests.ts";
import type { Command } from "../cli/command.ts";
import { brokerCommand, ready } from "./broker-command.ts";
import { createTopic, readTopic, TOPIC } from "./ledger.ts";
import { type Figures, must, type Scenario, type Torture } from "./scenario.ts";

const GROUP = "torture-tx";
const PRODUCER_COUNT = 16;
const QUEUE_COUNT = 4;
const [COMMIT, ROLLBACK] = [8, 12];
/** Asked each second; marks wait as long as they do by default, so that a kill loses some. */
const SETTINGS = ["transactionCheckInterval=1000", "transactionTimeOut=1", "mappedFileSizeCommitLog=1048576"];
const DECIDED_WITHIN_MS = 30_000;
const POLL_MS = 100;

export const scenario: Scenario = {
  id: "F18",
  title: "kill -9 while transactions end: none is lost, none comes that was rolled back, none comes twice unasked",
  run: torture,
};

/** What the local part of each transaction has decided; a third is rolled back. */
function decisionOf(id: number): number {
  return id % 3 === 0 ? ROLLBACK : COMMIT;
}

async function torture({ random, drive, directory, isShort, hasNext }: Torture): Promise<Figures> {
  const store = join(directory, "store");
  const launch = (): Command => brokerCommand(store, drive, SETTINGS);
  const books = new Books();
  let kills = 0;
  let broker = launch();
  try {
    let address = await ready(broker);
    await createTopic(address);
    while (hasNext(kills, isShort ? 2 : Number.POSITIVE_INFINITY)) {
      const round = Array.from({ length: PRODUCER_COUNT }, () => produce(address, books));
      await sleep(random.between(200, isShort ? 700 : 1500));
      await broker.end("SIGKILL");
      await Promise.all(round);
      kills++;
      broker = launch();
      address = await ready(broker);
    }
    const asked = await answerAll(address, books);
    const { delivered, repeated } = await readAll(address, books);
    must(books.acked.size > 0 && delivered > 0, "nothing was committed: the round proves nothing");
    return {
      kills,
      transactions: books.acked.size,
      delivered,
      repeated,
      "asked in the end": asked,
      lost: 0,
      "rolled back, but delivered": 0,
    };
  } finally {
    await broker.end("SIGKILL");
  }
}

/** What the producers know. */
class Books {
  /** Transactions whose half message was acknowledged. */
  readonly acked: Set<number> = new Set();
  /** How often each was said to be committed. */
  readonly commits: Map<number, number> = new Map();
  #nextId = 0;

  newId(): number {
    return this.#nextId++;
  }

  /** What END_TRANSACTION says of it. */
  end(
    id: number,
    queueOffset: string,
    physicalOffset: string | number,
    isAnswer: boolean,
  ): Record<string, string | number | boolean> {
    const commitOrRollback = decisionOf(id);
    if (commitOrRollback === COMMIT) this.commits.set(id, (this.commits.get(id) ?? 0) + 1);
    const place = { tranStateTableOffset: queueOffset, commitLogOffset: physicalOffset };
    return { producerGroup: GROUP, ...place, commitOrRollback, fromTransactionCheck: isAnswer, msgId: "M" };
  }
}

/** One transaction after the other until the connection ends; every fifth is left for the broker to ask about. */
async function produce(address: string, books: Books): Promise<void> {
  let client: RawClient | undefined;
  try {
    client = await RawClient.connect(address);
    await greet(client);
    for (;;) {
      const id = books.newId();
      const properties = { TRAN_MSG: "true", PGROUP: GROUP, UNIQ_KEY: `T${id}` };
      const header = requests.sendHeaderV2({ topic: TOPIC, queueId: id % QUEUE_COUNT, sysFlag: 4, properties });
      const answer = await client.ask(requests.SEND_V2, { ...header, g: Date.now() }, Buffer.from(String(id)));
      must(answer.code === ResponseCode.SUCCESS, `a half message was answered ${answer.code}: ${answer.remark}`);
      books.acked.add(id);
      if (id % 5 !== 0) {
        const { queueOffset, msgId } = answer.extFields;
        const end = books.end(id, queueOffset!, physicalOffsetOf(msgId!)!, false);
        const { code, remark } = await client.ask(RequestCode.END_TRANSACTION, end);
        must(code === ResponseCode.SUCCESS, `an end was answered ${code}: ${remark}`);
      }
      await answerQuestions(client, books);
    }
  } catch (error) {
    if (String(error).includes("violated")) throw error;
  } finally {
    client?.close();
  }
}

/** Becomes one of the producers whom the broker asks. */
async function greet(client: RawClient): Promise<void> {
  const body = { clientID: `c${Math.random()}`, producerDataSet: [{ groupName: GROUP }], consumerDataSet: [] };
  await client.ask(requests.HEARTBEAT, {}, Buffer.from(JSON.stringify(body)));
}

async function answerQuestions(client: RawClient, books: Books): Promise<number> {
  let count = 0;
  for (const { code, extFields, body } of client.requests.splice(0)) {
    if (code !== RequestCode.CHECK_TRANSACTION_STATE) continue;
    const id = Number(decodeMessage(body).body.toString());
    const end = books.end(id, extFields["tranStateTableOffset"]!, extFields["commitLogOffset"]!, true);
    must((await client.ask(RequestCode.END_TRANSACTION, end)).code === ResponseCode.SUCCESS, "an answer is refused");
    count++;
  }
  return count;
}

/** Answers until nobody has asked for some rounds. @returns how many questions there were */
async function answerAll(address: string, books: Books): Promise<number> {
  const client = await RawClient.connect(address);
  await greet(client);
  let asked = 0;
  for (let quietMs = 0, passedMs = 0; quietMs < 3000 && passedMs < DECIDED_WITHIN_MS; passedMs += POLL_MS) {
    await sleep(POLL_MS);
    const count = await answerQuestions(client, books);
    asked += count;
    quietMs = count > 0 ? 0 : quietMs + POLL_MS;
  }
  client.close();
  return asked;
}

async function readAll(address: string, books: Books): Promise<{ delivered: number; repeated: number }> {
  const counts = new Map<number, number>();
  await readTopic(address, QUEUE_COUNT, ({ body }) => {
    const id = Number(body.toString());
    counts.set(id, (counts.get(id) ?? 0) + 1);
  });
  let repeated = 0;
  for (const [id, count] of counts) {
    must(decisionOf(id) === COMMIT, `transaction ${id} was rolled back, and its message delivered`);
    const commits = books.commits.get(id) ?? 0;
    must(count <= commits, `transaction ${id} was committed ${commits} times, and its message delivered ${count} times`);
    repeated += count - 1;
  }
  for (const id of books.acked)
    must(decisionOf(id) === ROLLBACK || counts.has(id), `transaction ${id} was committed, and its message is lost`);
  return { delivered: counts.size, repeated };
}
