import { MillraceError } from "../../base/errors.ts";
import { offsetMessageId } from "../../format/record/message-id.ts";
import { ResponseCode } from "../../format/remoting/remoting-codes.ts";
import { type HeaderValues, type RemotingCommand, response } from "../../format/remoting/remoting-command.ts";
import type { AppendResult } from "../message-store.ts";

/** Why a message is not stored. */
export interface SendRefusal {
  /** Of ResponseCode. */
  code: number;
  remark: string;
}

export interface SendResponseSettings {
  regionId: string;
  traceOn: boolean;
  /** `ip:port` of the broker as clients know it; asked for late, since the port may be found at start. */
  storeHost: () => string;
}

/** Answers to sends; all of them, the errors too, say whether to trace. Source: Apache `SendMessageResponseHeader`. */
export class SendResponses {
  readonly #o: SendResponseSettings;

  constructor(settings: SendResponseSettings) {
    this.#o = settings;
  }

  #with(header: HeaderValues): HeaderValues {
    return { ...header, MSG_REGION: this.#o.regionId, TRACE_ON: this.#o.traceOn };
  }

  refused(command: RemotingCommand, { code, remark }: SendRefusal): RemotingCommand {
    return response(command, code, remark, this.#with({}));
  }

  /** @param results of a batch's messages in order, or one */
  stored(
    command: RemotingCommand,
    results: readonly AppendResult[],
    queueId: number,
    uniqueKey: string | undefined,
    recallHandle?: string,
  ): RemotingCommand {
    const host = this.#o.storeHost();
    const msgId = results.map(({ physicalOffset }) => offsetMessageId(host, physicalOffset)).join(",");
    const header = this.#with({ msgId, queueId, queueOffset: results[0]?.queueOffset, transactionId: uniqueKey, recallHandle });
    return response(command, ResponseCode.SUCCESS, undefined, header);
  }

  /** @param outcome what became of the reply; @param kept where it is stored, if it is */
  replied(
    command: RemotingCommand,
    outcome: { code: number; remark?: string | undefined },
    queueId: number,
    kept: AppendResult | undefined,
  ): RemotingCommand {
    const { code, remark } = outcome;
    let header: HeaderValues = {};
    if (kept !== undefined) {
      const msgId = offsetMessageId(this.#o.storeHost(), kept.physicalOffset);
      header = { msgId, queueId, queueOffset: kept.queueOffset };
    } else if (code === ResponseCode.SUCCESS) {
      // Clients read them, whether there is anything to read or not.
      header = { msgId: "0", queueId, queueOffset: 0 };
    }
    return response(command, code, remark, this.#with(header));
  }

  /** The store did not take the message. Source: Apache `SendMessageProcessor.handlePutMessageResult`. */
  failed(command: RemotingCommand, error: unknown): RemotingCommand {
    return this.refused(command, storeRefusal(error));
  }
}

/** The disk has no room for a file. Source: Apache `PutMessageStatus.CREATE_MAPPED_FILE_FAILED`. */
export const DISK_FULL_REMARK = "create mapped file failed, server is busy or broken. The broker's disk is full";

/** A watermark forbids writes; with the used shares of the disks. Source: Apache `PutMessageStatus.SERVICE_NOT_AVAILABLE`. */
export function watermarkRemark(logDiskRatio: number, storeDiskRatio: number): string {
  const [log, store] = [logDiskRatio, storeDiskRatio].map((ratio) => ratio.toFixed(2).padStart(5));
  const figures = `[CL: ${log} CQ: ${store} INDEX: ${store}]`;
  return (
    "service not available now. It may be caused by one of the following reasons: " +
    `the broker's disk is full ${figures}, messages are put to the slave, message store has been shut down, etc.`
  );
}

export function storeRefusal(error: unknown): SendRefusal {
  const text = error instanceof Error ? error.message : String(error);
  switch (error instanceof MillraceError ? error.code : undefined) {
    case "MILLRACE_STORE_FULL":
      return { code: ResponseCode.SYSTEM_ERROR, remark: DISK_FULL_REMARK };
    case "MILLRACE_DISK_WATERMARK":
      return { code: ResponseCode.SERVICE_NOT_AVAILABLE, remark: text };
    case "MILLRACE_STORE_IO":
    case "MILLRACE_STORE_UNWRITABLE":
    case "MILLRACE_STORE_CLOSED":
    case "MILLRACE_CLOSED":
      return { code: ResponseCode.SERVICE_NOT_AVAILABLE, remark: `service not available now. ${text}` };
    case "MILLRACE_BUSY":
      return { code: ResponseCode.SYSTEM_BUSY, remark: text };
    case "MILLRACE_TIMEOUT":
      return { code: ResponseCode.FLUSH_DISK_TIMEOUT, remark: text };
    case "MILLRACE_MESSAGE_ILLEGAL":
      return { code: ResponseCode.MESSAGE_ILLEGAL, remark: text };
    default:
      return { code: ResponseCode.SYSTEM_ERROR, remark: text };
  }
}
