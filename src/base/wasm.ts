/** What we need of WebAssembly, which the type library knows only together with browsers. */
export interface WasmMemory {
  readonly buffer: SharedArrayBuffer;
}

interface Wasm {
  Memory: new (limits: { initial: number; maximum: number; shared: true }) => WasmMemory;
  Module: new (code: Uint8Array<ArrayBuffer>) => object;
  Instance: new (
    module: object,
    imports: { env: { memory: WasmMemory } },
  ) => {
    exports: Record<string, (...figures: number[]) => number>;
  };
}

const PAGE_SIZE = 65_536;

/** undefined: V8 runs without it (--jitless). */
const wasm: Wasm | undefined = (globalThis as unknown as { WebAssembly?: Wasm }).WebAssembly;

/** Shared memory for all threads. It may be posted to them. @returns undefined: there is no WebAssembly, or no memory for it */
export function createWasmMemory(size: number): WasmMemory | undefined {
  const pages = Math.ceil(size / PAGE_SIZE);
  try {
    return wasm === undefined ? undefined : new wasm.Memory({ initial: pages, maximum: pages, shared: true });
  } catch {
    return undefined; // Each takes some gigabytes of address space, which may be limited.
  }
}

/**
 * The functions of a module whose memory is `memory`, for the calling thread.
 * @throws Error where this runtime lacks what the code needs
 */
export function instantiate(code: Uint8Array<ArrayBuffer>, memory: WasmMemory): Record<string, (...figures: number[]) => number> {
  if (wasm === undefined) throw new Error("there is no WebAssembly");
  return new wasm.Instance(new wasm.Module(code), { env: { memory } }).exports;
}
