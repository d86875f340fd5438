/**
 * Body of the answer to EXPLAIN_MESSAGE, as JSON. Request header: msgId (offsetMsgId or unique key); topic and group, if known.
 */
export interface Explanation {
  /** As it was sent. */
  message: MessagePlace;
  /** All that the log has of it: in its topic, delayed, retried, dead-lettered. */
  copies: MessagePlace[];
  findings: Finding[];
}

export interface MessagePlace {
  offsetMsgId: string;
  uniqueKey: string;
  topic: string;
  queueId: number;
  queueOffset: number;
  physicalOffset: number;
  size: number;
  /** ms since 1970, like every time in here. */
  bornTimestamp: number;
  bornHost: string;
  storeTimestamp: number;
  storeHost: string;
  reconsumeTimes: number;
  keys: string;
  tags: string;
}

/** What is known of the message; with `group`, what holds for that group. Texts are for people, the rest for programs. */
export interface Finding {
  state: FindingState;
  group?: string;
  text: string;
  until?: number;
  clientId?: string;
  /** That the message does not pass. */
  expression?: string;
  retry?: number;
  retryMax?: number;
}

export type FindingState =
  | "stored"
  | "delayed"
  | "recalled"
  | "transaction-undecided"
  | "transaction-rolled-back"
  | "not-in-queue-yet"
  | "below-min-offset"
  | "not-subscribed"
  | "filtered"
  | "waiting"
  | "delivered"
  | "invisible"
  | "reviving"
  | "acked"
  | "retrying"
  | "dead-lettered";
