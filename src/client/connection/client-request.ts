import { MillraceError } from "../../base/errors.ts";
import { type HeaderValues, type RemotingCommand, request } from "../../format/remoting/remoting-command.ts";

/** A request as this client sends it; its opaque is filled in by the connection. */
export function clientRequest(code: number, header?: HeaderValues, body?: Buffer): RemotingCommand {
  const command = request(code, 0, header, body);
  command.language = "NODE_JS";
  return command;
}

/** A request that was answered with a code other than those expected. `details.responseCode` tells which. */
export function requestFailed(who: string, answer: RemotingCommand): MillraceError {
  return new MillraceError("MILLRACE_REQUEST_FAILED", `${who} answered ${answer.code}: ${answer.remark ?? "no remark"}`, {
    responseCode: answer.code,
    remark: answer.remark ?? "",
  });
}
