import { type Clock, SystemClock, VirtualClock } from "../base/clock.ts";
import { type ResolvedConfig, resolveConfig } from "../config/resolve.ts";
import type { Log } from "../observe/log.ts";
import type { DriveId } from "../os/choose.ts";
import { memoryDefaults } from "./memory-store.ts";

export interface StartBrokerOptions {
  /** Address to listen on. Default 127.0.0.1. */
  host?: string;
  /** Default 10911; 0: any free port. */
  port?: number;
  /** Port of a name server in this process; 0: any free port; null: none. Default: 9876, or 0 when `port` is 0. */
  namesrvPort?: number | null;
  /** Further name servers to register with, `host:port`. */
  namesrvAddrs?: readonly string[];
  /** Directory of the store, or "memory": one that lives and ends with the broker. Default "memory". */
  store?: string;
  /** Run without foreign calls. Default: only where they do not work. */
  nativeFree?: boolean;
  /** URL (`file:`) of a module whose export `drive` (src/os/api.ts) is used in place of ours, in every thread of the store. */
  driveModule?: DriveId;
  /** Values of RocketMQ's configuration keys, as texts or resolved. */
  config?: ResolvedConfig | Readonly<Record<string, string | number | boolean>>;
  /** "virtual": time stands still until `advance`. */
  clock?: Clock | "system" | "virtual";
  log?: Log;
  /** The process is the broker's alone: when nothing happens, memory of it that is not needed goes back to the system. Default false. */
  ownsProcess?: boolean;
  /** The broker cannot go on: a store thread died or the disk failed. Default: the process ends with code 1. */
  onFailure?: (error: Error) => void;
}

export function clockOf(clock: StartBrokerOptions["clock"]): Clock {
  if (clock === "virtual") return new VirtualClock();
  return clock === undefined || clock === "system" ? new SystemClock() : clock;
}

/**
 * What the options come to.
 * @param memoryDirectory where a store in memory is; undefined: on a disk
 * @throws MillraceError MILLRACE_CONFIG_INVALID
 */
export function configOf(options: StartBrokerOptions, memoryDirectory: string | undefined): ResolvedConfig {
  if (options.config !== undefined && "values" in options.config && "origins" in options.config)
    return options.config as ResolvedConfig;
  const given = (options.config ?? {}) as Record<string, string | number | boolean>;
  const direct: [string, string][] = [["bindAddress", options.host ?? "127.0.0.1"]];
  if (options.port !== undefined) direct.push(["listenPort", String(options.port)]);
  if (options.nativeFree !== undefined) direct.push(["nativeFree", String(options.nativeFree)]);
  if (options.namesrvAddrs !== undefined) direct.push(["namesrvAddr", options.namesrvAddrs.join(";")]);
  if (memoryDirectory !== undefined) direct.push(["storePathRootDir", memoryDirectory]);
  else direct.push(["storePathRootDir", options.store!]);
  const defaults: [string, string][] = memoryDirectory === undefined ? [] : memoryDefaults(memoryDirectory);
  return resolveConfig([
    { origin: "memory store", values: defaults },
    { origin: "config", values: Object.entries(given).map(([name, value]) => [name, String(value)] as const) },
    { origin: "option", values: direct },
  ]);
}
