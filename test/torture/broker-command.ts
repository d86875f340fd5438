import type { DriveName } from "../../src/os/api.ts";
import { Command } from "../cli/command.ts";

/** Starts a broker that can be killed. @param settings `key=value` */
export function brokerCommand(store: string, drive: DriveName, settings: readonly string[] = []): Command {
  const sets = settings.flatMap((text) => ["--set", text]);
  const driveArgs = drive === "native-free" ? ["--native-free"] : [];
  return new Command(["up", "--host", "127.0.0.1", "--port", "0", "--no-namesrv", "--store", store, ...driveArgs, ...sets]);
}

/** @returns its address, once it serves */
export async function ready(command: Command): Promise<string> {
  const [, address] = await command.line(/^ready namesrv=\S+ broker=(\S+) pid=\d+$/m);
  return address!;
}
