/** Values that stand beside a log line's text. Never a body or a secret. */
export type LogFields = Readonly<Record<string, unknown>>;

/** Structured log, in pino's order: `log.info({ topic }, "topic created")`. */
export interface Log {
  debug(fields: LogFields, text: string): void;
  info(fields: LogFields, text: string): void;
  warn(fields: LogFields, text: string): void;
  error(fields: LogFields, text: string): void;
}

/** Drops everything; for tests and for embedders that want silence. */
export const silentLog: Log = { debug() {}, info() {}, warn() {}, error() {} };
