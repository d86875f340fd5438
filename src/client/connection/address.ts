import { MillraceError } from "../../base/errors.ts";

/** A peer as `net.connect` wants it; `host` of an IPv6 address is without its brackets. */
export interface HostPort {
  host: string;
  port: number;
}

/**
 * Reads `host:port` or `[v6]:port`.
 * @throws MillraceError MILLRACE_CONFIG_INVALID; `key` names the option at fault
 */
export function parseAddress(address: string, key = "address"): HostPort {
  const colon = address.lastIndexOf(":");
  let host = address.slice(0, Math.max(0, colon));
  const port = Number(address.slice(colon + 1));
  const bracketed = host.startsWith("[") && host.endsWith("]");
  if (bracketed) host = host.slice(1, -1);
  const hostIsClear = host !== "" && !/[\s/[\]]/.test(host) && (bracketed || !host.includes(":"));
  if (colon < 0 || !hostIsClear || !/^\d{1,5}$/.test(address.slice(colon + 1)) || port < 1 || port > 65_535) {
    throw new MillraceError(
      "MILLRACE_CONFIG_INVALID",
      `${key}: "${address}" is not an address; allowed: host:port or [v6]:port, port 1..65535`,
      {
        key,
        value: address,
      },
    );
  }
  return { host, port };
}

/** The addresses of a `;`-separated list, checked, in order, without repeats. @throws MillraceError MILLRACE_CONFIG_INVALID */
export function parseAddressList(list: string, key: string): string[] {
  const addresses = list
    .split(/[;,]/)
    .map((part) => part.trim())
    .filter((part) => part !== "");
  if (addresses.length === 0) {
    throw new MillraceError(
      "MILLRACE_CONFIG_INVALID",
      `${key}: "${list}" names no address; allowed: host:port, several separated by ;`,
      {
        key,
        value: list,
      },
    );
  }
  for (const address of addresses) parseAddress(address, key);
  return [...new Set(addresses)];
}
