import {
  bornHostShift,
  type DecodedMessage,
  encodeMessage,
  PHYSICAL_OFFSET_OFFSET,
  QUEUE_OFFSET_OFFSET,
  STORE_TIMESTAMP_OFFSET_V4,
  SYS_FLAG_COMMIT,
  SYS_FLAG_TRANSACTION_MASK,
  writeInt64,
} from "../../format/record/message.ts";
import { encodeProperties, PROPERTY } from "../../format/record/properties.ts";
import type { AppendResult, OutgoingMessage } from "../message-store.ts";
import { realPlaceOf } from "../send/real-place.ts";
import { HALF_GIVEN_UP_TOPIC, HALF_TOPIC } from "../topics/system-topics.ts";

/**
 * The forms that a message of a transaction takes: half, asked about again, committed, given up.
 * Source: Apache `TransactionalMessageBridge`, `EndTransactionProcessor`, `DefaultTransactionalMessageCheckListener`.
 */

/** What a producer sends first: it waits in the half topic until the transaction ends. */
export function halfOf(message: OutgoingMessage): OutgoingMessage {
  const properties = new Map(message.properties);
  const uniqueKey = properties.get(PROPERTY.UNIQ_KEY);
  if (uniqueKey !== undefined) properties.set(PROPERTY.TRANSACTION_ID, uniqueKey);
  properties.set(PROPERTY.REAL_TOPIC, message.topic);
  properties.set(PROPERTY.REAL_QUEUE_ID, String(message.queueId));
  return { ...message, ...inHalfTopic(message), properties };
}

/** The message as consumers get it; undefined where the record does not say to which queue it belongs. */
export function committed(half: DecodedMessage): OutgoingMessage | undefined {
  const place = realPlaceOf(half.properties);
  if (place === undefined) return undefined;
  const properties = new Map(half.properties);
  properties.delete(PROPERTY.REAL_TOPIC);
  properties.delete(PROPERTY.REAL_QUEUE_ID);
  const sysFlag = (half.sysFlag & ~SYS_FLAG_TRANSACTION_MASK) | SYS_FLAG_COMMIT;
  return { ...outgoing(half, properties), ...place, sysFlag, preparedTransactionOffset: half.physicalOffset };
}

/** The half message once more, at the end of its queue, because its producer is asked for the `checkTimes`th time. */
export function checkedAgain(half: DecodedMessage, checkTimes: number): OutgoingMessage {
  const properties = new Map(half.properties);
  properties.set(PROPERTY.TRANSACTION_CHECK_TIMES, String(checkTimes));
  return { ...outgoing(half, properties), ...inHalfTopic(half) };
}

/** The half message once more, because its own time without questions is not over. */
export function stillImmune(half: DecodedMessage): OutgoingMessage {
  const properties = new Map(half.properties);
  const first = properties.get(PROPERTY.TRANSACTION_PREPARED_OFFSET) ?? String(half.queueOffset);
  properties.set(PROPERTY.TRANSACTION_PREPARED_OFFSET, first);
  properties.set(PROPERTY.WAIT, "false");
  return { ...outgoing(half, properties), ...inHalfTopic(half) };
}

/** Where an administrator finds it. */
export function givenUp(half: DecodedMessage): OutgoingMessage {
  return { ...outgoing(half, new Map(half.properties)), topic: HALF_GIVEN_UP_TOPIC, queueId: 0 };
}

/** Body of CHECK_TRANSACTION_STATE: the half message in its real topic, at the position where it stands now. */
export function checkBody(half: DecodedMessage, renewed: OutgoingMessage, at: AppendResult): Buffer {
  const place = realPlaceOf(renewed.properties) ?? { topic: renewed.topic, queueId: renewed.queueId };
  const { storeHost, bodyCrc } = half;
  const properties = encodeProperties(new Map(renewed.properties).set(PROPERTY.WAIT, "false"));
  const record = encodeMessage({ ...renewed, ...place, properties, storeHost, bodyCrc });
  writeInt64(record, at.queueOffset, QUEUE_OFFSET_OFFSET);
  writeInt64(record, at.physicalOffset, PHYSICAL_OFFSET_OFFSET);
  writeInt64(record, half.storeTimestamp, STORE_TIMESTAMP_OFFSET_V4 + bornHostShift(half.sysFlag));
  return record;
}

function inHalfTopic({ sysFlag }: { sysFlag: number }): { topic: string; queueId: number; sysFlag: number } {
  return { topic: HALF_TOPIC, queueId: 0, sysFlag: sysFlag & ~SYS_FLAG_TRANSACTION_MASK };
}

function outgoing(half: DecodedMessage, properties: Map<string, string>): OutgoingMessage {
  const { topic, queueId, flag, sysFlag, bornTimestamp, bornHost, reconsumeTimes, body } = half;
  return {
    topic,
    queueId,
    flag,
    sysFlag,
    bornTimestamp,
    bornHost,
    reconsumeTimes,
    preparedTransactionOffset: 0,
    properties,
    body: Buffer.from(body),
  };
}
