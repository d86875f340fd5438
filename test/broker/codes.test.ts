// Goal: src/broker/CODES.md tells of each of RocketMQ's request codes whether it is served, by whom, and if not, why.
// Method: the table is made from the handlers that broker and name server really have, and compared with the file.
//   node test/broker/codes-table.ts --write   writes it anew
import { readFileSync } from "node:fs";
import test from "ava";
import { REFUSED_CODES } from "../../src/broker/admin/refused-codes.ts";
import { RequestCode } from "../../src/format/remoting/remoting-codes.ts";
import { CODES_FILE, codesTable, servedCodes } from "./codes-table.ts";

test("the table is what the handlers are", async (t) => {
  t.is(readFileSync(CODES_FILE, "utf8"), await codesTable(), "node test/broker/codes-table.ts --write");
});

test("each code is served, sent, or refused for a reason", async (t) => {
  const { broker, nameServer, sent } = await servedCodes();
  const known = new Set([...broker, ...nameServer, ...sent, ...REFUSED_CODES.keys()]);
  const nameless = Object.entries(RequestCode).filter(([, code]) => !known.has(code));
  t.deepEqual(nameless, [], "say in refused-codes.ts why");
  t.is(Object.keys(RequestCode).length, 169);
});

test("nothing that is served stands among the refused", async (t) => {
  const { broker, nameServer, sent } = await servedCodes();
  const served = new Set([...broker, ...nameServer, ...sent]);
  t.deepEqual(
    [...REFUSED_CODES.keys()].filter((code) => served.has(code)),
    [],
    "take it out of refused-codes.ts",
  );
});
