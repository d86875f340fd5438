/**
 * Assembles a small subset of WebAssembly's text format, for the few loops that JavaScript cannot do a vector at a time.
 * Functions only, in folded form; they share one imported memory:
 *
 *   (func $name (param $a i32) (result i32) (local $b i32)
 *     (local.set $b (i32.add (local.get $a) (i32.const 1)))
 *     (block $done (loop $next ... (br_if $done ...) ... (br $next)))
 *     (if (i32.eq ...) (then ...))
 *     (call $other ...)
 *     (local.get $b))
 *
 * Every function is exported under its name. Memory instructions take `offset=`; nothing is said of alignment.
 */
type Node = string | Node[];

/** Those without operands of their own in the code. */
const PLAIN: Readonly<Record<string, readonly number[]>> = {
  return: [0x0f],
  drop: [0x1a],
  "i32.eqz": [0x45],
  "i32.eq": [0x46],
  "i32.ne": [0x47],
  "i32.lt_u": [0x49],
  "i32.gt_u": [0x4b],
  "i32.le_u": [0x4d],
  "i32.ge_u": [0x4f],
  "i32.add": [0x6a],
  "i32.sub": [0x6b],
  "i32.mul": [0x6c],
  "i32.and": [0x71],
  "i32.or": [0x72],
  "i32.xor": [0x73],
  "i32.shl": [0x74],
  "i32.shr_s": [0x75],
  "i32.shr_u": [0x76],
  "i32.rotl": [0x77],
  "i32.rotr": [0x78],
  "v128.and": [0xfd, 0x4e],
  "v128.or": [0xfd, 0x50],
  "v128.xor": [0xfd, 0x51],
  "v128.andnot": [0xfd, 0x4f],
  "v128.any_true": [0xfd, 0x53],
  "i8x16.lt_s": [0xfd, 0x25],
  "i8x16.splat": [0xfd, 0x0f],
  "i8x16.eq": [0xfd, 0x23],
  "i32.div_u": [0x6e],
  "i32.wrap_i64": [0xa7],
  "i64.extend_i32_u": [0xad],
  "i64.trunc_sat_f64_u": [0xfc, 0x07],
  "i64.add": [0x7c],
  "i64.mul": [0x7e],
  "i64.shr_u": [0x88],
};

/** Those that read or write memory, and the alignment that they claim. */
const MEMORY: Readonly<Record<string, readonly number[]>> = {
  "i32.load": [0x28],
  "i32.load8_u": [0x2d],
  "i32.load16_u": [0x2f],
  "i32.store": [0x36],
  "i32.store8": [0x3a],
  "i32.store16": [0x3b],
  "f64.load": [0x2b],
  "v128.load": [0xfd, 0x00],
  "v128.store": [0xfd, 0x0b],
};

const TYPES: Readonly<Record<string, number>> = { i32: 0x7f, i64: 0x7e, v128: 0x7b };
const EMPTY_BLOCK = 0x40;
const END = 0x0b;
const PAGE_SIZE = 65_536;

/**
 * @param memorySize of the memory that it will be given, bytes; `shared`, of exactly that size
 * @throws Error on text that is not of the subset: a mistake in the program
 * @returns the module, which imports its memory as "env" "memory"
 */
export function assemble(text: string, memorySize: number): Uint8Array<ArrayBuffer> {
  const functions = parse(text) as Node[][];
  const names = functions.map(([, name]) => String(name));
  const types: number[][] = [];
  const bodies: number[][] = [];
  const exported: number[][] = [];
  for (const [index, node] of functions.entries()) {
    const { name, type, body } = functionOf(node, names);
    types.push(type);
    bodies.push([...unsigned(body.length), ...body]);
    exported.push([...textOf(name), 0x00, ...unsigned(index)]);
  }
  const pages = Math.ceil(memorySize / PAGE_SIZE);
  const sharedLimits = [0x03, ...unsigned(pages), ...unsigned(pages)];
  return Uint8Array.from([
    ...[0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00],
    ...section(1, types),
    ...section(2, [[...textOf("env"), ...textOf("memory"), 0x02, ...sharedLimits]]),
    ...section(
      3,
      functions.map((_, index) => unsigned(index)),
    ),
    ...section(7, exported),
    ...section(10, bodies),
  ]);
}

function section(id: number, items: readonly number[][]): number[] {
  const content = [...unsigned(items.length), ...items.flat()];
  return [id, ...unsigned(content.length), ...content];
}

function textOf(text: string): number[] {
  return [...unsigned(text.length), ...Buffer.from(text)];
}

function unsigned(value: number): number[] {
  const bytes: number[] = [];
  for (let rest = value; ; ) {
    const byte = rest & 0x7f;
    rest >>>= 7;
    if (rest === 0) return [...bytes, byte];
    bytes.push(byte | 0x80);
  }
}

function signed(value: number): number[] {
  const bytes: number[] = [];
  for (let rest = value | 0; ; ) {
    const byte = rest & 0x7f;
    rest >>= 7;
    if ((rest === 0 && byte < 0x40) || (rest === -1 && byte >= 0x40)) return [...bytes, byte];
    bytes.push(byte | 0x80);
  }
}

function parse(text: string): Node[] {
  const stack: Node[][] = [[]];
  for (const token of text.replace(/;;.*/g, "").match(/[()]|[^\s()]+/g) ?? []) {
    if (token === "(") stack.push([]);
    else if (token !== ")") stack.at(-1)!.push(token);
    else {
      const node = stack.pop()!;
      if (stack.length === 0) throw new Error("wasm text: one ) too many");
      stack.at(-1)!.push(node);
    }
  }
  if (stack.length !== 1) throw new Error("wasm text: a ( is not closed");
  return stack[0]!;
}

function functionOf(node: Node[], names: readonly string[]): { name: string; type: number[]; body: number[] } {
  const [keyword, name, ...rest] = node;
  if (keyword !== "func" || typeof name !== "string") throw new Error("wasm text: a function was expected");
  const locals: string[] = [];
  const params: number[] = [];
  const results: number[] = [];
  const declared: number[] = [];
  let at = 0;
  for (; at < rest.length; at++) {
    const part = rest[at]!;
    if (typeof part === "string") break;
    const kind = part[0];
    if (kind === "result") results.push(typeOf(part[1]));
    else if (kind !== "param" && kind !== "local") break;
    else {
      locals.push(String(part[1]));
      (kind === "param" ? params : declared).push(typeOf(part[2]));
    }
  }
  const code = rest.slice(at).flatMap((part) => new Assembly(locals, names).of(part));
  return {
    name: name.slice(1),
    type: [0x60, ...unsigned(params.length), ...params, ...unsigned(results.length), ...results],
    body: [...unsigned(declared.length), ...declared.flatMap((type) => [1, type]), ...code, END],
  };
}

function typeOf(node: Node | undefined): number {
  const type = TYPES[String(node)];
  if (type === undefined) throw new Error(`wasm text: no type ${String(node)}`);
  return type;
}

/** The code of one expression and what is in it. */
class Assembly {
  readonly #locals: readonly string[];
  /** Of all functions of the module. */
  readonly #functions: readonly string[];
  /** Names of the blocks around it, the innermost last. */
  readonly #labels: string[] = [];

  constructor(locals: readonly string[], functions: readonly string[]) {
    this.#locals = locals;
    this.#functions = functions;
  }

  of(node: Node): number[] {
    if (typeof node === "string") throw new Error(`wasm text: ${node} outside of an instruction`);
    const [name, ...rest] = node;
    if (typeof name !== "string") throw new Error("wasm text: an instruction was expected");
    const plain = PLAIN[name];
    if (plain !== undefined) return [...this.#all(rest), ...plain];
    const memory = MEMORY[name];
    if (memory !== undefined) return this.#access(memory, rest);
    switch (name) {
      case "block":
        return [0x02, EMPTY_BLOCK, ...this.#within(String(rest[0]), rest.slice(1)), END];
      case "loop":
        return [0x03, EMPTY_BLOCK, ...this.#within(String(rest[0]), rest.slice(1)), END];
      case "if":
        return [...this.of(rest[0]!), 0x04, EMPTY_BLOCK, ...this.#within("", (rest[1] as Node[]).slice(1)), END];
      case "br":
        return [...this.#all(rest.slice(1)), 0x0c, ...this.#depthOf(rest[0])];
      case "br_if":
        return [...this.#all(rest.slice(1)), 0x0d, ...this.#depthOf(rest[0])];
      case "local.get":
        return [0x20, ...this.#localOf(rest[0])];
      case "local.set":
        return [...this.#all(rest.slice(1)), 0x21, ...this.#localOf(rest[0])];
      case "local.tee":
        return [...this.#all(rest.slice(1)), 0x22, ...this.#localOf(rest[0])];
      case "i32.const":
        return [0x41, ...signed(Number(rest[0]))];
      case "i64.const": // Of 32 bits at most.
        return [0x42, ...signed(Number(rest[0]))];
      case "call":
        return [...this.#all(rest.slice(1)), 0x10, ...this.#functionOf(rest[0])];
      default:
        throw new Error(`wasm text: no instruction ${name}`);
    }
  }

  #all(nodes: readonly Node[]): number[] {
    return nodes.flatMap((node) => this.of(node));
  }

  #within(label: string, nodes: readonly Node[]): number[] {
    this.#labels.push(label);
    const code = this.#all(nodes);
    this.#labels.pop();
    return code;
  }

  #access(code: readonly number[], rest: readonly Node[]): number[] {
    const [first] = rest;
    const hasOffset = typeof first === "string" && first.startsWith("offset=");
    const offset = hasOffset ? Number(first.slice(7)) : 0;
    return [...this.#all(hasOffset ? rest.slice(1) : rest), ...code, 0, ...unsigned(offset)];
  }

  #localOf(name: Node | undefined): number[] {
    const index = this.#locals.indexOf(String(name));
    if (index < 0) throw new Error(`wasm text: no local ${String(name)}`);
    return unsigned(index);
  }

  #functionOf(name: Node | undefined): number[] {
    const index = this.#functions.indexOf(String(name));
    if (index < 0) throw new Error(`wasm text: no function ${String(name)}`);
    return unsigned(index);
  }

  #depthOf(label: Node | undefined): number[] {
    const index = this.#labels.lastIndexOf(String(label));
    if (index < 0) throw new Error(`wasm text: no block ${String(label)}`);
    return unsigned(this.#labels.length - 1 - index);
  }
}

/** The four bytes of a word in the other order. */
export const swap = (value: string): string =>
  `(i32.or (i32.and (i32.rotl ${value} (i32.const 8)) (i32.const 0x00ff00ff))
           (i32.and (i32.rotr ${value} (i32.const 8)) (i32.const 0xff00ff00)))`;
