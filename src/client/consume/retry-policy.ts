import { MillraceError } from "../../base/errors.ts";
import { ResponseCode } from "../../format/remoting/remoting-codes.ts";

/**
 * Answers after which a message is sent again, to another broker if there is one.
 * Source: Apache `DefaultMQProducer.retryResponseCodes`.
 */
const RETRY_CODES: ReadonlySet<number> = new Set([
  ResponseCode.TOPIC_NOT_EXIST,
  ResponseCode.SERVICE_NOT_AVAILABLE,
  ResponseCode.SYSTEM_ERROR,
  ResponseCode.SYSTEM_BUSY,
  ResponseCode.NO_PERMISSION,
  ResponseCode.NO_BUYER_ID,
  ResponseCode.NOT_IN_CURRENT_UNIT,
  ResponseCode.GO_AWAY,
]);

/** How long a broker is left alone after it did not answer, and after it refused for a reason that may pass; ms. */
const UNREACHABLE_MS = 5_000;
const REFUSED_MS = 1_000;

/** May a send that failed with `error` go well if it is tried again? */
export function isRetryable(error: Error): boolean {
  if (!(error instanceof MillraceError)) return false;
  switch (error.code) {
    case "MILLRACE_TIMEOUT":
    case "MILLRACE_CONNECTION":
    case "MILLRACE_BUSY":
      return true;
    case "MILLRACE_REQUEST_FAILED":
      return RETRY_CODES.has(Number(error.details["responseCode"]));
    default:
      return false;
  }
}

/** For how long other brokers are preferred after `error`, ms; 0 when the broker is not to blame. */
export function faultMs(error: Error): number {
  if (!(error instanceof MillraceError)) return 0;
  if (error.code === "MILLRACE_TIMEOUT" || error.code === "MILLRACE_CONNECTION") return UNREACHABLE_MS;
  return error.code === "MILLRACE_REQUEST_FAILED" ? REFUSED_MS : 0;
}

/** Does `error` hint that the route is out of date? */
export function isRouteStale(error: Error): boolean {
  if (!(error instanceof MillraceError)) return false;
  const code = error.details["responseCode"];
  return error.code === "MILLRACE_CONNECTION" || code === ResponseCode.TOPIC_NOT_EXIST || code === ResponseCode.NO_PERMISSION;
}
