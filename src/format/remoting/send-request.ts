import { MillraceError } from "../../base/errors.ts";
import { optionalBoolean, optionalInteger, optionalText, requiredInteger, requiredText } from "./command-fields.ts";
import * as fields from "./header-fields.ts";
import { FIELD_NAMES, LETTER_COUNT } from "./header-fields.ts";
import { RequestCode } from "./remoting-codes.ts";
import type { RemotingCommand } from "./remoting-command.ts";

/**
 * Header of a send (10, 310, 320) or reply (324, 325), whichever names its fields have. For the control plane; hot
 * paths scan bytes. Source: Apache `SendMessageRequestHeader`, `SendMessageRequestHeaderV2`.
 */
export interface SendRequest {
  producerGroup: string;
  topic: string;
  /** Template of a topic that does not exist yet. */
  defaultTopic: string;
  defaultTopicQueueNums: number;
  /** Negative: any write queue. */
  queueId: number;
  sysFlag: number;
  /** ms since the epoch. */
  bornTimestamp: number;
  flag: number;
  /** Properties text; "" when absent. */
  properties: string;
  reconsumeTimes: number;
  unitMode: boolean;
  maxReconsumeTimes: number | undefined;
  batch: boolean;
}

/** @throws MillraceError MILLRACE_PROTOCOL when a field is missing or malformed */
export function sendRequestOf(command: RemotingCommand): SendRequest {
  const names =
    command.code === RequestCode.SEND_MESSAGE || command.code === RequestCode.SEND_REPLY_MESSAGE ? FIELD_NAMES : LETTERS;
  const optionalInt = (field: number): number | undefined => int32(names[field]!, optionalInteger(command, names[field]!));
  const requiredInt = (field: number): number => {
    const value = requiredInteger(command, names[field]!);
    int32(names[field]!, value);
    return value;
  };
  return {
    producerGroup: requiredText(command, names[fields.FIELD_PRODUCER_GROUP]!),
    topic: requiredText(command, names[fields.FIELD_TOPIC]!),
    defaultTopic: requiredText(command, names[fields.FIELD_DEFAULT_TOPIC]!),
    defaultTopicQueueNums: requiredInt(fields.FIELD_DEFAULT_TOPIC_QUEUE_NUMS),
    queueId: requiredInt(fields.FIELD_QUEUE_ID),
    sysFlag: requiredInt(fields.FIELD_SYS_FLAG),
    bornTimestamp: requiredInteger(command, names[fields.FIELD_BORN_TIMESTAMP]!),
    flag: requiredInt(fields.FIELD_FLAG),
    properties: optionalText(command, names[fields.FIELD_PROPERTIES]!) ?? "",
    reconsumeTimes: optionalInt(fields.FIELD_RECONSUME_TIMES) ?? 0,
    unitMode: optionalBoolean(command, names[fields.FIELD_UNIT_MODE]!) ?? false,
    maxReconsumeTimes: optionalInt(fields.FIELD_MAX_RECONSUME_TIMES),
    batch: optionalBoolean(command, names[fields.FIELD_BATCH]!) ?? false,
  };
}

/** One message within the body of a batch. */
export interface SubMessage {
  flag: number;
  /** A view of the batch. */
  body: Buffer;
  properties: string;
}

/** Fields of a sub message beside its body and properties, bytes. */
const SUB_MESSAGE_SIZE_MIN = 22;

/**
 * Messages of a batch body, each `total u32 | magic 0 | CRC 0 | flag i32 | bodySize u32 | body | propertiesSize u16 |
 * properties`; undefined if the body is not a run of such messages. Source: Apache `MessageDecoder.decodeMessage`.
 */
export function subMessagesOf(body: Buffer): SubMessage[] | undefined {
  const messages: SubMessage[] = [];
  for (let at = 0; at < body.length; ) {
    if (body.length - at < SUB_MESSAGE_SIZE_MIN) return undefined;
    const size = body.readUInt32BE(at);
    const bodySize = body.readUInt32BE(at + 16);
    if (size > body.length - at || bodySize + SUB_MESSAGE_SIZE_MIN > size) return undefined;
    const propertiesAt = at + SUB_MESSAGE_SIZE_MIN + bodySize;
    if (propertiesAt + body.readUInt16BE(propertiesAt - 2) !== at + size) return undefined;
    messages.push({
      flag: body.readInt32BE(at + 12),
      body: body.subarray(at + 20, at + 20 + bodySize),
      properties: body.toString("utf8", propertiesAt, at + size),
    });
    at += size;
  }
  return messages.length === 0 ? undefined : messages;
}

const LETTERS: readonly string[] = Array.from({ length: LETTER_COUNT }, (_, i) => String.fromCharCode(0x61 + i));

function int32<N extends number | undefined>(name: string, value: N): N {
  if (value !== undefined && (value | 0) !== value) {
    throw new MillraceError("MILLRACE_PROTOCOL", `the custom field <${name}> is not a 32-bit integer`, { name });
  }
  return value;
}
