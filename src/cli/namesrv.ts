import { MillraceError } from "../base/errors.ts";
import type { NameServerSettings } from "../namesrv/config.ts";
import { startNameServer } from "../namesrv/server.ts";
import { createLog, type LogFormat, type LogLevel } from "../observe/pino-log.ts";
import { keyAndValue } from "./broker-config.ts";
import { closeAtSignal } from "./until-signal.ts";

export interface NamesrvFlags {
  /** Also where settings that an administrator changes are kept. */
  config?: string;
  host?: string;
  port?: string;
  store?: string;
  set?: string[];
  logLevel: LogLevel;
  logFormat: LogFormat;
}

/** `millrace namesrv`: a name server alone, until a signal. Prints `ready namesrv=HOST:PORT pid=PID` once it answers. */
export async function namesrv(flags: NamesrvFlags): Promise<void> {
  const log = createLog({ level: flags.logLevel, format: flags.logFormat });
  // The name server checks its settings by the form of its defaults; texts are as good as numbers.
  const settings = Object.fromEntries((flags.set ?? []).map(keyAndValue)) as Partial<NameServerSettings>;
  // Whoever reaches the port may register and administer: others than this machine only where somebody says so.
  const host = flags.host ?? (flags.config === undefined ? "127.0.0.1" : undefined);
  const server = await startNameServer({
    ...(host !== undefined && { host }),
    ...(flags.port !== undefined && { port: portOf(flags.port) }),
    ...(flags.store !== undefined && { storePath: flags.store }),
    ...(flags.config !== undefined && { configStorePath: flags.config }),
    settings,
    log,
  });
  closeAtSignal(async () => {
    await server.close();
    log.close();
  });
  process.stdout.write(`ready namesrv=${server.address} pid=${process.pid}\n`);
}

function portOf(text: string): number {
  const port = Number(text);
  if (/^\d{1,5}$/.test(text) && port <= 65_535) return port;
  throw new MillraceError("MILLRACE_CONFIG_INVALID", `--port ${text} is not valid; allowed: 0 to 65535`, { value: text });
}
