// Makes src/broker/CODES.md: `node test/broker/codes-table.ts --write`.
import { globSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { VirtualClock } from "../../src/base/clock.ts";
import { REFUSED_CODES } from "../../src/broker/admin/refused-codes.ts";
import { RequestCode } from "../../src/format/remoting/remoting-codes.ts";
import { brokerRequests } from "../../src/namesrv/broker-requests.ts";
import { NameServerConfig } from "../../src/namesrv/config.ts";
import { configRequests } from "../../src/namesrv/config-requests.ts";
import { KeyValueConfig } from "../../src/namesrv/kv-config.ts";
import { routeRequests } from "../../src/namesrv/route-requests.ts";
import { RouteTable } from "../../src/namesrv/routes.ts";
import { silentLog } from "../../src/observe/log.ts";
import { newControlPlane } from "./fake-control-plane.ts";

const ROOT = join(import.meta.dirname, "../..");
export const CODES_FILE: string = join(ROOT, "src/broker/CODES.md");

export interface ServedCodes {
  broker: ReadonlySet<number>;
  nameServer: ReadonlySet<number>;
  /** Sent by us to clients, brokers and name servers. */
  sent: ReadonlySet<number>;
}

export async function servedCodes(): Promise<ServedCodes> {
  return { broker: await brokerCodes(), nameServer: nameServerCodes(), sent: sentCodes() };
}

async function brokerCodes(): Promise<ReadonlySet<number>> {
  const directory = mkdtempSync(join(tmpdir(), "codes-"));
  try {
    const { control } = newControlPlane({ directory });
    const codes = new Set(control.codes);
    await control.close(); // It writes its tables once more.
    return codes;
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

function nameServerCodes(): ReadonlySet<number> {
  const clock = new VirtualClock(0);
  const config = NameServerConfig.load(undefined, {}, silentLog);
  const context = {
    clock,
    log: silentLog,
    config,
    routes: new RouteTable({ clock, log: silentLog, settings: config.settings, onMinBrokerIdChange: () => {} }),
    keyValues: KeyValueConfig.load(undefined, silentLog),
    startedMs: 0,
  };
  return new Set([...brokerRequests(context), ...routeRequests(context), ...configRequests(context)].map(([code]) => code));
}

/** Codes that requests are made of in the sources of broker and name server. */
function sentCodes(): ReadonlySet<number> {
  const codes = new Set<number>();
  for (const file of globSync(["src/broker/**/*.ts", "src/namesrv/**/*.ts"], { cwd: ROOT })) {
    for (const [, name] of readFileSync(join(ROOT, file), "utf8").matchAll(/\brequest(?:Of)?\(\s*RequestCode\.(\w+)/g)) {
      codes.add(RequestCode[name as keyof typeof RequestCode]);
    }
  }
  return codes;
}

export async function codesTable(): Promise<string> {
  const { broker, nameServer, sent } = await servedCodes();
  const rows = Object.entries(RequestCode)
    .sort(([, a], [, b]) => a - b)
    .map(([name, code]) => {
      const by = [broker.has(code) ? "broker" : "", nameServer.has(code) ? "name server" : ""].filter((who) => who !== "");
      const told = [by.length > 0 ? `served by ${by.join(" and ")}` : "", sent.has(code) ? "sent by us" : ""].filter(
        (text) => text !== "",
      );
      return {
        row: `| ${code} | ${name} | ${told.join("; ") || `refused: ${REFUSED_CODES.get(code) ?? "?"}`} |`,
        isKnown: told.length > 0,
      };
    });
  const count = rows.filter(({ isKnown }) => isKnown).length;
  return `# Request codes

RocketMQ 5.5 has ${rows.length} request codes; ${count} of them are served or sent here. The others get code 3, "request type … not
supported", and a line in the log. Made by \`node test/broker/codes-table.ts --write\` from the handlers themselves; a test fails when
the two differ.

| code | name | |
|---|---|---|
${rows.map(({ row }) => row).join("\n")}
`;
}

if (process.argv.includes("--write")) writeFileSync(CODES_FILE, await codesTable());
