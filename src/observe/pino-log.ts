import { pino } from "pino";
import { type Clock, SystemClock } from "../base/clock.ts";
import type { Log, LogFields } from "./log.ts";
import { RepeatLimit } from "./repeat-limit.ts";

export const LOG_LEVELS = ["debug", "info", "warn", "error", "silent"] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];
export const LOG_FORMATS = ["text", "json"] as const;
export type LogFormat = (typeof LOG_FORMATS)[number];

export interface PinoLogOptions {
  /** Default "info". */
  level?: LogLevel;
  /** "json": one object a line; "text": for people. Default "json". */
  format?: LogFormat;
  clock?: Clock;
  /** Takes whole lines, each with its line feed. Default: standard error, synchronously, so that the last words of a crash are there. */
  write?: (line: string) => void;
}

/** A Log with an end: lines that were held back as repeats are told by `close`. */
export interface ClosableLog extends Log {
  close(): void;
}

/** Structured log on standard error; standard output belongs to the answer of a command. Usable in any thread. */
export function createLog(options: PinoLogOptions = {}): ClosableLog {
  const clock = options.clock ?? new SystemClock();
  const writeLine = options.write ?? standardError();
  const sink = options.format === "text" ? (line: string) => writeLine(textOf(line)) : writeLine;
  const logger = pino(
    {
      level: options.level ?? "info",
      base: null,
      messageKey: "text",
      timestamp: () => `,"time":"${new Date(clock.now()).toISOString()}"`,
      formatters: { level: (label) => ({ level: label }) },
      serializers: { error: pino.stdSerializers.err },
    },
    { write: sink },
  );
  const limit = new RepeatLimit(clock);
  const emit = (level: "debug" | "info" | "warn" | "error", fields: LogFields, text: string) => {
    if (!logger.isLevelEnabled(level)) return;
    const heldBack = limit.pass(text);
    if (heldBack < 0) return;
    logger[level](heldBack === 0 ? fields : { ...fields, repeatsHeldBack: heldBack }, text);
  };
  return {
    debug: (fields, text) => emit("debug", fields, text),
    info: (fields, text) => emit("info", fields, text),
    warn: (fields, text) => emit("warn", fields, text),
    error: (fields, text) => emit("error", fields, text),
    close() {
      for (const [text, count] of limit.takeHeldBack()) logger.info({ repeatsHeldBack: count }, text);
    },
  };
}

function standardError(): (line: string) => void {
  const destination = pino.destination({ fd: 2, sync: true });
  // Whoever read our standard error may be gone (a closed pipe): no reason for a broker to end.
  destination.on("error", () => {});
  return (line) => void destination.write(line);
}

/** `2026-11-21T05:08:27.123Z WARN  text  key=value key="two words"`, then the stack or text of an error. */
function textOf(line: string): string {
  const { level, time, text, error, ...fields } = JSON.parse(line) as Record<string, unknown> &
    Record<"level" | "time" | "text", string>;
  let out = `${time} ${level.toUpperCase().padEnd(5)} ${text}`;
  for (const [key, value] of Object.entries(fields)) out += ` ${key}=${shown(value)}`;
  if (error === undefined) return `${out}\n`;
  const { stack } = Object(error) as { stack?: unknown };
  const below = typeof error === "string" ? error : typeof stack === "string" ? stack : shown(error);
  return `${out}\n  ${below.replaceAll("\n", "\n  ")}\n`;
}

function shown(value: unknown): string {
  if (typeof value === "string" && /^[^\s"=]+$/.test(value)) return value;
  return JSON.stringify(value);
}
