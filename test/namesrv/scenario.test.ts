import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import test from "ava";
import { startNameServer } from "../../src/namesrv/server.ts";
import { Scenario } from "./scenario.ts";

/** What Apache RocketMQ 5.5.0's name server answered to the scenario. */
const RECORDED = path.join(import.meta.dirname, "apache-5.5.0.txt");

test("answers as Apache's name server does", async (t) => {
  const server = await startNameServer({ host: "127.0.0.1", port: 0 });
  t.teardown(() => server.close());
  const lines = await new Scenario(server.address).run();
  const recorded = readFileSync(RECORDED, "utf8").trimEnd().split("\n");
  for (const [index, line] of lines.entries()) {
    if (line !== recorded[index])
      t.is(line, recorded[index] ?? "", `line ${index + 1}, after ${lines[index - 1] ?? "the start"}`);
  }
  t.is(lines.length, recorded.length);
});

// To record again: RECORD_NAMESRV=host:port of a freshly started Apache name server.
const { RECORD_NAMESRV } = process.env;
if (RECORD_NAMESRV !== undefined) {
  test.serial("records", async (t) => {
    const lines = await new Scenario(RECORD_NAMESRV).run();
    writeFileSync(RECORDED, `${lines.join("\n")}\n`);
    t.pass();
  });
}
