// A filter by SQL92 asked about one message of six properties: the walk over them, and the conditions.
import { SqlFilter } from "../../src/filter/sql-filter.ts";
import { encodeProperties } from "../../src/format/record/properties.ts";
import { runBench, type Task } from "./harness.ts";

const properties = Buffer.from(
  encodeProperties(
    new Map([
      ["UNIQ_KEY", "7F00000100002A139A5500000A4F0001"],
      ["TAGS", "created"],
      ["region", "eu-west"],
      ["amount", "120"],
      ["WAIT", "true"],
      ["TRACE_ON", "true"],
    ]),
  ),
);
const EXPRESSIONS = {
  "3 terms, all looked at": "amount > 100 AND region = 'eu-west' AND TAGS IN ('created', 'paid')",
  "3 terms, the first decides": "amount > 500 AND region = 'eu-west' AND TAGS IN ('created', 'paid')",
  "3 terms of floating numbers and text": "amount BETWEEN 99.5 AND 120.5 AND region STARTSWITH 'eu' AND coupon IS NULL",
  "1 term": "region = 'eu-west'",
};

let work = 0;
const tasks: Record<string, Task> = {};
for (const [name, expression] of Object.entries(EXPRESSIONS)) {
  const filter = new SqlFilter(expression);
  tasks[name] = () => {
    work += filter.test(properties, 0, properties.length);
  };
}
await runBench(`SQL filter, ${properties.length} bytes of properties`, tasks, () => work);
