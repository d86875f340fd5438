// Goal: what scripts rely on: one answer on standard output, one line of explanation on standard error, exit codes, signals.
import { readFileSync } from "node:fs";
import { createConnection, type Socket } from "node:net";
import { join } from "node:path";
import test from "ava";
import { Command, runCommand } from "./command.ts";

test("--version is the package's", async (t) => {
  const { version } = JSON.parse(readFileSync(join(import.meta.dirname, "../../package.json"), "utf8")) as { version: string };
  t.deepEqual(await runCommand(["--version"]), { code: 0, stdout: `${version}\n`, stderr: "" });
});

test("an unknown command or option ends with code 1 and says what is there", async (t) => {
  const command = await runCommand(["upp"]);
  t.is(command.code, 1);
  t.regex(command.stderr, /unknown command 'upp'[^]*up/);
  const option = await runCommand(["up", "--prot", "1"]);
  t.is(option.code, 1);
  t.regex(option.stderr, /unknown option '--prot'[^]*--port/);
});

test("an unknown config key stops the start with one line", async (t) => {
  const { code, stdout, stderr } = await runCommand(["up", "--set", "listenPrt=1"]);
  t.is(code, 1);
  t.is(stdout, "");
  t.is(stderr, 'millrace: flag --set: unknown config key "listenPrt" (value "1"); did you mean listenPort?\n');
});

test("--print-config shows where each value comes from: file, environment, flags", async (t) => {
  const { code, stdout } = await runCommand(["up", "-p", "--port", "4711", "--set", "traceOn=false"], "", {
    MILLRACE_BROKER_NAME: "b-from-env",
    NAMESRV_ADDR: "127.0.0.1:9999",
  });
  t.is(code, 0);
  t.regex(stdout, /^listenPort=4711 port +flag --port /m);
  t.regex(stdout, /^brokerName=b-from-env +environment /m);
  t.regex(stdout, /^namesrvAddr=127\.0\.0\.1:9999 +environment NAMESRV_ADDR /m);
  t.regex(stdout, /^traceOn=false +flag --set /m);
  t.regex(stdout, /^flushDiskType=ASYNC_FLUSH +default /m);
});

test("namesrv says when it is ready, really answers, and stops cleanly on SIGTERM", async (t) => {
  const command = new Command(["namesrv", "--host", "127.0.0.1", "--port", "0"]);
  const [, port, pid] = await command.line(/^ready namesrv=127\.0\.0\.1:(\d+) pid=(\d+)$/m);
  t.is(Number(pid), command.child.pid!);
  t.true(await connects(Number(port)));
  const { code, stdout, stderr } = await command.end("SIGTERM");
  t.is(code, 0);
  t.is(stdout.split("\n").length, 2, "one line only");
  t.false(/error/i.test(stderr), stderr);
  t.false(await connects(Number(port)));
});

test("a port in use is told in one line", async (t) => {
  const first = new Command(["namesrv", "--host", "127.0.0.1", "--port", "0"]);
  const [, port] = await first.line(/^ready namesrv=127\.0\.0\.1:(\d+)/m);
  const { code, stderr, stdout } = await runCommand(["namesrv", "--host", "127.0.0.1", "--port", port!]);
  t.is(code, 1);
  t.is(stdout, "");
  t.is(stderr, `millrace: 127.0.0.1:${port} is already in use\n`);
  t.is((await first.end("SIGINT")).code, 0);
});

function connects(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket: Socket = createConnection(port, "127.0.0.1");
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}
