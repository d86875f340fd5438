import { subMessagesOf } from "../remoting/send-request.ts";
import { type DecodedMessage, SYS_FLAG_COMPRESSED, SYS_FLAG_INNER_BATCH, SYS_FLAG_NEED_UNWRAP } from "./message.ts";
import { decodeProperties, PROPERTY } from "./properties.ts";

export type Single = Pick<DecodedMessage, "flag" | "sysFlag" | "body" | "properties">;

/**
 * What a record's message is stored as anew, in a queue that keeps single messages: itself, or those of the batch that it is. One
 * that is compressed as a whole stays one message, whose body is the batch.
 */
export function singlesOf({ flag, sysFlag, body, properties }: DecodedMessage): Single[] {
  if ((sysFlag & SYS_FLAG_INNER_BATCH) === 0) return [{ flag, sysFlag, body, properties: new Map(properties) }];
  const plainFlag = sysFlag & ~(SYS_FLAG_INNER_BATCH | SYS_FLAG_NEED_UNWRAP);
  const batch = (sysFlag & SYS_FLAG_COMPRESSED) === 0 ? subMessagesOf(body) : undefined;
  if (batch !== undefined) {
    return batch.map((single) => ({ ...single, sysFlag: plainFlag, properties: decodeProperties(single.properties) }));
  }
  const own = new Map(properties);
  for (const name of [PROPERTY.INNER_NUM, PROPERTY.INNER_BASE]) own.delete(name);
  return [{ flag, sysFlag: plainFlag, body, properties: own }];
}
