import type { ControlPlane } from "../broker/control-plane.ts";
import type { BrokerRegistration } from "../broker/topics/registration.ts";
import type { NameServers } from "../client/connection/name-servers.ts";
import type { RemotingClient } from "../client/connection/remoting-client.ts";
import type { ConfigValues } from "../config/keys.ts";
import type { NameServer } from "../namesrv/server.ts";
import { removeTree } from "../os/files.ts";
import type { StoreCompaction } from "./compaction-files.ts";
import type { Engine } from "./engine.ts";
import type { EngineStore } from "./engine-store.ts";
import type { HealthServer } from "./health-server.ts";
import type { IdleMemory } from "./idle-memory.ts";
import type { IoPool } from "./io-pool.ts";
import type { Retention } from "./retention.ts";
import type { TimerThread } from "./timer-thread.ts";
import type { VirtualTime } from "./virtual-time.ts";

/** A running broker (and name server) of this process. Close it, or leave it to `await using`. */
export class RunningBroker implements AsyncDisposable {
  /** `host:port` of the broker, as clients reach it. */
  readonly brokerAddress: string;
  /** `host:port` of the embedded name server; else the first of those that it registered with. */
  readonly namesrvAddress: string;
  readonly config: Readonly<ConfigValues>;
  readonly #parts: BrokerParts;
  #closing: Promise<void> | undefined;

  constructor(parts: BrokerParts, brokerAddress: string, namesrvAddress: string) {
    this.#parts = parts;
    this.brokerAddress = brokerAddress;
    this.namesrvAddress = namesrvAddress;
    this.config = parts.values;
  }

  /** Which drive the store runs on: "ffi" or "native-free". */
  get drive(): string {
    return this.#parts.engine.drive.name;
  }

  /** Why the broker cannot take messages any more; empty: it can. */
  faults(): string[] {
    return this.#parts.engine.faults();
  }

  /** `host:port` of the health listener; undefined: there is none. */
  get httpAddress(): string | undefined {
    return this.#parts.health?.address;
  }

  /**
   * Moves a virtual clock by ms, or by a text such as "30d" or "1h30m". All that is due meanwhile is done at its instant, in
   * order; on return it is stored, and consumers can get it. @throws MillraceError MILLRACE_CONFIG_INVALID on a system clock
   */
  async advance(by: number | string): Promise<void> {
    await this.#parts.time.advance(by);
  }

  /** Unregisters, answers what is under way, brings everything to the disk and ends all threads. */
  close(): Promise<void> {
    this.#closing ??= closeParts(this.#parts);
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/** What a broker is put together from. */
export interface BrokerParts {
  values: ConfigValues;
  time: VirtualTime;
  engine: Engine;
  store: EngineStore;
  control: ControlPlane;
  compactionFiles: StoreCompaction;
  retention: Retention;
  timer: TimerThread | undefined;
  pool: IoPool;
  nameServer: NameServer | undefined;
  health: HealthServer | undefined;
  idleMemory: IdleMemory | undefined;
  registration: BrokerRegistration;
  routes: NameServers;
  outbound: RemotingClient;
  memoryDirectory: string | undefined;
}

/** In the order in which what is under way still comes to its end. */
export async function closeParts(parts: BrokerParts): Promise<void> {
  parts.idleMemory?.stop();
  await parts.health?.close();
  parts.routes.stop();
  await parts.registration.stop();
  await parts.pool.stop();
  await parts.control.close();
  await parts.compactionFiles.close();
  await parts.retention.close();
  await parts.timer?.close();
  await parts.store.close();
  await parts.engine.close();
  await parts.outbound.close();
  await parts.nameServer?.close();
  if (parts.memoryDirectory !== undefined) removeTree(parts.memoryDirectory);
}
