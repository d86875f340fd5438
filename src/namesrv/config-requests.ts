import { encodeKeyValueTable } from "../format/remoting/broker-registration.ts";
import { requiredText } from "../format/remoting/command-fields.ts";
import { RequestCode, ResponseCode } from "../format/remoting/remoting-codes.ts";
import { response } from "../format/remoting/remoting-command.ts";
import type { Handlers, NameServerContext } from "./context.ts";

/** KV table and configuration. Source: Apache `DefaultRequestProcessor`. */
export function configRequests({ keyValues, config, log }: NameServerContext): Handlers {
  return [
    [
      RequestCode.PUT_KV_CONFIG,
      async (command, { remoteAddress }) => {
        const namespace = requiredText(command, "namespace");
        const key = requiredText(command, "key");
        await keyValues.put(namespace, key, requiredText(command, "value"));
        log.info({ namespace, key, remoteAddress }, "KV config put");
        return response(command, ResponseCode.SUCCESS);
      },
    ],
    [
      RequestCode.GET_KV_CONFIG,
      (command) => {
        const namespace = requiredText(command, "namespace");
        const key = requiredText(command, "key");
        const value = keyValues.get(namespace, key);
        if (value !== undefined) return response(command, ResponseCode.SUCCESS, undefined, { value });
        return response(command, ResponseCode.QUERY_NOT_FOUND, `No config item, Namespace: ${namespace} Key: ${key}`);
      },
    ],
    [
      RequestCode.DELETE_KV_CONFIG,
      async (command, { remoteAddress }) => {
        const namespace = requiredText(command, "namespace");
        const key = requiredText(command, "key");
        await keyValues.delete(namespace, key);
        log.info({ namespace, key, remoteAddress }, "KV config deleted");
        return response(command, ResponseCode.SUCCESS);
      },
    ],
    [
      RequestCode.GET_KVLIST_BY_NAMESPACE,
      (command) => {
        const namespace = requiredText(command, "namespace");
        const table = keyValues.list(namespace);
        if (table !== undefined) return response(command, ResponseCode.SUCCESS, undefined, {}, encodeKeyValueTable(table));
        return response(command, ResponseCode.QUERY_NOT_FOUND, `No config item, Namespace: ${namespace}`);
      },
    ],
    [
      RequestCode.UPDATE_NAMESRV_CONFIG,
      async (command) => {
        await config.update(command.body.toString("utf8"));
        return response(command, ResponseCode.SUCCESS);
      },
    ],
    [
      RequestCode.GET_NAMESRV_CONFIG,
      (command) => response(command, ResponseCode.SUCCESS, undefined, {}, Buffer.from(config.format())),
    ],
  ];
}
