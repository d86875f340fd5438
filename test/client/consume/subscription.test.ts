import test from "ava";
import { Subscription } from "../../../src/client/consume/subscription.ts";

test("tags: all, one, several; as Apache's SubscriptionData", (t) => {
  const all = new Subscription("T", "*", 5);
  t.false(all.needsTagCheck);
  t.true(all.matches(undefined));
  t.is(new Subscription("T", " ", 5).expression, "*");
  const some = new Subscription("T", " A || B||", 5);
  t.true(some.needsTagCheck);
  t.deepEqual(
    [undefined, "A", "B", "A || B", "C"].map((tags) => some.matches(tags)),
    [false, true, true, false, false],
  );
  t.deepEqual(JSON.parse(JSON.stringify(some)), {
    classFilterMode: false,
    codeSet: [65, 66],
    expressionType: "TAG",
    subString: "A || B||",
    subVersion: 5,
    tagsSet: ["A", "B"],
    topic: "T",
  });
});

test("an SQL expression is left to the broker", (t) => {
  const sql = new Subscription("T", { sql: "a > 5" }, 1);
  t.is(sql.expressionType, "SQL92");
  t.is(sql.expression, "a > 5");
  t.true(sql.matches(undefined));
});
