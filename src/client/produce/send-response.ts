import { MillraceError } from "../../base/errors.ts";
import { ResponseCode } from "../../format/remoting/remoting-codes.ts";
import { decodeCommand } from "../../format/remoting/remoting-command.ts";
import { frameHeaderSize, HEADER_OFFSET, SERIALIZE_JSON } from "../../format/remoting/remoting-frame.ts";

/** In each of these cases the message is stored; only SEND_OK says that it is as safe as the broker's settings demand. */
export type SendStatus = "SEND_OK" | "FLUSH_DISK_TIMEOUT" | "SLAVE_NOT_AVAILABLE" | "FLUSH_SLAVE_TIMEOUT";

/** Answer to 310 or 320. */
export interface SendResponse {
  status: SendStatus;
  /** offsetMsgId; of a batch, all of them joined by commas. */
  offsetMsgId: string;
  queueId: number;
  /** Of a batch, that of its first message. */
  queueOffset: number;
  transactionId: string | undefined;
  recallHandle: string | undefined;
}

const STATUSES: Readonly<Record<number, SendStatus>> = {
  [ResponseCode.SUCCESS]: "SEND_OK",
  [ResponseCode.FLUSH_DISK_TIMEOUT]: "FLUSH_DISK_TIMEOUT",
  [ResponseCode.SLAVE_NOT_AVAILABLE]: "SLAVE_NOT_AVAILABLE",
  [ResponseCode.FLUSH_SLAVE_TIMEOUT]: "FLUSH_SLAVE_TIMEOUT",
};

const SUCCESS_HEAD = '{"code":0,';

/**
 * Reads the answer bytes[start, end). The usual one, a success, by looking for its fields only; whatever
 * looks different is decoded whole.
 *
 * @returns the result, or the failure: MILLRACE_REQUEST_FAILED (details.responseCode), MILLRACE_PROTOCOL
 */
export function readSendResponse(bytes: Buffer, start: number, end: number): SendResponse | MillraceError {
  const response = bytes[start + 4] === SERIALIZE_JSON ? readJsonSuccess(bytes, start) : readBinarySuccess(bytes, start);
  if (response !== undefined) return response;
  try {
    return readWhole(bytes.subarray(start, end));
  } catch (error) {
    if (error instanceof MillraceError) return error;
    throw error;
  }
}

function readJsonSuccess(bytes: Buffer, start: number): SendResponse | undefined {
  const headerStart = start + HEADER_OFFSET;
  const text = bytes.toString("latin1", headerStart, headerStart + frameHeaderSize(bytes, start));
  if (!text.startsWith(SUCCESS_HEAD) || text.includes("\\")) return undefined;
  const queueOffset = Number(textOf(text, '"queueOffset":"'));
  const queueId = Number(textOf(text, '"queueId":"'));
  const offsetMsgId = textOf(text, '"msgId":"');
  if (!(queueOffset >= 0 && queueId >= 0) || offsetMsgId === undefined) return undefined;
  return {
    status: "SEND_OK",
    offsetMsgId,
    queueId,
    queueOffset,
    transactionId: textOf(text, '"transactionId":"'),
    recallHandle: textOf(text, '"recallHandle":"'),
  };
}

/** code i16 | language, version, opaque, flag | remark size i32 at 13 | extFields size i32 | (key size i16 | key | value size i32 | value)* */
function readBinarySuccess(bytes: Buffer, start: number): SendResponse | undefined {
  const headerStart = start + HEADER_OFFSET;
  const end = headerStart + frameHeaderSize(bytes, start);
  // A remark, or anything but a success, is for the whole decode.
  if (end - headerStart < 21 || bytes.readInt16BE(headerStart) !== 0 || bytes.readInt32BE(headerStart + 13) !== 0)
    return undefined;
  const response: SendResponse = {
    status: "SEND_OK",
    offsetMsgId: "",
    queueId: -1,
    queueOffset: -1,
    transactionId: undefined,
    recallHandle: undefined,
  };
  let at = headerStart + 21;
  while (at + 6 <= end) {
    const valueSizeAt = at + 2 + bytes.readUInt16BE(at);
    if (valueSizeAt + 4 > end) return undefined;
    const valueEnd = valueSizeAt + 4 + bytes.readUInt32BE(valueSizeAt);
    if (valueEnd > end) return undefined;
    const key = bytes.toString("latin1", at + 2, valueSizeAt);
    const value = bytes.toString("latin1", valueSizeAt + 4, valueEnd);
    if (key === "msgId") response.offsetMsgId = value;
    else if (key === "queueId") response.queueId = Number(value);
    else if (key === "queueOffset") response.queueOffset = Number(value);
    else if (key === "transactionId") response.transactionId = value;
    else if (key === "recallHandle") response.recallHandle = value;
    at = valueEnd;
  }
  return response.queueId >= 0 && response.queueOffset >= 0 && response.offsetMsgId !== "" ? response : undefined;
}

function readWhole(frame: Buffer): SendResponse | MillraceError {
  const answer = decodeCommand(frame);
  const status = STATUSES[answer.code];
  if (status === undefined) {
    const remark = answer.remark ?? "";
    return new MillraceError("MILLRACE_REQUEST_FAILED", `the broker answered ${answer.code}: ${remark}`, {
      responseCode: answer.code,
      remark,
    });
  }
  const { msgId, queueId, queueOffset, transactionId, recallHandle } = answer.extFields;
  if (msgId === undefined || queueId === undefined || queueOffset === undefined) {
    return new MillraceError("MILLRACE_PROTOCOL", "the broker's answer to a send lacks msgId, queueId or queueOffset");
  }
  return { status, offsetMsgId: msgId, queueId: Number(queueId), queueOffset: Number(queueOffset), transactionId, recallHandle };
}

function textOf(header: string, key: string): string | undefined {
  const at = header.indexOf(key);
  if (at < 0) return undefined;
  const start = at + key.length;
  return header.slice(start, header.indexOf('"', start));
}
