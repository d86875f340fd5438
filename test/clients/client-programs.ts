// The clients that the acceptance cases run on: what each needs on the machine, how it is built, how it is called.
// A build is kept in a target directory and done again only when its sources change.
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { accessSync, constants, existsSync, globSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import { promisify } from "node:util";
import type { Program } from "./case-run.ts";

const HERE = import.meta.dirname;
const BUILD_TIMEOUT_MS = 600_000;
const exec = promisify(execFile);

export interface ClientProgram {
  title: string;
  /** Commands that must be on the PATH. */
  needs: readonly string[];
  build(): Promise<void>;
  /** @param temporary directory for what the libraries unpack and leave behind */
  program(args: readonly string[], temporary: string): Program;
}

/** The first of `commands` that is not on the PATH. */
export function missingCommand(commands: readonly string[]): string | undefined {
  const folders = (process.env["PATH"] ?? "").split(delimiter);
  return commands.find((command) => !folders.some((folder) => isExecutable(join(folder, command))));
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** Runs the build unless `stampFile` tells that it was done from these very sources. */
async function buildOnce(folder: string, sources: string, stampFile: string, command: string, args: string[]): Promise<void> {
  const hash = createHash("sha256").update(args.join(" "));
  for (const file of globSync(sources, { cwd: folder }).toSorted()) hash.update(file).update(readFileSync(join(folder, file)));
  const stamp = hash.digest("hex");
  const stampPath = join(folder, stampFile);
  if (existsSync(stampPath) && readFileSync(stampPath, "utf8") === stamp) return;
  try {
    await exec(command, args, { cwd: folder, timeout: BUILD_TIMEOUT_MS, maxBuffer: 16_777_216 });
  } catch (error) {
    const { stdout = "", stderr = "", message } = error as Error & { stdout?: string; stderr?: string };
    throw new Error(`${message}\n${stdout}${stderr}`.slice(0, 4000), { cause: error });
  }
  mkdirSync(join(stampPath, ".."), { recursive: true });
  writeFileSync(stampPath, stamp);
}

export function javaClient(version: string): ClientProgram {
  const folder = join(HERE, "java");
  const target = join(folder, "target");
  return {
    title: `Java client ${version}`,
    needs: ["java", "mvn"],
    build: () =>
      buildOnce(folder, `{pom.xml,src/{main,v${version[0]}}/**/*.java}`, `target/${version}/stamp`, "mvn", [
        "--quiet",
        "--batch-mode",
        "--no-transfer-progress",
        `-Drocketmq.version=${version}`,
        `-Drocketmq.major=${version[0]}`,
        "compile",
      ]),
    program: (args, temporary) => ({
      command: "java",
      // The library writes logs and broadcast offsets into the home directory.
      args: [
        "-Xmx512m",
        "-XX:-UsePerfData",
        `-Djava.io.tmpdir=${temporary}`,
        `-Duser.home=${join(target, version, "home")}`,
        "-cp",
        classPath(target, version),
        "millrace.Cases",
        ...args,
      ],
      cwd: folder,
    }),
  };
}

function classPath(target: string, version: string): string {
  return [join(target, version, "classes"), join(target, `lib-${version}`, "*")].join(delimiter);
}

export function goClient(): ClientProgram {
  const folder = join(HERE, "go");
  return {
    title: "Go client v2.1.2",
    needs: ["go"],
    build: () => buildOnce(folder, "{go.mod,go.sum,*.go}", "target/stamp", "go", ["build", "-o", "target/cases", "."]),
    program: (args) => ({ command: join(folder, "target/cases"), args, cwd: folder }),
  };
}

export function npmClient(): ClientProgram {
  const folder = join(HERE, "npm");
  return {
    title: "npm client ali-ons",
    needs: ["npm"],
    build: () =>
      buildOnce(folder, "package*.json", "node_modules/stamp", "npm", ["ci", "--ignore-scripts", "--no-audit", "--no-fund"]),
    program: (args) => ({ command: process.execPath, args: ["cases.mjs", ...args], cwd: folder }),
  };
}
