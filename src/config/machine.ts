import { availableParallelism, homedir, hostname, networkInterfaces } from "node:os";
import { join } from "node:path";
import type { ConfigValues } from "./keys.ts";

/** What the values of some keys are found from where nobody set them. */
export interface Machine {
  hostName: string;
  homeDirectory: string;
  /** IPv4 addresses that other machines may know, the likeliest first. */
  addresses: readonly string[];
  /** Processors that this process may use. */
  processors: number;
}

/** One network thread keeps the log writer busy on few processors; beyond this many the writer is the limit. */
const IO_WORKERS_MAX = 8;

export function thisMachine(): Machine {
  const interfaces = Object.values(networkInterfaces()).flatMap((list) => list ?? []);
  const addresses = interfaces.filter(({ family, internal }) => family === "IPv4" && !internal).map(({ address }) => address);
  return { hostName: hostname(), homeDirectory: homedir(), addresses, processors: availableParallelism() };
}

/** Fills in what is found at start: the broker's name and addresses, where its files are, how many threads it has. */
export function fillIn(values: ConfigValues, machine: Machine): void {
  // A broker's name is also the name of a topic of its own.
  values.brokerName ||= machine.hostName.replaceAll(/[^\w.-]/g, "-").slice(0, 100) || "DEFAULT_BROKER";
  // Whoever reaches the port may send, read and administer, so nobody but this machine does unless asked for.
  values.bindAddress ||= values.brokerIP1 === "" || LOOPBACK.test(values.brokerIP1) ? "127.0.0.1" : "0.0.0.0";
  values.brokerIP1 ||= addressOf(values.bindAddress, machine);
  values.brokerIP2 ||= values.brokerIP1;
  values.storePathRootDir ||= join(machine.homeDirectory, "store");
  values.storePathCommitLog ||= join(values.storePathRootDir, "commitlog");
  values.ioWorkers ||= Math.max(1, Math.min(IO_WORKERS_MAX, Math.floor(machine.processors / 2)));
}

/** Address under which a broker that listens on `bindAddress` is found. */
function addressOf(bindAddress: string, machine: Machine): string {
  if (bindAddress === "localhost") return "127.0.0.1";
  const isSpecific = IP_ADDRESS.test(bindAddress) && bindAddress !== "0.0.0.0" && bindAddress !== "::";
  return isSpecific ? bindAddress : (machine.addresses[0] ?? "127.0.0.1");
}

const LOOPBACK = /^(127\.|::1$)/;

/** Rough form; whether it can be bound, the operating system tells. */
const IP_ADDRESS = /^(\d{1,3}(\.\d{1,3}){3}|[\da-fA-F:.]*:[\da-fA-F:.]*)$/;
