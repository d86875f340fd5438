import v8 from "node:v8";
import { saveCompileCache } from "../base/compile-cache.ts";
import { showConfig } from "../config/show.ts";
import { createLog, type LogFormat } from "../observe/pino-log.ts";
import { type ConfigFlags, configFromFlags } from "./broker-config.ts";
import { profileAllThreads } from "./cpu-profile.ts";
import { closeAtSignal } from "./until-signal.ts";

export interface UpFlags extends ConfigFlags {
  /** false: no name server in this process. */
  ownNamesrv?: boolean;
  printConfig?: boolean;
  /** Directory for a profile of each thread. */
  cpuProf?: string;
  logFormat: LogFormat;
}

/** A store that lives as long as the broker. */
const MEMORY = "memory";

/**
 * `millrace up` and `millrace broker`: runs until a signal. Standard output gets one line, once both really
 * answer: `ready namesrv=HOST:PORT broker=HOST:PORT pid=PID`, and ` http=HOST:PORT` where `httpPort` asks for it.
 */
export async function up(flags: UpFlags): Promise<void> {
  const { store, ...otherFlags } = flags;
  const isMemory = store === MEMORY;
  const config = configFromFlags(isMemory ? otherFlags : flags, process.env);
  if (flags.printConfig === true) {
    process.stdout.write(`${showConfig(config)}\n`);
    return;
  }
  if (flags.cpuProf !== undefined) profileAllThreads(flags.cpuProf);
  const { values } = config;
  // V8 would map its own code once more for each thread, near what it compiles: 2 MB a thread, for nothing that can be measured here.
  v8.setFlagsFromString("--no-short-builtin-calls");
  const { startBroker } = await import("../runtime/broker.ts");
  const log = createLog({ level: values.logLevel, format: flags.logFormat });
  const broker = await startBroker({
    host: values.bindAddress,
    port: values.listenPort,
    namesrvPort: flags.ownNamesrv === false ? null : values.namesrvPort,
    store: isMemory ? MEMORY : values.storePathRootDir,
    nativeFree: values.nativeFree,
    // A store in memory brings its own paths and file sizes; only what was really set goes before them.
    config: isMemory ? Object.fromEntries(givenValues(config)) : config,
    log,
    ownsProcess: true,
  });
  closeAtSignal(async () => {
    await broker.close();
    log.close();
  });
  const namesrv = broker.namesrvAddress === "" ? "none" : broker.namesrvAddress;
  const http = broker.httpAddress === undefined ? "" : ` http=${broker.httpAddress}`;
  process.stdout.write(`ready namesrv=${namesrv} broker=${broker.brokerAddress} pid=${process.pid}${http}\n`);
  saveCompileCache();
}

function givenValues({ values, origins }: ReturnType<typeof configFromFlags>): [string, string | number | boolean][] {
  const entries = Object.entries(values) as [keyof typeof values, string | number | boolean][];
  return entries.filter(([name]) => origins.get(name) !== "default");
}
