import { Command, Option } from "commander";
import { LOG_FORMATS, LOG_LEVELS } from "../observe/pino-log.ts";
import { endWith } from "./failure.ts";
import { LINE_FORMATS } from "./line-fields.ts";
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
    .option("--host <address>", "address to listen on; 0.0.0.0: for other machines too (127.0.0.1; with --config, as it says)")
    .option("--port <port>", "port; 0: any free one (9876)")
    .option("--store <directory>", "keep the KV settings here; without it, only in memory")
    .option("--set <key=value>", "set any key; repeatable", repeated)
    .addOption(new Option("--log-level <level>", "least level of log lines").choices(LOG_LEVELS).default("info"))
    .addOption(logFormatOption())
    .action(async (flags) => (await import("./namesrv.ts")).namesrv(flags));

  program
    .command("demo")
    .description("run a broker, a producer and a consumer, and show the messages flow")
    .option("--rate <count>", "messages a second", "5000")
    .option("--seconds <count>", "end after this time, instead of at Ctrl-C")
    .option("--port <port>", "port of the broker; 0: any free one", "0")
    .option("--namesrv-port <port>", "port of the name server; 0: any free one", "0")
    .option("--native-free", "use no native code")
    .action(async (flags) => (await import("./demo.ts")).demo(flags));

  program
    .command("ingest")
    .description("send a file, or standard input, line by line to a topic")
    .argument("[file]", "file to read; - or none: standard input")
    .requiredOption("--topic <topic>", "topic; made at the first message where brokers do so")
    .addOption(namesrvOption())
    .addOption(new Option("--format <format>", "form of the lines, for --key-field").choices(LINE_FORMATS).default("plain"))
    .option("--key-field <field>", "key of a message: a field of the format, or the number of a word, from 1")
    .option("--queue-by <how>", "key: equal keys in one queue; round-robin: batches in turn; or a queue's number", "round-robin")
    .option("--tag <tag>", "tag of all messages")
    .option("--queues <count>", "queues of a topic that is made", "4")
    .option("--split", "send lines that are too long for one message in pieces")
    .option("--number-lines", "add each line's number, for consume --in-line-order")
    .option("--quiet", "show no progress")
    .action(async (file, flags) => (await import("./ingest.ts")).ingest(file, flags));

  program
    .command("consume")
    .description("write the messages of a topic to standard output or a file, each queue in order")
    .requiredOption("--topic <topic>", "topic")
    .addOption(namesrvOption())
    .option("--queue <number>", "this queue only")
    .option("--from <where>", "first, last, milliseconds since 1970, or a date", "first")
    .option("--count <count>", "end after this many messages")
    .option("--until-end", "end at what is there now, instead of waiting for more")
    .option("--in-line-order", "across queues in the order of the input; needs ingest --number-lines")
    .option("--with-meta", "one JSON object a line, with all that is known of the message")
    .option("-o, --output <file>", "write here instead")
    .option("--quiet", "show no progress")
    .action(async (flags) => (await import("./consume.ts")).consume(flags));

  program
    .command("explain")
    .description("tell where one message is and why: delayed, filtered, acked, in retry, dead-lettered …")
    .argument("<msgId>", "offsetMsgId or unique key")
    .addOption(namesrvOption())
    .option("--topic <topic>", "its topic, to find a unique key quicker")
    .option("--group <group>", "for this consumer group (each that reads the topic)")
    .option("--json", "print JSON")
    .action(async (messageId, flags) => (await import("./explain.ts")).explain(messageId, flags));

  storeOptions(program.command("verify"))
    .description("check a stopped store: every record, queue entry and index entry; writes nothing")
    .option("--quiet", "show no progress")
    .addHelpText("after", "\nExit code: 0 nothing wrong, 1 something found, 2 it could not be checked.")
    // Scripts take 1 for damage.
    .exitOverride((error) => process.exit(error.exitCode === 0 ? 0 : 2))
    .action(async (store, flags) => (await import("./verify.ts")).verify(store, flags));

  storeOptions(program.command("inspect"))
    .description("show records of a store, also while a broker runs on it; writes nothing")
    .option("--offset <physicalOffset>", "the record at this place of the log")
    .option("--topic <topic>", "records of this topic; with --queue")
    .option("--queue <number>", "queue of the topic (0)")
    .option("--from <queueOffset>", "first record of the queue (the first there is)")
    .option("--count <count>", "most records to show (10)")
    .action(async (store, flags) => (await import("./inspect.ts")).inspect(store, flags));

  return program;
}

/** Of commands that read a store's files. */
function storeOptions(command: Command): Command {
  return command
    .argument("<store>", "directory of the store")
    .option("-c, --config <file>", "the broker's file of Java properties, if its file sizes or log directory are its own")
    .option("--set <key=value>", "set any key; repeatable", repeated)
    .option("--native-free", "use no native code")
    .option("--json", "print JSON");
}

function namesrvOption(): Option {
  return new Option("--namesrv <addresses>", "name servers: host:port, several separated by ;")
    .env("NAMESRV_ADDR")
    .default("127.0.0.1:9876");
}

function brokerOptions(command: Command): Command {
  return command
    .option("-c, --config <file>", "file of Java properties with RocketMQ's keys")
    .option("--host <address>", "address to listen on; 0.0.0.0: for other machines too (127.0.0.1)")
    .option("--port <port>", "port of the broker; 0: any free one (10911)")
    .option("--namesrv <addresses>", "further name servers to register with: host:port, several separated by ;")
    .option("--store <directory>", 'directory of the store, or "memory" ($HOME/store)')
    .option("--native-free", "use no native code")
    .option("--io-workers <count>", "network threads; 0: by the number of processors (0)")
    .option("--set <key=value>", "set any key; repeatable", repeated)
    .option("--cpu-prof <directory>", "leave a profile of each thread (V8's .cpuprofile) here at the end")
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
