import { crc32 } from "../base/crc32.ts";
import { MillraceError } from "../base/errors.ts";
import type { Channel } from "../broker/channel.ts";
import { decodeRegistration, encodeKeyValueTable } from "../format/remoting/broker-registration.ts";
import {
  optionalBoolean,
  optionalInteger,
  optionalText,
  requiredInteger,
  requiredText,
} from "../format/remoting/command-fields.ts";
import { RequestCode, ResponseCode } from "../format/remoting/remoting-codes.ts";
import { type RemotingCommand, response } from "../format/remoting/remoting-command.ts";
import { memberOf, parseJson } from "../format/text/fastjson.ts";
import { decodeDataVersion, encodeDataVersion, topicConfigFrom } from "../format/topic-config.ts";
import type { Handlers, NameServerContext } from "./context.ts";
import { ORDER_TOPIC_NAMESPACE } from "./kv-config.ts";
import { encodeMemberGroup } from "./route-answers.ts";
import { type Leaver, REGISTRATION_REFUSED, type Registrant } from "./routes.ts";
import type { QueueData } from "./topic-queues.ts";

/** Requests that brokers send. Source: Apache `DefaultRequestProcessor`. */
export function brokerRequests(context: NameServerContext): Handlers {
  const { routes } = context;
  return [
    [RequestCode.REGISTER_BROKER, (command, channel) => registerBroker(context, command, channel)],
    [
      RequestCode.UNREGISTER_BROKER,
      (command) => {
        routes.unregister([leaverOf(command)]);
        return response(command, ResponseCode.SUCCESS);
      },
    ],
    [
      RequestCode.BROKER_HEARTBEAT,
      (command) => {
        routes.heartbeat(requiredText(command, "clusterName"), requiredText(command, "brokerAddr"));
        return response(command, ResponseCode.SUCCESS);
      },
    ],
    [RequestCode.QUERY_DATA_VERSION, (command) => queryDataVersion(context, command)],
    [
      RequestCode.REGISTER_TOPIC_IN_NAMESRV,
      (command) => {
        routes.registerTopic(requiredText(command, "topic"), queueDatasOf(command));
        return response(command, ResponseCode.SUCCESS);
      },
    ],
    [
      RequestCode.GET_BROKER_MEMBER_GROUP,
      (command) => {
        const clusterName = requiredText(command, "clusterName");
        const brokerName = requiredText(command, "brokerName");
        const addresses = routes.groups.get(brokerName)?.addresses ?? new Map<number, string>();
        return response(command, ResponseCode.SUCCESS, undefined, {}, encodeMemberGroup(clusterName, brokerName, addresses));
      },
    ],
  ];
}

function registerBroker(
  { routes, config, keyValues }: NameServerContext,
  command: RemotingCommand,
  channel: Channel,
): RemotingCommand {
  const who: Registrant = {
    ...leaverOf(command),
    haServerAddress: requiredText(command, "haServerAddr"),
    zoneName: optionalText(command, "__ZONE_NAME"),
    heartbeatTimeoutMs: optionalInteger(command, "heartbeatTimeoutMillis"),
    enableActingMaster: optionalBoolean(command, "enableActingMaster"),
  };
  const bodyCrc = optionalInteger(command, "bodyCrc32") ?? 0;
  const { body } = command;
  if (bodyCrc !== 0 && (crc32(body, 0, body.length) & 0x7fff_ffff) !== bodyCrc) {
    return response(command, ResponseCode.SYSTEM_ERROR, "crc32 not match");
  }
  const registration = decodeRegistration(body, optionalBoolean(command, "compressed") === true, command.version);
  const master = routes.register(who, registration, channel);
  if (master === REGISTRATION_REFUSED) return response(command, ResponseCode.SYSTEM_ERROR, "register broker failed");
  const orderTopics = config.settings.returnOrderTopicConfigToBroker ? keyValues.list(ORDER_TOPIC_NAMESPACE) : undefined;
  return response(
    command,
    ResponseCode.SUCCESS,
    undefined,
    { haServerAddr: master.haServerAddress, masterAddr: master.masterAddress },
    orderTopics && encodeKeyValueTable(orderTopics),
  );
}

function queryDataVersion({ routes }: NameServerContext, command: RemotingCommand): RemotingCommand {
  const clusterName = requiredText(command, "clusterName");
  const brokerAddress = requiredText(command, "brokerAddr");
  const changed = routes.isChanged(clusterName, brokerAddress, decodeDataVersion(command.body));
  routes.heartbeat(clusterName, brokerAddress);
  const known = routes.dataVersionOf(clusterName, brokerAddress);
  return response(command, ResponseCode.SUCCESS, undefined, { changed }, known && encodeDataVersion(known));
}

function leaverOf(command: RemotingCommand): Leaver {
  const leaver = {
    clusterName: requiredText(command, "clusterName"),
    brokerName: requiredText(command, "brokerName"),
    brokerId: requiredInteger(command, "brokerId"),
    brokerAddress: requiredText(command, "brokerAddr"),
  };
  if (leaver.brokerId < 0) throw new MillraceError("MILLRACE_PROTOCOL", `brokerId ${leaver.brokerId} is negative`);
  return leaver;
}

/** queueDatas of a TopicRouteData; none for an empty body. */
function queueDatasOf(command: RemotingCommand): QueueData[] {
  if (command.body.length === 0) return [];
  const queueDatas = memberOf(parseJson(command.body), "queueDatas");
  if (queueDatas === undefined || queueDatas === null) return [];
  if (!Array.isArray(queueDatas)) throw new MillraceError("MILLRACE_PROTOCOL", "queueDatas is no list");
  return queueDatas.map((data: unknown) => {
    const brokerName = memberOf(data, "brokerName");
    if (typeof brokerName !== "string") throw new MillraceError("MILLRACE_PROTOCOL", "queueDatas: brokerName is missing");
    // The same numbers as in a topic's configuration.
    const { perm, readQueueNums, topicSysFlag, writeQueueNums } = topicConfigFrom(brokerName, data);
    return { brokerName, perm, readQueueNums, topicSysFlag, writeQueueNums };
  });
}
