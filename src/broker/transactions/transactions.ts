import { type DecodedMessage, decodeMessage, SYS_FLAG_COMMIT, SYS_FLAG_ROLLBACK } from "../../format/record/message.ts";
import { physicalOffsetOf } from "../../format/record/message-id.ts";
import { PROPERTY } from "../../format/record/properties.ts";
import { optionalBoolean, optionalText, requiredInteger, requiredText } from "../../format/remoting/command-fields.ts";
import { RequestCode, ResponseCode } from "../../format/remoting/remoting-codes.ts";
import { type RemotingCommand, response } from "../../format/remoting/remoting-command.ts";
import type { Channel } from "../channel.ts";
import type { HandlerTable } from "../contracts.ts";
import { type SendRefusal, storeRefusal } from "../send/send-responses.ts";
import type { MessageTransform } from "../send/special-send.ts";
import { HALF_GIVEN_UP_TOPIC, HALF_TOPIC } from "../topics/system-topics.ts";
import { HalfCheck, type HalfCheckOptions, type HalfCheckSettings } from "./half-check.ts";
import { HalfMarks } from "./half-marks.ts";
import { checkedAgain, committed } from "./half-messages.ts";

export interface TransactionsOptions extends Omit<HalfCheckOptions, "marks" | "settings"> {
  settings: HalfCheckSettings & { transactionOpMsgMaxSize: number; transactionOpBatchInterval: number };
  /** Parks a committed message that is to be delivered later. */
  park: MessageTransform;
}

/** What END_TRANSACTION says. */
interface Ending {
  producerGroup: string;
  /** queueOffset in the half topic. */
  halfOffset: number;
  physicalOffset: number;
  /** SYS_FLAG_COMMIT, SYS_FLAG_ROLLBACK; 0: not decided. */
  decision: number;
  isAnswer: boolean;
}

/**
 * Transactions: a producer sends a half message, which nobody sees, does its local part, and then says what becomes of
 * it (37). If it never does, it is asked (half-check.ts). Control thread only; nothing here waits for a disk.
 * Source: Apache `EndTransactionProcessor`, `AdminBrokerProcessor.resumeCheckHalfMessage`.
 */
export class Transactions {
  readonly #o: TransactionsOptions;
  readonly #marks: HalfMarks;
  readonly #check: HalfCheck;

  constructor(options: TransactionsOptions) {
    this.#o = options;
    this.#marks = new HalfMarks(options);
    this.#check = new HalfCheck({ ...options, marks: this.#marks });
  }

  handlers(): HandlerTable {
    return new Map([
      [RequestCode.END_TRANSACTION, (command, channel) => this.#end(command, channel)],
      [RequestCode.RESUME_CHECK_HALF_MESSAGE, (command) => this.#resume(command)],
    ]);
  }

  /** Once, when the store is open. */
  load(): void {
    this.#check.load();
  }

  /** Begins to look for transactions that nobody ends; again where transactionCheckInterval has changed. */
  start(): void {
    this.#check.start();
  }

  async close(): Promise<void> {
    await this.#check.close();
    await this.#marks.close();
  }

  async #end(command: RemotingCommand, channel: Channel): Promise<RemotingCommand | undefined> {
    const ending = endingOf(command);
    if (typeof ending === "string") return response(command, ResponseCode.SYSTEM_ERROR, ending);
    if (ending.decision === 0) {
      const { producerGroup, halfOffset } = ending;
      this.#o.log.info({ producerGroup, halfOffset, remoteAddress: channel.remoteAddress }, "a transaction is not decided yet");
      return undefined;
    }
    const record = this.#o.store.readRecord(ending.physicalOffset);
    const half = record === undefined ? undefined : decodeMessage(record);
    const refusal = half === undefined ? NOT_FOUND : this.#refusal(ending, half);
    if (half === undefined || refusal !== undefined) {
      const { code, remark } = refusal ?? NOT_FOUND;
      this.#o.log.warn({ ...ending, remark }, "the end of a transaction is refused");
      return response(command, code, remark);
    }
    // What was said first holds; and a message is not delivered once for each question.
    if (this.#marks.isInherited(half.queueOffset)) return response(command, ResponseCode.SUCCESS);
    this.#marks.begin(half.queueOffset);
    const failure = ending.decision === SYS_FLAG_COMMIT ? await this.#commit(half) : undefined;
    this.#marks.end(half.queueOffset, failure === undefined);
    return response(command, failure?.code ?? ResponseCode.SUCCESS, failure?.remark);
  }

  /** In Apache's order. */
  #refusal({ isAnswer, producerGroup, halfOffset }: Ending, half: DecodedMessage): SendRefusal | undefined {
    const { settings, clock } = this.#o;
    const ownTime = half.properties.get(PROPERTY.CHECK_IMMUNITY_TIME) ?? "";
    if (!isAnswer && ownTime !== "") {
      const seconds = /^[+-]?\d{1,15}$/.test(ownTime) ? Number(ownTime) : 0;
      const untilMs = half.bornTimestamp + Math.max(seconds * 1000, settings.transactionTimeOut);
      if (clock.now() > untilMs) {
        const remark = `it comes later than ${PROPERTY.CHECK_IMMUNITY_TIME} allows: the broker will ask`;
        return { code: ResponseCode.ILLEGAL_OPERATION, remark };
      }
    }
    const wrong = (remark: string): SendRefusal => ({ code: ResponseCode.SYSTEM_ERROR, remark });
    if (half.properties.get(PROPERTY.PRODUCER_GROUP) !== producerGroup) return wrong("The producer group wrong");
    if (half.queueOffset !== halfOffset) return wrong("The transaction state table offset wrong");
    if (half.topic !== HALF_TOPIC) return wrong("there is no half message at that offset");
    return undefined;
  }

  /** @returns why the message is not stored in its topic */
  async #commit(half: DecodedMessage): Promise<SendRefusal | undefined> {
    const { store, park, log } = this.#o;
    const whole = committed(half);
    if (whole === undefined) return { code: ResponseCode.SYSTEM_ERROR, remark: "the half message does not say where it belongs" };
    const message = park(whole);
    if ("code" in message) return message;
    // As with Apache's broker: what waits once more does not say any more that it was half.
    if (message !== whole) message.properties.delete(PROPERTY.TRANSACTION_PREPARED);
    try {
      store.ensureQueues(message.topic, message.queueId + 1); // Also where the topic was deleted meanwhile.
      await store.append(message);
      return undefined;
    } catch (error) {
      const refusal = storeRefusal(error);
      // It is stored, only the disk is late: as with Apache's broker that is no failure.
      if (refusal.code === ResponseCode.FLUSH_DISK_TIMEOUT) return undefined;
      log.warn({ topic: message.topic, halfOffset: half.queueOffset, error: String(error) }, "a commit cannot be stored");
      return refusal;
    }
  }

  /** An administrator wants a message that was given up to be asked about again. */
  async #resume(command: RemotingCommand): Promise<RemotingCommand> {
    const { store, log } = this.#o;
    const failed = (why: string): RemotingCommand => {
      const remark = `Put message back to ${HALF_TOPIC} failed: ${why}`;
      return response(command, ResponseCode.SYSTEM_ERROR, remark);
    };
    const record = store.readRecord(physicalOffsetOf(optionalText(command, "msgId") ?? "") ?? -1);
    if (record === undefined) return failed("there is no such message");
    const half = decodeMessage(record);
    if (half.topic !== HALF_GIVEN_UP_TOPIC && half.topic !== HALF_TOPIC) return failed("it is no half message");
    try {
      await store.append(checkedAgain(half, 0));
    } catch (error) {
      return failed(storeRefusal(error).remark);
    }
    log.info(
      { topic: half.properties.get(PROPERTY.REAL_TOPIC), halfOffset: half.queueOffset },
      "a half message is asked about again",
    );
    return response(command, ResponseCode.SUCCESS);
  }
}

const NOT_FOUND: SendRefusal = { code: ResponseCode.SYSTEM_ERROR, remark: "Find prepared transaction message failed" };

/** @returns a text: why the request is wrong. @throws MillraceError MILLRACE_PROTOCOL for missing fields */
function endingOf(command: RemotingCommand): Ending | string {
  const producerGroup = requiredText(command, "producerGroup");
  const halfOffset = requiredInteger(command, "tranStateTableOffset");
  const physicalOffset = requiredInteger(command, "commitLogOffset");
  const decision = requiredInteger(command, "commitOrRollback");
  const isAnswer = optionalBoolean(command, "fromTransactionCheck") ?? false;
  if (decision !== 0 && decision !== SYS_FLAG_COMMIT && decision !== SYS_FLAG_ROLLBACK) return "commitOrRollback field wrong";
  return { producerGroup, halfOffset, physicalOffset, decision, isAnswer };
}
