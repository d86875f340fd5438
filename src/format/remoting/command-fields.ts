import { MillraceError } from "../../base/errors.ts";
import type { RemotingCommand } from "./remoting-command.ts";

/**
 * Fields of a request's header, checked. For the control plane; hot paths scan bytes (header-scan.ts).
 * Source: Apache `RemotingCommand.decodeCommandCustomHeader`, whose texts clients show.
 */

/** @throws MillraceError MILLRACE_PROTOCOL when absent */
export function requiredText(command: RemotingCommand, name: string): string {
  const value = command.extFields[name];
  if (value === undefined) throw new MillraceError("MILLRACE_PROTOCOL", `the custom field <${name}> is null`, { name });
  return value;
}

export function optionalText(command: RemotingCommand, name: string): string | undefined {
  return command.extFields[name];
}

/** @throws MillraceError MILLRACE_PROTOCOL when absent or no integer */
export function requiredInteger(command: RemotingCommand, name: string): number {
  return integerOf(name, requiredText(command, name));
}

/** @throws MillraceError MILLRACE_PROTOCOL when it is no integer */
export function optionalInteger(command: RemotingCommand, name: string): number | undefined {
  const value = command.extFields[name];
  return value === undefined ? undefined : integerOf(name, value);
}

/** "true" in any case is true, all else false, as in Java. @throws MillraceError MILLRACE_PROTOCOL when absent */
export function requiredBoolean(command: RemotingCommand, name: string): boolean {
  return requiredText(command, name).toLowerCase() === "true";
}

export function optionalBoolean(command: RemotingCommand, name: string): boolean | undefined {
  return command.extFields[name] === undefined ? undefined : requiredBoolean(command, name);
}

/** Beyond 2^53 - 1 (Long.MAX_VALUE is a usual way to say "the end") the value is cut to that. */
function integerOf(name: string, text: string): number {
  if (!/^[+-]?\d{1,19}$/.test(text))
    throw new MillraceError("MILLRACE_PROTOCOL", `the custom field <${name}> is not an integer`, { name });
  return Math.max(-Number.MAX_SAFE_INTEGER, Math.min(Number.MAX_SAFE_INTEGER, Number(text)));
}
