/** Middle value, least and greatest. */
export interface Spread {
  median: number;
  min: number;
  max: number;
}

/** undefined: there are none. */
export function spreadOf(values: readonly number[]): Spread | undefined {
  const sorted = values.filter((value) => Number.isFinite(value)).toSorted((a, b) => a - b);
  if (sorted.length === 0) return undefined;
  const middle = sorted.length / 2;
  const median = sorted.length % 2 === 1 ? sorted[Math.floor(middle)]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
  return { median, min: sorted[0]!, max: sorted.at(-1)! };
}

/** Three digits that count. */
export function shortly(value: number): string {
  if (value === 0) return "0";
  if (Math.abs(value) >= 1000) return Math.round(value).toLocaleString("en-US");
  return Number(value.toPrecision(3)).toString();
}

export function spreadText(spread: Spread | undefined): string {
  if (spread === undefined) return "–";
  if (spread.min === spread.max) return shortly(spread.median);
  return `${shortly(spread.median)} (${shortly(spread.min)}–${shortly(spread.max)})`;
}
