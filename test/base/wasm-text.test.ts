import test from "ava";
import { createWasmMemory, instantiate, type WasmMemory } from "../../src/base/wasm.ts";
import { assemble } from "../../src/base/wasm-text.ts";

const SIZE = 65_536;

function load(text: string): { memory: WasmMemory; functions: Record<string, (...figures: number[]) => number> } {
  const memory = createWasmMemory(SIZE)!;
  return { memory, functions: instantiate(assemble(text, SIZE), memory) };
}

test("functions take and give numbers, have locals, loops and branches", (t) => {
  const { functions } = load(`
    ;; The sum of 1 to $n.
    (func $sum (param $n i32) (result i32) (local $total i32)
      (block $done (loop $next
        (br_if $done (i32.eqz (local.get $n)))
        (local.set $total (i32.add (local.get $total) (local.get $n)))
        (local.set $n (i32.sub (local.get $n) (i32.const 1)))
        (br $next)))
      (local.get $total))
    (func $larger (param $a i32) (param $b i32) (result i32)
      (if (i32.gt_u (local.get $a) (local.get $b)) (then (return (local.get $a))))
      (local.get $b))
    (func $first (result i32)
      (block $outer (if (i32.const 1) (then (br $outer))) (return (i32.const 1)))
      (i32.const -70000))`);
  t.is(functions["sum"]!(100), 5050);
  t.is(functions["larger"]!(7, 300), 300);
  t.is(functions["larger"]!(300, 7), 300);
  t.is(functions["first"]!(), -70_000);
});

test("memory is read and written, also beyond an offset and by vectors", (t) => {
  const { memory, functions } = load(`
    (func $mix (param $at i32)
      (i32.store offset=300 (local.get $at) (i32.rotl (i32.load (local.get $at)) (i32.const 8)))
      (v128.store offset=400 (local.get $at)
        (v128.xor (v128.load (local.get $at)) (i8x16.splat (i32.const 255)))))`);
  const bytes = new Uint8Array(memory.buffer);
  for (let i = 0; i < 16; i++) bytes[8 + i] = i + 1;
  functions["mix"]!(8);
  t.deepEqual([...bytes.slice(308, 312)], [4, 1, 2, 3]);
  t.deepEqual(
    [...bytes.slice(408, 424)],
    Array.from({ length: 16 }, (_, i) => 254 - i),
  );
});

test("functions call each other, and count with 64 bits and fractions", (t) => {
  const { memory, functions } = load(`
    (func $twice (param $n i32) (result i32) (i32.mul (local.get $n) (i32.const 2)))
    (func $high (param $at i32) (result i32) (local $value i64)
      (local.set $value (i64.trunc_sat_f64_u (f64.load (local.get $at))))
      (local.set $value (i64.add (i64.mul (local.get $value) (i64.const 10)) (i64.extend_i32_u (i32.const 7))))
      (i32.store offset=8 (local.get $at) (i32.wrap_i64 (local.get $value)))
      (call $twice (i32.div_u (i32.wrap_i64 (i64.shr_u (local.get $value) (i64.const 32))) (i32.const 3))))`);
  const view = new DataView(memory.buffer);
  view.setFloat64(16, 4_294_967_296 * 3 + 5, true);
  t.is(functions["high"]!(16), 20);
  t.is(view.getInt32(24, true), 57);
});

for (const [mistake, text] of [
  ["an unknown instruction", "(func $f (i32.clz (i32.const 1)))"],
  ["an unknown local", "(func $f (local.get $x))"],
  ["an unknown function", "(func $f (call $g))"],
  ["an unknown block", "(func $f (br $x))"],
  ["an unknown type", "(func $f (param $a f16))"],
  ["a bracket too few", "(func $f"],
  ["a bracket too many", "(func $f))"],
] as const) {
  test(`refused: ${mistake}`, (t) => {
    t.throws(() => assemble(text, SIZE), { message: /^wasm text: / });
  });
}
