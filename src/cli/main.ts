#!/usr/bin/env node
// Entry of the `millrace` command. Everything else is loaded once the compile cache is on, which saves most
// of the start-up time of a checkout (types are stripped once, not at each start).
import * as nodeModule from "node:module";

if ("enableCompileCache" in nodeModule && process.env["NODE_DISABLE_COMPILE_CACHE"] === undefined) {
  nodeModule.enableCompileCache();
  // Worker threads take the directory from the environment.
  const directory = nodeModule.getCompileCacheDir();
  if (directory !== undefined) process.env["NODE_COMPILE_CACHE"] = directory;
}
const { run } = await import("./program.ts");
await run(process.argv);
