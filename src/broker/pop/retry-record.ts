import {
  bornHostShift,
  decodeMessage,
  encodeMessage,
  PHYSICAL_OFFSET_OFFSET,
  QUEUE_OFFSET_OFFSET,
  STORE_TIMESTAMP_OFFSET_V4,
  writeInt64,
} from "../../format/record/message.ts";
import { encodeProperties, PROPERTY } from "../../format/record/properties.ts";
import { handleText, type PopHandle } from "../../format/remoting/pop-info.ts";

/**
 * A record of a retry topic as the consumer is to see it: under the topic that it was first sent to. Since the client
 * then cannot tell whose it is, the handle goes with it. Source: Apache `PopMessageProcessor.popMsgFromQueue`.
 */
export function retryRecord(record: Buffer, topic: string, handle: PopHandle): Buffer {
  const message = decodeMessage(record);
  if (!message.properties.has(PROPERTY.POP_CK)) message.properties.set(PROPERTY.POP_CK, handleText(handle, message.queueOffset));
  const encoded = encodeMessage({ ...message, topic, properties: encodeProperties(message.properties) });
  writeInt64(encoded, message.queueOffset, QUEUE_OFFSET_OFFSET);
  writeInt64(encoded, message.physicalOffset, PHYSICAL_OFFSET_OFFSET);
  writeInt64(encoded, message.storeTimestamp, STORE_TIMESTAMP_OFFSET_V4 + bornHostShift(message.sysFlag));
  return encoded;
}
