import test from "ava";
import { VirtualClock } from "../../../src/base/clock.ts";
import { QueueLocks } from "../../../src/broker/groups/queue-locks.ts";
import { RequestCode } from "../../../src/format/remoting/remoting-codes.ts";
import { ask, bodyOf } from "../fake-lookups.ts";

const { LOCK_BATCH_MQ, UNLOCK_BATCH_MQ } = RequestCode;

const queue = (queueId: number): { brokerName: string; queueId: number; topic: string } => ({
  brokerName: "b",
  queueId,
  topic: "T",
});

class Locks {
  readonly clock = new VirtualClock(0);
  readonly locks = new QueueLocks({ clock: this.clock });

  async lock(clientId: string, ...ids: number[]): Promise<number[]> {
    const body = JSON.stringify({ clientId, consumerGroup: "g", mqSet: ids.map(queue), onlyThisBroker: false });
    const answer = JSON.parse(bodyOf(await ask(this.locks.handlers(), LOCK_BATCH_MQ, {}, body)));
    return answer.lockOKMQSet.map(({ queueId }: { queueId: number }) => queueId);
  }

  async unlock(clientId: string, ...ids: number[]): Promise<void> {
    const body = JSON.stringify({ clientId, consumerGroup: "g", mqSet: ids.map(queue) });
    bodyOf(await ask(this.locks.handlers(), UNLOCK_BATCH_MQ, {}, body));
  }
}

test("a queue has one owner; asking again keeps it; others get it when it is given back", async (t) => {
  const locks = new Locks();
  t.deepEqual(await locks.lock("c1", 0, 1), [0, 1]);
  t.deepEqual(await locks.lock("c2", 0, 1, 2), [2]);
  t.deepEqual(await locks.lock("c1", 0), [0]);
  await locks.unlock("c2", 0);
  t.deepEqual(await locks.lock("c2", 0), [], "only the owner gives it back");
  await locks.unlock("c1", 0);
  t.deepEqual(await locks.lock("c2", 0), [0]);
});

test("a lock lives 60 s from the last call", async (t) => {
  const locks = new Locks();
  await locks.lock("c1", 0, 1);
  locks.clock.advance(40_000);
  await locks.lock("c1", 1);
  locks.clock.advance(20_001);
  t.deepEqual(await locks.lock("c2", 0, 1), [0]);
  t.true(locks.locks.isAnyHeld("g"));
  locks.clock.advance(60_001);
  t.false(locks.locks.isAnyHeld("g"));
});

test("a request without its members is refused", async (t) => {
  const locks = new Locks();
  for (const body of ['{"clientId":"c"}', '{"clientId":"c","consumerGroup":"g","mqSet":[{"topic":"T"}]}', "[]"]) {
    await t.throwsAsync(ask(locks.locks.handlers(), LOCK_BATCH_MQ, {}, body), { code: "MILLRACE_PROTOCOL" }, body);
  }
});
