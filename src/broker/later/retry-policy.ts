import { memberOf } from "../../format/text/fastjson.ts";

/** Past this many tries an exponential policy grows no more. Source: Apache `ExponentialRetryPolicy`. */
const EXPONENT_MAX = 32;
/** A list of delays begins with those for levels 1 and 2, which no retry waits. Source: Apache `CustomizedRetryPolicy`. */
const FIRST_INDEX = 2;
const DELAY_MS_MAX = 2 ** 45;

/**
 * How long a message waits after its `reconsumeTimes`-th failure, ms, by the group's own policy; undefined: it has none, and the
 * delay levels count. Apache's broker leaves such policies to its proxy; here they hold for all consumers.
 * Source: Apache `GroupRetryPolicy`.
 */
export function retryDelayMs(policy: unknown, reconsumeTimes: number): number | undefined {
  const times = Math.max(0, reconsumeTimes);
  if (memberOf(policy, "type") === "EXPONENTIAL") {
    const own = memberOf(policy, "exponentialRetryPolicy");
    if (own === undefined || own === null) return undefined;
    const initial = numberOf(memberOf(own, "initial"), 5000);
    const max = numberOf(memberOf(own, "max"), 7_200_000);
    const multiplier = numberOf(memberOf(own, "multiplier"), 2);
    return Math.min(max, initial * multiplier ** Math.min(EXPONENT_MAX, times));
  }
  const next = memberOf(memberOf(policy, "customizedRetryPolicy"), "next");
  if (!Array.isArray(next) || next.length === 0) return undefined;
  return numberOf(next[Math.min(next.length - 1, times + FIRST_INDEX)], 0);
}

function numberOf(value: unknown, standard: number): number {
  return typeof value === "number" && value >= 0 && value <= DELAY_MS_MAX ? value : standard;
}
