import { assert } from "../../base/assert.ts";
import { FIELD_COUNT, FIELD_NAMES, LETTER_COUNT } from "./header-fields.ts";
import { NAME_UNKNOWN, NameTable } from "./name-table.ts";

/** What stands for what in a header: places of fields in the scan's tables, numbers of members and languages. */

const SMALL_A = 0x61;
const SMALL_Z = 0x7a;

/** Long names take the places [0, FIELD_COUNT) of the tables, letters [LETTERS, LETTERS + LETTER_COUNT). */
export const LETTERS = 32;
/** A letter slot that nothing is ever stored in: where fields without a letter look when letters count. */
export const NO_LETTER = 63;
assert(FIELD_COUNT === FIELD_NAMES.length && FIELD_COUNT <= LETTERS, "one bit of a word for each field");
assert(LETTERS + LETTER_COUNT <= NO_LETTER, "letters fit into the second word");

export const SLOTS_OF_NAMES: Uint8Array = Uint8Array.from({ length: FIELD_COUNT }, (_, field) => field);
export const SLOTS_OF_LETTERS: Uint8Array = Uint8Array.from({ length: FIELD_COUNT }, (_, field) =>
  field < LETTER_COUNT ? LETTERS + field : NO_LETTER,
);
export const FIELDS: NameTable = new NameTable(FIELD_NAMES);

export const MEMBER_CODE = 0;
export const MEMBER_FLAG = 1;
export const MEMBER_OPAQUE = 2;
// 3: version, which the hot paths do not ask for.
export const MEMBER_LANGUAGE = 4;
export const MEMBER_EXT_FIELDS = 5;
export const MEMBER_SERIALIZE_TYPE = 6;
export const MEMBERS: NameTable = new NameTable([
  "code",
  "flag",
  "opaque",
  "version",
  "language",
  "extFields",
  "serializeTypeCurrentRPC",
]);

export const LANGUAGE_NAMES: readonly string[] =
  "JAVA CPP DOTNET PYTHON DELPHI ERLANG RUBY OTHER HTTP GO PHP OMS RUST NODE_JS".split(" ");
export const LANGUAGES: NameTable = new NameTable(LANGUAGE_NAMES);
export const LANGUAGE_OTHER: number = LANGUAGE_NAMES.indexOf("OTHER");

/** Sizes of a binary header without remark and fields, and of one field without name and value; place of the request number. */
export const BINARY_SIZE_MIN = 21;
export const BINARY_FIELD_SIZE_MIN = 6;
export const BINARY_OPAQUE_AT = 5;

export function letterSlot(letter: number): number {
  return letter >= SMALL_A && letter < SMALL_A + LETTER_COUNT ? LETTERS + letter - SMALL_A : NAME_UNKNOWN;
}

/** Place of a field's value in the tables, or NAME_UNKNOWN. */
export function slotOf(view: DataView, nameStart: number, nameEnd: number): number {
  return nameEnd - nameStart === 1 ? letterSlot(view.getUint8(nameStart)) : FIELDS.find(view, nameStart, nameEnd);
}

/** Whether the four bytes (little-endian) are `"a":` or the like with another small letter. */
export function isLetterName(word: number): boolean {
  const letter = (word >> 8) & 0xff;
  return (word & ~0xff00) === 0x3a22_0022 && letter >= SMALL_A && letter <= SMALL_Z;
}

export function skipBlanks(view: DataView, from: number, end: number): number {
  let at = from;
  while (at < end) {
    const byte = view.getUint8(at);
    if (byte > 0x20 || (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09)) break;
    at++;
  }
  return at;
}
