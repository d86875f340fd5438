// Goal: what `npm pack` makes can be installed: it is complete, its types and entry are where package.json says,
// and it loads on the oldest Node that we promise.
// Method: pack, unpack into a project of its own beside links to the dependencies, and use it from there.
import { execFile } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { promisify } from "node:util";
import test from "ava";
import { publint } from "publint";
import { formatMessage } from "publint/utils";

const run = promisify(execFile);
const ROOT = join(import.meta.dirname, "..");
const MODULES = join(ROOT, "node_modules");
const manifest = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as {
  version: string;
  dependencies: Record<string, string>;
};

const project = mkdtempSync(join(tmpdir(), "millrace-package-"));
const installed = join(project, "node_modules", "millrace");
test.after.always(() => rmSync(project, { recursive: true }));

/** Other versions of Node on this machine, beside the one that the tests run on. */
function otherNodes(): string[] {
  const directories = (process.env["PATH"] ?? "").split(delimiter).filter((directory) => !directory.includes("node_modules"));
  return directories.map((directory) => join(directory, "node")).filter((path) => existsSync(path));
}

test.before(async (t) => {
  t.timeout(120_000);
  mkdirSync(installed, { recursive: true });
  const { stdout } = await run("npm", ["pack", "--silent", "--pack-destination", project], { cwd: ROOT });
  const archive = join(project, stdout.trim().split("\n").at(-1)!);
  await run("tar", ["-xzf", archive, "-C", installed, "--strip-components=1"]);
  // All packages that are there: a dependency's own dependencies are among them.
  for (const name of readdirSync(MODULES)) {
    if (!name.startsWith(".") && name !== "millrace") symlinkSync(join(MODULES, name), join(project, "node_modules", name));
  }
  writeFileSync(join(project, "package.json"), '{ "type": "module" }');
});

test("publint finds nothing", async (t) => {
  const { messages, pkg } = await publint({ pkgDir: installed, pack: false, strict: true });
  t.deepEqual(
    messages.map((message) => formatMessage(message, pkg)),
    [],
  );
});

test("holds the program, its types and workers, and no sources or tests", (t) => {
  const files = readdirSync(installed, { recursive: true }).map(String);
  for (const file of ["LICENSE", "dist/src/index.js", "dist/src/index.d.ts", "dist/src/cli/main.js", "dist/workers/io.js"]) {
    t.true(files.includes(file), file);
  }
  t.deepEqual(
    files.filter((file) => /(?<!\.d)\.ts$|^test|^bench/.test(file)),
    [],
  );
});

test("loads and runs on each Node of this machine", async (t) => {
  const seen = new Set<string>();
  const program = `const m = await import("millrace"); console.log(process.version, typeof m.startBroker, typeof m.openEngine, typeof m.Producer);`;
  for (const node of [process.execPath, ...otherNodes()]) {
    const version = (await run(node, ["--version"])).stdout.trim();
    if (seen.has(version)) continue;
    seen.add(version);
    const { stdout } = await run(node, ["--input-type=module", "-e", program], { cwd: project });
    t.is(stdout, `${version} function function function\n`);
    const cli = await run(node, [join(installed, "dist/src/cli/main.js"), "--version"], { cwd: project });
    t.is(cli.stdout, `${manifest.version}\n`, version);
    t.log(`${version}: ${node}`);
  }
});

test("type-checks in a strict project that uses it", async (t) => {
  writeFileSync(
    join(project, "use.ts"),
    `import { startBroker, Producer, openEngine, MillraceError } from "millrace";
     export async function use(): Promise<string> {
       const broker = await startBroker({ port: 0 });
       const producer = new Producer({ namesrvAddr: broker.namesrvAddress, group: "g" });
       const engine = await openEngine({ storePath: "x" });
       void engine; void MillraceError;
       return (await producer.send({ topic: "T", body: "b" })).msgId;
     }\n`,
  );
  const options = [
    "--noEmit",
    "--strict",
    "--module",
    "nodenext",
    "--target",
    "es2023",
    "--lib",
    "es2024,esnext.disposable",
    "--types",
    "node",
  ];
  await t.notThrowsAsync(run(join(MODULES, ".bin", "tsc"), [...options, "use.ts"], { cwd: project }));
});

test("every dependency is of one version", (t) => {
  for (const [name, version] of Object.entries(manifest.dependencies)) t.regex(version, /^\d+\.\d+\.\d+$/, name);
});

// npm leaves out what it did not install, and `npm ci` then refuses the file, here or on another platform.
test("the lock file names the packages of every platform", (t) => {
  const { packages } = JSON.parse(readFileSync(join(ROOT, "package-lock.json"), "utf8")) as {
    packages: Record<string, { optionalDependencies?: Record<string, string> }>;
  };
  const missing = Object.entries(packages).flatMap(([path, { optionalDependencies = {} }]) =>
    Object.keys(optionalDependencies).filter(
      (name) => !(`node_modules/${name}` in packages || `${path}/node_modules/${name}` in packages),
    ),
  );
  t.true(Object.keys(packages).length > 100);
  t.deepEqual(missing, []);
});
