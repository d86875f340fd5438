/** One figure that is watched: the smaller, the better. */
export interface Figure {
  name: string;
  unit: string;
  /** One value a run. */
  values: readonly number[];
}

export interface Verdict {
  name: string;
  unit: string;
  baseline: number;
  now: number;
  /** now / baseline. */
  ratio: number;
  /** How far apart runs of one and the same code lie, as a share of the median: of the two sides, the larger. */
  noise: number;
  kind: "same" | "better" | "worse" | "new" | "gone";
}

/** Smaller changes are never worth a word. */
const CHANGE_MIN = 0.05;

/**
 * Compares the best run of each side: disturbances only ever add to a cost, so that the least value is the steadiest. What
 * counts as a change is one larger than the noise: the distance from the least to the middle value of either side.
 */
export function compare(baseline: readonly Figure[], now: readonly Figure[]): Verdict[] {
  const before = new Map(baseline.map((figure) => [figure.name, figure]));
  const verdicts: Verdict[] = now.map(({ name, unit, values }) => {
    const known = before.get(name);
    before.delete(name);
    const own = leastAndNoise(values);
    if (known === undefined)
      return { name, unit, baseline: Number.NaN, now: own.least, ratio: Number.NaN, noise: own.noise, kind: "new" };
    const old = leastAndNoise(known.values);
    const ratio = own.least / old.least;
    const noise = Math.max(own.noise, old.noise);
    const limit = Math.max(CHANGE_MIN, noise);
    const kind = ratio > 1 + limit ? "worse" : ratio < 1 / (1 + limit) ? "better" : "same";
    return { name, unit, baseline: old.least, now: own.least, ratio, noise, kind };
  });
  for (const { name, unit, values } of before.values()) {
    const { least, noise } = leastAndNoise(values);
    verdicts.push({ name, unit, baseline: least, now: Number.NaN, ratio: Number.NaN, noise, kind: "gone" });
  }
  return verdicts;
}

function leastAndNoise(values: readonly number[]): { least: number; noise: number } {
  const sorted = values.toSorted((a, b) => a - b);
  const least = sorted[0] ?? Number.NaN;
  const middle = sorted[Math.floor(sorted.length / 2)] ?? least;
  return { least, noise: least > 0 ? (middle - least) / least : 0 };
}
