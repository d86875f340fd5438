/** Codes are API: add, never rename. */
export type ErrorCode =
  | "MILLRACE_CONFIG_INVALID"
  | "MILLRACE_ADDRESS_IN_USE"
  | "MILLRACE_STORE_LOCKED"
  | "MILLRACE_STORE_UNWRITABLE"
  | "MILLRACE_STORE_CORRUPT"
  | "MILLRACE_STORE_FULL"
  | "MILLRACE_DISK_WATERMARK"
  | "MILLRACE_STORE_IO"
  | "MILLRACE_STORE_CLOSED"
  | "MILLRACE_BUSY"
  | "MILLRACE_MESSAGE_ILLEGAL"
  | "MILLRACE_TOPIC_UNKNOWN"
  | "MILLRACE_PROTOCOL"
  | "MILLRACE_FILTER_INVALID"
  | "MILLRACE_REQUEST_FAILED"
  | "MILLRACE_TIMEOUT"
  | "MILLRACE_CONNECTION"
  | "MILLRACE_CLOSED";

/** A failure that callers may expect; branch on `code`, the message may change. */
export class MillraceError extends Error {
  override readonly name = "MillraceError";
  readonly code: ErrorCode;
  /** The figures behind the message. Never a body or a secret. */
  readonly details: Readonly<Record<string, number | string>>;

  constructor(code: ErrorCode, message: string, details: Record<string, number | string> = {}, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
    this.details = details;
  }
}
