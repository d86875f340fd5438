// A broker in a process of its own, on a drive module; prints the line of `millrace up`.
//   slow-broker.ts STORE DRIVE-MODULE [KEY=VALUE …]
import { startBroker } from "../../src/index.ts";
import type { DriveId } from "../../src/os/choose.ts";

const [store, driveModule, ...sets] = process.argv.slice(2);
const config = Object.fromEntries(sets.map((set) => set.split("=") as [string, string]));
const broker = await startBroker({ store: store!, port: 0, namesrvPort: null, driveModule: driveModule as DriveId, config });
process.stdout.write(`ready namesrv=none broker=${broker.brokerAddress} pid=${process.pid}\n`);
