import type { RequestHandler } from "../broker/channel.ts";
import { optionalBoolean, optionalText, requiredText } from "../format/remoting/command-fields.ts";
import { RequestCode, ResponseCode } from "../format/remoting/remoting-codes.ts";
import { type RemotingCommand, response } from "../format/remoting/remoting-command.ts";
import type { Handlers, NameServerContext } from "./context.ts";
import { ORDER_TOPIC_NAMESPACE } from "./kv-config.ts";
import { encodeClusterInfo, encodeRoute, encodeTopicList, filterByZone } from "./route-answers.ts";

/** From this version on clients read standard JSON. Source: Apache `MQVersion.V4_9_4`. */
const VERSION_STANDARD_JSON = 401;

/** Requests of clients and administrators about routes. Source: Apache `ClientRequestProcessor`, `DefaultRequestProcessor`. */
export function routeRequests(context: NameServerContext): Handlers {
  const { routes, log, config } = context;
  const { topics } = routes;
  const listed =
    (isEnabled: () => boolean, list: (command: RemotingCommand) => Buffer): RequestHandler =>
    (command) => {
      if (!isEnabled()) return response(command, ResponseCode.SYSTEM_ERROR, "disable");
      return response(command, ResponseCode.SUCCESS, undefined, {}, list(command));
    };
  const ofTopicList = (): boolean => config.settings.enableTopicList;
  const ofAllTopicList = (): boolean => config.settings.enableAllTopicList;
  return [
    [RequestCode.GET_ROUTEINFO_BY_TOPIC, routeHandler(context)],
    [
      RequestCode.GET_BROKER_CLUSTER_INFO,
      listed(
        () => true,
        () => encodeClusterInfo(routes.groups, routes.clusters),
      ),
    ],
    [RequestCode.GET_ALL_TOPIC_LIST_FROM_NAMESERVER, listed(ofAllTopicList, () => encodeTopicList(topics.names()))],
    [
      RequestCode.GET_TOPICS_BY_CLUSTER,
      listed(ofTopicList, (command) => encodeTopicList(routes.topicsOfCluster(requiredText(command, "cluster")))),
    ],
    [
      RequestCode.GET_SYSTEM_TOPIC_LIST_FROM_NS,
      listed(
        () => true,
        () => {
          const system = routes.systemTopics();
          return encodeTopicList(system.topics, system.brokerAddress);
        },
      ),
    ],
    [RequestCode.GET_UNIT_TOPIC_LIST, listed(ofTopicList, () => encodeTopicList(topics.unitTopics()))],
    [RequestCode.GET_HAS_UNIT_SUB_TOPIC_LIST, listed(ofTopicList, () => encodeTopicList(topics.unitSubTopics()))],
    [RequestCode.GET_HAS_UNIT_SUB_UNUNIT_TOPIC_LIST, listed(ofTopicList, () => encodeTopicList(topics.unitSubNotUnitTopics()))],
    [
      RequestCode.DELETE_TOPIC_IN_NAMESRV,
      (command, { remoteAddress }) => {
        const topic = requiredText(command, "topic");
        const clusterName = optionalText(command, "clusterName");
        if (clusterName === undefined || clusterName === "") routes.deleteTopic(topic);
        else routes.deleteTopicInCluster(topic, clusterName);
        log.info({ topic, clusterName, remoteAddress }, "topic deleted");
        return response(command, ResponseCode.SUCCESS);
      },
    ],
    [
      RequestCode.WIPE_WRITE_PERM_OF_BROKER,
      (command, { remoteAddress }) => {
        const brokerName = requiredText(command, "brokerName");
        const wipeTopicCount = topics.wipeWritePerm(brokerName);
        log.info({ brokerName, wipeTopicCount, remoteAddress }, "write permission of a broker wiped");
        return response(command, ResponseCode.SUCCESS, undefined, { wipeTopicCount });
      },
    ],
    [
      RequestCode.ADD_WRITE_PERM_OF_BROKER,
      (command, { remoteAddress }) => {
        const brokerName = requiredText(command, "brokerName");
        const addTopicCount = topics.addWritePerm(brokerName);
        log.info({ brokerName, addTopicCount, remoteAddress }, "write permission of a broker restored");
        return response(command, ResponseCode.SUCCESS, undefined, { addTopicCount });
      },
    ],
  ];
}

function routeHandler({ routes, config, keyValues, clock, startedMs }: NameServerContext): RequestHandler {
  /** A route was found once the waiting time was over: brokers have come back. */
  let isReady = false;
  return (command) => {
    const { needWaitForService, waitSecondsForService, orderMessageEnable } = config.settings;
    isReady ||= clock.now() - startedMs >= waitSecondsForService * 1_000;
    if (needWaitForService && !isReady) return response(command, ResponseCode.SYSTEM_ERROR, "name server not ready");
    const topic = requiredText(command, "topic");
    const found = routes.route(topic);
    if (found === undefined) {
      return response(command, ResponseCode.TOPIC_NOT_EXIST, `No topic route info in name server for the topic: ${topic}`);
    }
    const zoneName = optionalBoolean(command, "__ZONE_MODE") === true ? optionalText(command, "__ZONE_NAME") : undefined;
    const route = zoneName === undefined || zoneName.trim() === "" ? found : filterByZone(found, zoneName);
    const orderTopicConf = orderMessageEnable ? keyValues.get(ORDER_TOPIC_NAMESPACE, topic) : undefined;
    const isStandard = command.version >= VERSION_STANDARD_JSON || optionalBoolean(command, "acceptStandardJsonOnly") === true;
    return response(command, ResponseCode.SUCCESS, undefined, {}, encodeRoute(route, isStandard, orderTopicConf));
  };
}
