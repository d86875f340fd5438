import { RETRY_PREFIX } from "../../format/names.ts";
import { decodeMessage } from "../../format/record/message.ts";
import { PROPERTY } from "../../format/record/properties.ts";
import { singlesOf } from "../../format/record/whole-batch.ts";
import { popNormalTopic, popRetryTopic } from "../../format/remoting/pop-info.ts";
import { PERM_READ, PERM_WRITE } from "../../format/topic-config.ts";
import type { Log } from "../../observe/log.ts";
import type { GroupLookup, OffsetLookup, TopicLookup } from "../contracts.ts";
import type { MessageStore, OutgoingMessage } from "../message-store.ts";
import type { CheckPoint, CheckPoints } from "./check-points.ts";

export interface RevivalOptions {
  store: MessageStore;
  topics: TopicLookup;
  groups: GroupLookup;
  offsets: OffsetLookup;
  points: CheckPoints;
  /** `ip:port` of the broker. */
  storeHost: string;
  /** Resolves once the disk has all topics. */
  saveTopics: () => Promise<void>;
  /** enableRetryTopicV2, read at each use. */
  isSecondForm: () => boolean;
  log: Log;
  /** A message is in the retry topic. */
  onRevived: (topic: string, group: string) => void;
}

/** Check points that are worked on at once. */
const RUNNING_MAX = 64;
/** What cannot be stored now is tried again after these. Source: Apache `PopReviveService.ckRewriteIntervalsInSeconds`. */
const AGAIN_S = [10, 20, 30, 60, 120, 180, 240, 300, 360, 420, 480, 540, 600, 1200, 1800, 3600, 7200];
const FIRST_POP_TIME = "1ST_POP_TIME";

/**
 * Puts popped messages that nobody has acknowledged in time into the group's retry topic, where pops find them again; those
 * from there go to its end. Source: Apache `PopReviveService.reviveMsgFromCk`, `reviveRetry`.
 */
export class Revival {
  readonly #o: RevivalOptions;
  /** Retry topics that we have made, until the disk has them: after a crash nobody would look for what is in an unknown one. */
  readonly #making = new Map<string, Promise<void>>();
  #waiting: CheckPoint[] = [];
  #head = 0;
  #running = 0;
  /** Resolved when nothing runs any more. */
  #idle: { promise: Promise<void>; resolve: () => void } | undefined;
  #isClosed = false;

  constructor(options: RevivalOptions) {
    this.#o = options;
  }

  /** Its time is over. */
  revive(point: CheckPoint): void {
    this.#waiting.push(point);
    this.#next();
  }

  /** Resolves once nothing is under way; undefined: it is so. */
  idle(): Promise<void> | undefined {
    if (this.#running === 0) return undefined;
    if (this.#idle === undefined) {
      let resolve = (): void => {};
      const promise = new Promise<void>((done) => (resolve = done));
      this.#idle = { promise, resolve };
    }
    return this.#idle.promise;
  }

  #next(): void {
    while (this.#running < RUNNING_MAX && !this.#isClosed) {
      const point = this.#waiting[this.#head++];
      if (point === undefined) {
        this.#waiting = [];
        this.#head = 0;
        return;
      }
      this.#running++;
      void this.#reviveOne(point).finally(() => {
        this.#running--;
        this.#next();
        if (this.#running > 0) return;
        this.#idle?.resolve();
        this.#idle = undefined;
      });
    }
  }

  async #reviveOne(point: CheckPoint): Promise<void> {
    const { points, topics, groups, log } = this.#o;
    const { topic, group, queueId, startOffset, distances } = point;
    const open = distances.flatMap((distance, index) => (points.isAcknowledged(point, index) ? [] : [startOffset + distance]));
    const isGone = topics.get(popNormalTopic(topic, group)) === undefined || groups.find(group) === undefined;
    if (isGone) log.warn({ topic, group, queueId }, "popped messages of a topic or group that is gone do not come back");
    const results = await Promise.allSettled(open.map(async (offset) => isGone || (await this.#putBack(point, offset))));
    const done = open.filter((_, index) => results[index]!.status === "fulfilled");
    if (done.length > 0) await points.revived(point, done);
    const failed = results.find((result) => result.status === "rejected");
    if (failed === undefined) return;
    if (this.#isClosed) return; // The next start finds the check point.
    const delayS = AGAIN_S[Math.min(point.rePutTimes, AGAIN_S.length - 1)]!;
    point.rePutTimes++;
    log.warn(
      { topic, group, queueId, error: String(failed.reason), delayS },
      "popped messages could not be put back: tried again",
    );
    points.postpone(point, delayS * 1000);
  }

  /** @returns is it in the retry topic, or lost for good? @throws MillraceError as `append` */
  async #putBack(point: CheckPoint, queueOffset: number): Promise<boolean> {
    const { store, topics, offsets, storeHost, isSecondForm, log, onRevived } = this.#o;
    const { topic, group, queueId, popTime, isSuspended } = point;
    const entry = store.queueEntry(topic, queueId, queueOffset);
    const record = entry === undefined ? undefined : store.readRecord(entry.physicalOffset);
    if (record === undefined) {
      log.warn({ topic, group, queueId, queueOffset }, "a popped message that nobody has acknowledged is not there any more");
      return true;
    }
    const message = decodeMessage(record);
    const retryTopic = topic.startsWith(RETRY_PREFIX) ? topic : popRetryTopic(topic, group, isSecondForm());
    if (topics.get(retryTopic) === undefined) {
      topics.ensure(retryTopic, 1, PERM_READ | PERM_WRITE);
      if (offsets.get(group, retryTopic, 0) < 0) offsets.commit(group, retryTopic, 0, 0);
      this.#making.set(retryTopic, this.#o.saveTopics());
    }
    const making = this.#making.get(retryTopic);
    if (making !== undefined) await making.finally(() => this.#making.delete(retryTopic));
    for (const { flag, sysFlag, body, properties } of singlesOf(message)) {
      if (message.reconsumeTimes === 0 || !properties.has(FIRST_POP_TIME)) properties.set(FIRST_POP_TIME, String(popTime));
      properties.set(PROPERTY.ORIGIN_GROUP, group);
      const outgoing: OutgoingMessage = {
        topic: retryTopic,
        queueId: 0,
        flag,
        sysFlag,
        bornTimestamp: message.bornTimestamp,
        bornHost: storeHost,
        reconsumeTimes: message.reconsumeTimes + (isSuspended ? 0 : 1),
        preparedTransactionOffset: 0,
        properties,
        body: Buffer.from(body),
      };
      await store.append(outgoing);
    }
    onRevived(popNormalTopic(topic, group), group);
    return true;
  }

  close(): void {
    this.#isClosed = true;
    this.#waiting = [];
  }
}
