// Goal: what the style asks of the code's own text stays true: who imports whom, one door to each kind of
// side effect, nothing left over, every test can fail.
// Method: read every source file as text. Each exception is listed with its reason and must still be needed.
import { globSync, readFileSync } from "node:fs";
import { basename, dirname, join, posix } from "node:path";
import test from "ava";

const ROOT = join(import.meta.dirname, "..");
const FILE_LINES_MAX = 500;
const LINE_SIZE_MAX = 150;
const WORKER_LINES_MAX = 40;

/** Each layer imports itself and the layers above it in this list. Folders of one layer never import one another. */
const LADDER: readonly (readonly string[])[] = [
  ["base"],
  ["format"],
  ["ring", "os", "config", "observe", "filter"],
  ["store"],
  ["broker"],
  ["remoting", "client", "namesrv", "grpc", "kafka", "ha"],
  ["runtime"],
  ["cli", "index.ts"],
];
const PROTOCOLS = LADDER[5]!;

/** Outside of src/: which of its folders may be used. */
const OUTSIDE: Readonly<Record<string, readonly string[]>> = {
  // Builds one Duty and runs it.
  workers: ["base", "format", "ring", "os", "observe", "store", "remoting", "runtime"],
  "native-free": ["base", "os"],
};

/** `importer -> imported` that the ladder forbids. */
const LADDER_EXCEPTIONS: Readonly<Record<string, string>> = {
  "src/os/choose.ts -> native-free/drive.ts": "the one place that chooses between the two drives",
  "src/namesrv/server.ts -> src/remoting/server.ts": "the name server speaks remoting",
  "src/namesrv/server.ts -> src/client/connection/remoting-client.ts": "and calls brokers by it",
  "src/remoting/server-connection.ts -> src/client/connection/frame-reader.ts": "both ends cut the same frames",
};

interface Door {
  what: string;
  /** In an import's specifier, or else anywhere in the code. */
  imports?: RegExp;
  code?: RegExp;
  /** Folders, files. */
  open: readonly string[];
}

const TOOLS = ["bench", "test"];
const DOORS: readonly Door[] = [
  {
    what: "node:fs",
    imports: /^node:fs/,
    open: ["src/os", "native-free", "src/config", "src/broker/config-file.ts", "src/cli", ...TOOLS],
  },
  { what: "FFI", imports: /^(koffi|node:ffi)$/, open: ["src/os", ...TOOLS] },
  {
    what: "sockets",
    imports: /^node:(net|tls|http|https|http2|dgram)$/,
    open: [...PROTOCOLS.map((folder) => `src/${folder}`), "src/runtime", "workers", ...TOOLS],
  },
  { what: "threads", imports: /^(node:worker_threads|piscina)$/, open: ["src/runtime", "workers", ...TOOLS] },
  { what: "processes", imports: /^node:(child_process|cluster)$/, open: TOOLS },
  {
    what: "real time and chance",
    code: /\b(Date\.now|performance\.now|Math\.random)\(|(?<![.\w])(setTimeout|setInterval)\(|new Date\(\)/,
    open: ["src/base", ...TOOLS],
  },
  { what: "standard output", code: /\bconsole\.|process\.std(out|err)\b/, open: ["src/cli", ...TOOLS] },
  { what: "the end of the process", code: /\bprocess\.(exit|abort)\(/, open: ["src/cli", ...TOOLS] },
];

/** `file: door`, by need. */
const DOOR_EXCEPTIONS: Readonly<Record<string, string>> = {
  "src/runtime/memory-store.ts: node:fs": "makes the directory of a store in memory",
  "src/runtime/broker.ts: the end of the process": "a store that cannot go on, unless the embedder says otherwise",
  "src/remoting/io-worker.ts: the end of the process": "in a worker it ends the thread only",
  "src/client/connection/client-instance.ts: threads": "the thread's number makes a client's id unique",
  "src/client/produce/unique-id.ts: threads": "the thread's number makes a message's id unique",
};

// In two parts, so that this file does not find itself.
const LEFTOVERS: readonly [what: string, pattern: RegExp][] = [
  ["unfinished", new RegExp(["TO", "DO\\b|FIX", "ME\\b"].join(""))],
  ["a narrowed test run", new RegExp(["\\.", "only\\("].join(""))],
  ["a debugger's stop", new RegExp(["\\bdebug", "ger;"].join(""))],
  ["a path of one machine", new RegExp(["/ro", "ot/|/wo", "rk/|/Us", "ers/"].join(""))],
  ["a registry's host", new RegExp(["regis", "try\\.[a-z]+\\."].join(""))],
];

const VAGUE_NAMES = ["utils", "util", "helpers", "helper", "common", "types", "misc", "index"];

const files = globSync(["src/**/*.ts", "workers/**/*.ts", "native-free/**/*.ts", "bench/**/*.ts", "test/**/*.ts"], { cwd: ROOT })
  .map((path) => path.replaceAll("\\", "/"))
  .filter((path) => !path.includes("node_modules/"))
  .toSorted()
  .map((path) => ({ path, text: readFileSync(join(ROOT, path), "utf8") }));

interface Import {
  specifier: string;
  isType: boolean;
}

function importsOf(text: string): Import[] {
  const found: Import[] = [];
  for (const [, type, specifier] of text.matchAll(/^(?:import|export)\s+(type\s+)?(?:[^"';]*?\sfrom\s+)?"([^"]+)"/gm)) {
    found.push({ specifier: specifier!, isType: type !== undefined });
  }
  for (const [, specifier] of text.matchAll(/\b(?:import|require)\("([^"]+)"\)/g))
    found.push({ specifier: specifier!, isType: false });
  return found;
}

/** Without comments: these may name what the code must not do. */
function codeOf(text: string): string {
  return text.replace(/\/\*[^]*?\*\//g, "").replace(/(^|\s)\/\/.*$/gm, "");
}

/** `src/store/x.ts` -> `store`, `src/index.ts` -> `index.ts`, `workers/io.ts` -> `workers`. */
function folderOf(path: string): string {
  const parts = path.split("/");
  return parts[0] === "src" ? parts[1]! : parts[0]!;
}

function isIn(path: string, places: readonly string[]): boolean {
  return places.some((place) => path === place || path.startsWith(`${place}/`));
}

function rankOf(folder: string): number {
  return LADDER.findIndex((layer) => layer.includes(folder));
}

test("every source folder has its place on the ladder", (t) => {
  const folders = new Set(files.filter(({ path }) => path.startsWith("src/")).map(({ path }) => folderOf(path)));
  t.true(folders.size > 5);
  t.deepEqual(
    [...folders].filter((folder) => rankOf(folder) < 0),
    [],
  );
});

test("imports only go down the ladder", (t) => {
  const wrong: string[] = [];
  const unused = new Set(Object.keys(LADDER_EXCEPTIONS));
  let count = 0;
  for (const { path, text } of files) {
    if (isIn(path, TOOLS)) continue;
    const importer = folderOf(path);
    for (const { specifier } of importsOf(text)) {
      if (!specifier.startsWith(".")) continue;
      const target = posix.join(dirname(path), specifier);
      const imported = folderOf(target);
      count++;
      const isAllowed =
        importer === imported ||
        (path.startsWith("src/")
          ? rankOf(imported) >= 0 && rankOf(imported) < rankOf(importer)
          : OUTSIDE[importer]!.includes(imported));
      if (isAllowed) continue;
      const edge = `${path} -> ${target}`;
      if (!unused.delete(edge) && LADDER_EXCEPTIONS[edge] === undefined) wrong.push(edge);
    }
  }
  t.true(count > 100, `${count} imports found`);
  t.deepEqual(wrong, []);
  t.deepEqual([...unused], [], "exceptions that are not needed any more");
});

test("each side effect has its door", (t) => {
  const wrong: string[] = [];
  const unused = new Set(Object.keys(DOOR_EXCEPTIONS));
  for (const { path, text } of files) {
    const code = codeOf(text);
    for (const { what, imports, code: pattern, open } of DOORS) {
      if (isIn(path, open)) continue;
      const isUsed =
        (imports !== undefined && importsOf(text).some(({ specifier, isType }) => !isType && imports.test(specifier))) ||
        (pattern !== undefined && pattern.test(code));
      const use = `${path}: ${what}`;
      if (isUsed && !unused.delete(use)) wrong.push(use);
    }
  }
  t.deepEqual(wrong, []);
  t.deepEqual([...unused], [], "exceptions that are not needed any more");
});

test("nothing is left over", (t) => {
  const others = ["package.json", "package-lock.json", "README.md", "ARCHITECTURE.md", "CHANGELOG.md", ".ci/run"];
  const texts = [
    ...files,
    ...globSync(others, { cwd: ROOT }).map((path) => ({ path, text: readFileSync(join(ROOT, path), "utf8") })),
  ];
  t.true(texts.length > files.length);
  const found = texts.flatMap(({ path, text }) =>
    LEFTOVERS.filter(([, pattern]) => pattern.test(text)).map(([what, pattern]) => `${path}: ${what}: ${pattern.exec(text)![0]}`),
  );
  t.deepEqual(found, []);
});

test("files are of a size and a name that can be taken in", (t) => {
  const wrong: string[] = [];
  for (const { path, text } of files) {
    const lines = text.split("\n");
    const linesMax = path.startsWith("workers/") ? WORKER_LINES_MAX : FILE_LINES_MAX;
    if (lines.length > linesMax && !path.startsWith("test/")) wrong.push(`${path}: ${lines.length} lines, at most ${linesMax}`);
    const longest = lines.findIndex((line) => line.length > LINE_SIZE_MAX);
    if (longest >= 0 && !path.startsWith("test/")) wrong.push(`${path}:${longest + 1}: ${lines[longest]!.length} characters`);
    const name = basename(path).split(".")[0]!;
    if (!/^[a-z0-9]+(-[a-z0-9]+)*$/.test(name)) wrong.push(`${path}: not in kebab-case`);
    if (VAGUE_NAMES.includes(name) && path !== "src/index.ts") wrong.push(`${path}: name the idea`);
  }
  t.deepEqual(wrong, []);
});

test("every test file asserts", (t) => {
  const wrong: string[] = [];
  const tests = files.filter(({ path }) => path.endsWith(".test.ts"));
  t.true(tests.length > 5);
  for (const { path, text } of tests) {
    if (!/\bt\.(?!plan|log|timeout|teardown|context|title|pass\()\w+\(/.test(text)) wrong.push(`${path}: no assertion`);
  }
  t.deepEqual(wrong, []);
});
