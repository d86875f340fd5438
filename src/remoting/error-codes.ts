import { type ErrorCode, MillraceError } from "../base/errors.ts";
import { ResponseCode } from "../format/remoting/remoting-codes.ts";
import { type RemotingCommand, response } from "../format/remoting/remoting-command.ts";

/** What each expected failure is to a RocketMQ client; what is not listed is SYSTEM_ERROR. */
const RESPONSE_CODES: Partial<Record<ErrorCode, number>> = {
  MILLRACE_BUSY: ResponseCode.SYSTEM_BUSY,
  MILLRACE_MESSAGE_ILLEGAL: ResponseCode.MESSAGE_ILLEGAL,
  MILLRACE_TOPIC_UNKNOWN: ResponseCode.TOPIC_NOT_EXIST,
  MILLRACE_DISK_WATERMARK: ResponseCode.SERVICE_NOT_AVAILABLE,
  MILLRACE_STORE_CLOSED: ResponseCode.SERVICE_NOT_AVAILABLE,
  MILLRACE_CLOSED: ResponseCode.SERVICE_NOT_AVAILABLE,
};

/** MILLRACE_REQUEST_FAILED carries the response code itself, as details.code. */
export function responseCodeOf(error: unknown): number {
  if (!(error instanceof MillraceError)) return ResponseCode.SYSTEM_ERROR;
  const own = error.details["code"];
  if (error.code === "MILLRACE_REQUEST_FAILED" && typeof own === "number") return own;
  return RESPONSE_CODES[error.code] ?? ResponseCode.SYSTEM_ERROR;
}

/** The answer to a request whose handler threw. */
export function errorResponse(to: RemotingCommand, error: unknown): RemotingCommand {
  return response(to, responseCodeOf(error), error instanceof Error ? error.message : String(error));
}
