import { Admin, type BrokerExplanation } from "../client/admin.ts";

export interface ExplainFlags {
  namesrv: string;
  topic?: string;
  group?: string;
  json?: boolean;
}

/** `millrace explain`: where one message is and why. Exit code 1 where no broker has it. */
export async function explain(messageId: string, flags: ExplainFlags): Promise<void> {
  const admin = new Admin({ namesrvAddr: flags.namesrv });
  try {
    const found = await admin.explain(messageId, { topic: flags.topic, group: flags.group });
    if (flags.json === true) process.stdout.write(`${JSON.stringify(found)}\n`);
    else for (const one of found) process.stdout.write(explanationText(one));
    if (found.length > 0) return;
    process.stderr.write(`millrace: no broker has a message of id ${messageId}\n`);
    process.exitCode = 1;
  } finally {
    await admin.close();
  }
}

function explanationText({ brokerName, message, findings }: BrokerExplanation): string {
  const { offsetMsgId, uniqueKey, bornTimestamp, bornHost, keys, tags } = message;
  const named = [tags === "" ? "" : `tags ${JSON.stringify(tags)}`, keys === "" ? "" : `keys ${JSON.stringify(keys)}`];
  const lines = [
    `${offsetMsgId} on ${brokerName}`,
    `  unique key ${JSON.stringify(uniqueKey)}, born ${new Date(bornTimestamp).toISOString()} at ${bornHost}`,
    ...named.filter((text) => text !== "").map((text) => `  ${text}`),
    ...findings.map(({ group, text }) => `  ${group === undefined ? "" : `${group}: `}${text}`),
  ];
  return `${lines.join("\n")}\n`;
}
