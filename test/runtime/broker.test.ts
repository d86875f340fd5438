// Goal: a broker that cannot start leaves nothing behind.
import { existsSync, readdirSync } from "node:fs";
import { tmpdir } from "node:os";
import test from "ava";
import { startBroker } from "../../src/runtime/broker.ts";

test("a store in memory ends with a start that fails", async (t) => {
  const root = existsSync("/dev/shm") ? "/dev/shm" : tmpdir();
  const ours = (): string[] => readdirSync(root).filter((name) => name.startsWith(`millrace-${process.pid}-`));
  await t.throwsAsync(startBroker({ port: 0, config: { flushDiskTipe: "SYNC_FLUSH" } }), { code: "MILLRACE_CONFIG_INVALID" });
  t.deepEqual(ours(), []);
  const broker = await startBroker({ port: 0 });
  t.is(ours().length, 1);
  const port = Number(broker.brokerAddress.split(":")[1]);
  await t.throwsAsync(startBroker({ port, namesrvPort: null }), { code: "MILLRACE_ADDRESS_IN_USE" });
  t.is(ours().length, 1);
  // The last step but one: all that runs by then is closed, and the error is the one that counts.
  await t.throwsAsync(startBroker({ port: 0, config: { httpPort: port } }), { code: "MILLRACE_ADDRESS_IN_USE" });
  t.is(ours().length, 1);
  await broker.close();
  t.deepEqual(ours(), []);
});
