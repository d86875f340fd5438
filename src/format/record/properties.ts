/**
 * The properties text of a message: `name 0x01 value 0x02` repeated, UTF-8.
 * Writers end with 0x02; 4.9 clients leave the last one out, so readers take both.
 * Source: Apache `MessageDecoder.messageProperties2String`, `string2messageProperties`.
 */
export const NAME_END = 0x01;
export const VALUE_END = 0x02;
/** Largest properties text, bytes: its length field is a signed short. */
export const PROPERTIES_SIZE_MAX = 32_767;

export const PROPERTY = {
  KEYS: "KEYS",
  TAGS: "TAGS",
  WAIT: "WAIT",
  DELAY: "DELAY",
  RETRY_TOPIC: "RETRY_TOPIC",
  REAL_TOPIC: "REAL_TOPIC",
  REAL_QUEUE_ID: "REAL_QID",
  TRANSACTION_PREPARED: "TRAN_MSG",
  PRODUCER_GROUP: "PGROUP",
  ORIGIN_MESSAGE_ID: "ORIGIN_MESSAGE_ID",
  ORIGIN_GROUP: "ORIGIN_GROUP",
  MSG_REGION: "MSG_REGION",
  TRACE_ON: "TRACE_ON",
  UNIQ_KEY: "UNIQ_KEY",
  MAX_RECONSUME_TIMES: "MAX_RECONSUME_TIMES",
  RECONSUME_TIME: "RECONSUME_TIME",
  TRANSACTION_ID: "__transactionId__",
  TRANSACTION_CHECK_TIMES: "TRANSACTION_CHECK_TIMES",
  TRANSACTION_PREPARED_OFFSET: "TRAN_PREPARED_QUEUE_OFFSET",
  CHECK_IMMUNITY_TIME: "CHECK_IMMUNITY_TIME_IN_SECONDS",
  CLUSTER: "CLUSTER",
  POP_CK: "POP_CK",
  INNER_NUM: "INNER_NUM",
  INNER_BASE: "INNER_BASE",
  MULTI_DISPATCH: "INNER_MULTI_DISPATCH",
  MULTI_QUEUE_OFFSET: "INNER_MULTI_QUEUE_OFFSET",
  LITE_TOPIC: "__LITE_TOPIC",
  CORRELATION_ID: "CORRELATION_ID",
  REPLY_TO_CLIENT: "REPLY_TO_CLIENT",
  TTL: "TTL",
  PUSH_REPLY_TIME: "PUSH_REPLY_TIME",
  MSG_TYPE: "MSG_TYPE",
  TIMER_DELAY_SEC: "TIMER_DELAY_SEC",
  TIMER_DELAY_MS: "TIMER_DELAY_MS",
  TIMER_DELIVER_MS: "TIMER_DELIVER_MS",
  DLQ_ORIGIN_TOPIC: "DLQ_ORIGIN_TOPIC",
  DLQ_ORIGIN_MESSAGE_ID: "DLQ_ORIGIN_MESSAGE_ID",
} as const;

/** Parses the text. A segment without a name or a value is dropped; of equal names the last counts. */
export function decodeProperties(text: string): Map<string, string> {
  const properties = new Map<string, string>();
  for (const segment of text.split("\u0002")) {
    const nameEnd = segment.indexOf("\u0001");
    if (segment.length < 3 || nameEnd <= 0 || nameEnd === segment.length - 1) continue;
    properties.set(segment.slice(0, nameEnd), segment.slice(nameEnd + 1));
  }
  return properties;
}

export function encodeProperties(properties: ReadonlyMap<string, string>): string {
  let text = "";
  for (const [name, value] of properties) text += `${name}\u0001${value}\u0002`;
  return text;
}
