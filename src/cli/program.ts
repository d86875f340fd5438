import { Command, Option } from "commander";
import { LOG_FORMATS, LOG_LEVELS } from "../observe/pino-log.ts";
import { endWith } from "./failure.ts";
import { packageVersion } from "./version.ts";

/** Parses the command line and runs the command; each command's own code is loaded only when it is called. */
export async function run(argv: readonly string[]): Promise<void> {
  try {
    await createProgram().parseAsync([...argv]);
  } catch (error) {
    endWith(error);
  }
}

export function createProgram(): Command {
  const program = new Command("millrace")
    .description("A RocketMQ-class message broker in one process.")
    .version(packageVersion(), "-V, --version")
    .showHelpAfterError("(millrace --help tells what there is)");

  brokerOptions(program.command("up"))
    .description("run a broker, with a name server beside it")
    .option("--namesrv-port <port>", "port of the name server; 0: any free one (9876)")
    .addOption(ownNamesrvOption())
    .action(async (flags) => (await import("./up.ts")).up(flags));

  brokerOptions(program.command("broker"))
    .description("run a broker alone; it registers with the name servers of --namesrv")
    .action(async (flags) => (await import("./up.ts")).up({ ...flags, ownNamesrv: false }));

  program
    .command("namesrv")
    .description("run a name server alone")
    .option(
      "-c, --config <file>",
      "file of Java properties with RocketMQ's keys; settings changed by an administrator are kept in it",
    )
    .option("--host <address>", "address to listen on (0.0.0.0)")
    .option("--port <port>", "port; 0: any free one (9876)")
    .option("--store <directory>", "keep the KV settings here; without it, only in memory")
    .option("--set <key=value>", "set any key; repeatable", repeated)
    .addOption(new Option("--log-level <level>", "least level of log lines").choices(LOG_LEVELS).default("info"))
    .addOption(logFormatOption())
    .action(async (flags) => (await import("./namesrv.ts")).namesrv(flags));

  return program;
}

function brokerOptions(command: Command): Command {
  return command
    .option("-c, --config <file>", "file of Java properties with RocketMQ's keys")
    .option("--host <address>", "address to listen on (0.0.0.0)")
    .option("--port <port>", "port of the broker; 0: any free one (10911)")
    .option("--namesrv <addresses>", "further name servers to register with: host:port, several separated by ;")
    .option("--store <directory>", 'directory of the store, or "memory" ($HOME/store)')
    .option("--native-free", "use no native code")
    .option("--io-workers <count>", "network threads; 0: by the number of processors (0)")
    .option("--set <key=value>", "set any key; repeatable", repeated)
    .option("-p, --print-config", "print every key, its value and who set it, and end")
    .addOption(new Option("--log-level <level>", "least level of log lines (info)").choices(LOG_LEVELS))
    .addOption(logFormatOption());
}

/** Beside `--namesrv ADDRESSES`, whose opposite commander would take it for. */
function ownNamesrvOption(): Option {
  const option = new Option("--no-namesrv", "run no name server in this process");
  option.attributeName = () => "ownNamesrv";
  return option;
}

function logFormatOption(): Option {
  return new Option("--log-format <format>", "form of log lines").choices(LOG_FORMATS).default("text");
}

function repeated(value: string, before: string[] = []): string[] {
  return [...before, value];
}
