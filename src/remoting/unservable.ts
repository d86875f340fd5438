import type { HeaderScan } from "../format/remoting/header-scan.ts";
import { RequestCode, ResponseCode } from "../format/remoting/remoting-codes.ts";
import { decodeCommand, encodeCommand, isOneway, isResponse, response } from "../format/remoting/remoting-command.ts";
import { FRAME_DONE, FRAME_REFUSED, type IoConnection } from "./io-connection.ts";
import type { SendAnswers } from "./send/send-answers.ts";

/**
 * The control thread found nothing wrong, and yet the request cannot be served: a send's record would be illegal.
 * @param frame the whole request; `scan` is its header
 * @returns FRAME_DONE, or FRAME_REFUSED: it cannot even be decoded
 */
export function answerUnservable(
  connection: IoConnection,
  frame: Buffer,
  answers: SendAnswers,
  scan: HeaderScan,
  maxMessageSize: number,
): number {
  try {
    const command = decodeCommand(frame);
    if (isOneway(command) || isResponse(command)) return FRAME_DONE;
    if (command.code === RequestCode.PULL_MESSAGE || command.code === RequestCode.LITE_PULL_MESSAGE) {
      connection.write(
        encodeCommand(response(command, ResponseCode.SYSTEM_ERROR, "the pull changed its meaning meanwhile: try again")),
      );
      return FRAME_DONE;
    }
    const limits = `msg body length limit ${maxMessageSize}B, msg properties length limit 32KB.`;
    const remark = `the message is illegal, maybe msg body or properties length not matched. ${limits}`;
    answers.error(connection, scan, ResponseCode.MESSAGE_ILLEGAL, remark);
    return FRAME_DONE;
  } catch {
    return FRAME_REFUSED;
  }
}
