/**
 * Millrace: the embeddable API.
 *
 *   startBroker   a broker (and name server) in this process, for official clients; port 0 and a memory store for tests
 *   openEngine    the store alone, without a socket
 *   Producer, Consumer, Admin   clients of the remoting protocol, also for Apache's broker
 */
export { type Clock, SystemClock, type Timer, VirtualClock } from "./base/clock.ts";
export { type ErrorCode, MillraceError } from "./base/errors.ts";
export type { AppendResult } from "./broker/message-store.ts";
export {
  Admin,
  type BrokerExplanation,
  type CreateTopicOptions,
  type ExplainOptions,
  type QueryOptions,
  type QueueProgress,
} from "./client/admin.ts";
export { ConsumedMessage } from "./client/consume/consumed-message.ts";
export { Consumer, type MessageHandler } from "./client/consume/consumer.ts";
export type { ConsumeFrom, ConsumerOptions } from "./client/consume/consumer-options.ts";
export type { OutgoingMessage } from "./client/produce/outgoing-message.ts";
export { Producer } from "./client/produce/producer.ts";
export type { ProducerOptions } from "./client/produce/producer-options.ts";
export type { DecodedMessage } from "./format/record/message.ts";
export type { Finding, FindingState, MessagePlace } from "./format/remoting/explanation.ts";
export { type NameServer, type NameServerOptions, startNameServer } from "./namesrv/server.ts";
export type { Log, LogFields } from "./observe/log.ts";
export { startBroker } from "./runtime/broker.ts";
export type { StartBrokerOptions } from "./runtime/broker-options.ts";
export {
  type AppendCallback,
  type AppendOptions,
  EmbeddedEngine,
  type OpenEngineOptions,
  openEngine,
  type ReadOptions,
} from "./runtime/embedded-engine.ts";
export type { RetentionKeys } from "./runtime/retention-options.ts";
export { RunningBroker } from "./runtime/running-broker.ts";
