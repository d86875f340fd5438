// Expressions that are meant to hurt; as many of each as the limits let through, and what they refuse.
const many = (count: number, term: (i: number) => string, by: string): string =>
  Array.from({ length: count }, (_, i) => term(i)).join(by);

export const HOSTILE_SQL: Readonly<Record<string, string>> = {
  "64 KiB of terms": many(7282, () => "a = 1", " OR "),
  "10,000 parentheses": `${"(".repeat(5000)}a${")".repeat(5000)}`,
  "250 parentheses": `${"(".repeat(250)}a = 1${")".repeat(250)}`,
  "IN of 100,000": `a IN (${many(100_000, (i) => `'${i}'`, ",")})`,
  "IN of 3,000": `a IN (${many(3000, (i) => `'${i}'`, ",")})`,
  "IN of 1,020": `a IN (${many(1020, (i) => `'${i}'`, ",")})`,
  "500 terms": many(500, (i) => `a${i % 250} = 1`, " OR "),
  "340 ranges": many(340, () => "a BETWEEN 1.5 AND 2.5", " OR "),
  "500 long numbers": many(500, () => "a = 9223372036854775807", " OR "),
  "16 KiB of NOT": `${"NOT ".repeat(4000)}a`,
  "16,000 signs": `a = ${"-".repeat(16_000)}1`,
  "16 KiB of quotes": `a = '${"''".repeat(8000)}'`,
  "4,000 comments": `${"/**/".repeat(4000)}a = 1`,
};
