package millrace;

import static java.nio.charset.StandardCharsets.UTF_8;
import static millrace.Checks.await;
import static millrace.Checks.check;
import static millrace.Checks.equal;

import java.util.List;
import java.util.Map;
import java.util.Set;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.common.TopicConfig;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;

/** Administration through the official admin client: topics, groups, who is connected, how far they are. */
final class AdminCases {
  private static final int TOPIC_NOT_EXIST = 17;
  private static final int CONSUMER_NOT_ONLINE = 206;

  private AdminCases() {}

  static void register(Map<String, Case> cases) {
    cases.put("cluster", AdminCases::cluster);
    cases.put("topicLife", AdminCases::topicLife);
    cases.put("groupConfig", AdminCases::groupConfig);
    cases.put("consumeStats", AdminCases::consumeStats);
    cases.put("connections", AdminCases::connections);
  }

  private static void cluster(Lab lab) throws Exception {
    var info = lab.admin().examineBrokerClusterInfo();
    equal(info.getBrokerAddrTable().size() >= 1, true, "a broker is registered");
    String name = lab.brokerName();
    check(info.getClusterAddrTable().values().stream().anyMatch(names -> names.contains(name)), name + " is in a cluster");
    String topic = lab.topic("cluster", 1);
    check(lab.admin().fetchAllTopicList().getTopicList().contains(topic), "topic list of the name server has " + topic);
  }

  private static void topicLife(Lab lab) throws Exception {
    String topic = lab.topic("life", 3);
    var route = lab.admin().examineTopicRouteInfo(topic);
    equal(route.getQueueDatas().size(), 1, "brokers of the topic");
    equal(route.getQueueDatas().get(0).getReadQueueNums(), 3, "read queues");
    equal(route.getQueueDatas().get(0).getPerm(), 6, "permission");
    equal(route.getBrokerDatas().get(0).getBrokerAddrs().get(0L), lab.brokerAddress(), "address in the route");
    for (int i = 0; i < 6; i++) lab.send(SendCases.message(topic, "old" + i));
    await("topic statistics", 10, () ->
        lab.admin().examineTopicStats(topic).getOffsetTable().values().stream().mapToLong(o -> o.getMaxOffset()).sum() == 6);

    lab.admin().createAndUpdateTopicConfig(lab.brokerAddress(), new TopicConfig(topic, 5, 7, 6));
    await("route tells the change", 10, () -> {
      var queues = lab.admin().examineTopicRouteInfo(topic).getQueueDatas().get(0);
      return queues.getReadQueueNums() == 5 && queues.getWriteQueueNums() == 7;
    });

    lab.admin().deleteTopicInBroker(Set.of(lab.brokerAddress()), topic);
    Api.deleteRoute(lab.admin(), lab.namesrv, lab.clusterName(), topic);
    await("route is gone", 10, () -> {
      try {
        lab.admin().examineTopicRouteInfo(topic);
        return false;
      } catch (MQClientException gone) {
        return gone.getResponseCode() == TOPIC_NOT_EXIST;
      }
    });
    lab.admin().createAndUpdateTopicConfig(lab.brokerAddress(), new TopicConfig(topic, 1, 1, 6));
    await("route is back", 10, () -> lab.admin().examineTopicRouteInfo(topic).getQueueDatas().get(0).getWriteQueueNums() == 1);
    await("a fresh topic starts at 0 again", 10, () -> {
      var producer = lab.newProducer("again");
      producer.start();
      var result = producer.send(SendCases.message(topic, "new"), lab.queue(topic, 0));
      equal(result.getQueueOffset(), 0L, "queue offset after the second creation");
      return true;
    });
    SendCases.consume(lab, topic).expectExactly(List.of("new"), 20);
  }

  /** Deletion right after sends and creation right after deletion: the index of the old topic must not reach into the new. */
  static void topicChurn(Lab lab) throws Exception {
    String topic = lab.name("churn");
    for (int round = 0; round < 25; round++) {
      lab.createTopic(topic, 3);
      for (int i = 0; i < 6; i++) {
        equal(lab.ask(Raw.send(lab, topic, i % 3, ("old" + i).getBytes(UTF_8), "")).getCode(), 0, "send before the deletion");
      }
      lab.admin().deleteTopicInBroker(Set.of(lab.brokerAddress()), topic);
      Api.deleteRoute(lab.admin(), lab.namesrv, lab.clusterName(), topic);
      lab.createTopic(topic, 1);
      var sent = lab.ask(Raw.send(lab, topic, 0, "new".getBytes(UTF_8), ""));
      equal(sent.getExtFields().get("queueOffset"), "0", "queue offset in the new topic, round " + round);
      await("the new message can be pulled, round " + round, 5, () -> {
        var pulled = lab.ask(Raw.command(Raw.PULL_MESSAGE, Raw.pullFields(lab, topic, 0, 0)));
        return pulled.getCode() == 0 && "1".equals(pulled.getExtFields().get("nextBeginOffset"));
      });
      lab.admin().deleteTopicInBroker(Set.of(lab.brokerAddress()), topic);
    }
  }

  private static void groupConfig(Lab lab) throws Exception {
    String group = lab.name("config");
    Api.putGroup(lab.admin(), lab.brokerAddress(), group, 3, false);
    var config = lab.admin().examineSubscriptionGroupConfig(lab.brokerAddress(), group);
    equal(config.getGroupName(), group, "group name");
    equal(config.getRetryMaxTimes(), 3, "retryMaxTimes");
    equal(config.isConsumeBroadcastEnable(), false, "consumeBroadcastEnable");
    equal(config.isConsumeEnable(), true, "consumeEnable keeps its default");
    Api.putGroup(lab.admin(), lab.brokerAddress(), group, 9, true);
    var changed = lab.admin().examineSubscriptionGroupConfig(lab.brokerAddress(), group);
    equal(changed.getRetryMaxTimes(), 9, "retryMaxTimes after the update");
    equal(changed.isConsumeBroadcastEnable(), true, "consumeBroadcastEnable after the update");
  }

  private static void consumeStats(Lab lab) throws Exception {
    String topic = lab.topic("stats", 2);
    String group = lab.name("counted");
    for (int i = 0; i < 20; i++) lab.send(SendCases.message(topic, "first" + i));
    DefaultMQPushConsumer consumer = lab.newPush(group);
    consumer.subscribe(topic, "*");
    Inbox inbox = new Inbox().of(consumer);
    consumer.start();
    await("consumed and committed", 20, () -> {
      var stats = lab.admin().examineConsumeStats(group, topic);
      return inbox.size() == 20 && stats.getOffsetTable().size() == 2 && stats.computeTotalDiff() == 0;
    });
    consumer.shutdown();
    for (int i = 0; i < 5; i++) lab.send(SendCases.message(topic, "second" + i), lab.queue(topic, 0));
    await("lag of 5 in queue 0", 10, () -> {
      var stats = lab.admin().examineConsumeStats(group, topic);
      var queue = stats.getOffsetTable().get(lab.queue(topic, 0));
      return stats.computeTotalDiff() == 5 && queue.getBrokerOffset() - queue.getConsumerOffset() == 5 && queue.getLastTimestamp() > 0;
    });
  }

  private static void connections(Lab lab) throws Exception {
    String topic = lab.topic("connected", 2);
    String group = lab.name("online");
    DefaultMQPushConsumer consumer = lab.newPush(group);
    consumer.subscribe(topic, "TagA || TagB");
    new Inbox().of(consumer);
    consumer.start();
    await("the consumer is told", 15, () -> lab.admin().examineConsumerConnectionInfo(group).getConnectionSet().size() == 1);
    var connections = lab.admin().examineConsumerConnectionInfo(group);
    var connection = connections.getConnectionSet().iterator().next();
    equal(connection.getClientId(), consumer.buildMQClientId(), "client id");
    check(connection.getClientAddr().contains(":"), "client address " + connection.getClientAddr());
    equal(connection.getLanguage().name(), "JAVA", "language");
    check(connection.getVersion() > 0, "version " + connection.getVersion());
    equal(connections.getSubscriptionTable().get(topic).getSubString(), "TagA || TagB", "subscription");
    equal(connections.getMessageModel().name(), "CLUSTERING", "message model");
    equal(connections.getConsumeType().name(), "CONSUME_PASSIVELY", "consume type");
    equal(connections.getConsumeFromWhere(), ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET, "consume from");

    lab.send(SendCases.message(topic, "makes the producer known"));
    await("the producer is told", 40, () -> {
      var producers = lab.admin().examineProducerConnectionInfo(lab.name("producer"), topic);
      return producers.getConnectionSet().iterator().next().getClientId().equals(lab.producer().buildMQClientId());
    });
    consumer.shutdown();
    await("the stopped consumer is gone", 15, () ->
        Checks.refusal("connections of a stopped group", () -> lab.admin().examineConsumerConnectionInfo(group)) == CONSUMER_NOT_ONLINE);
  }
}
