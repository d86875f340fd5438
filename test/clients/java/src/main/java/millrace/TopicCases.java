package millrace;

import static java.nio.charset.StandardCharsets.UTF_8;
import static millrace.Checks.await;
import static millrace.Checks.check;
import static millrace.Checks.equal;
import static millrace.Checks.sameSet;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.TreeSet;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeOrderlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerOrderly;
import org.apache.rocketmq.common.TopicConfig;

/** What a topic or group is allowed, and topics in order. */
final class TopicCases {
  private static final int NO_PERMISSION = 16;
  private static final int READ = 4;
  private static final int WRITE = 2;

  private TopicCases() {}

  static void register(Map<String, Case> cases) {
    cases.put("permissions", TopicCases::permissions);
    cases.put("orderConf", TopicCases::orderConf);
    cases.put("globalOrder", TopicCases::globalOrder);
  }

  private static void allow(Lab lab, String topic, int perm) throws Exception {
    lab.admin().createAndUpdateTopicConfig(lab.brokerAddress(), new TopicConfig(topic, 1, 1, perm));
    await("route with permission " + perm, 10, () ->
        lab.admin().examineTopicRouteInfo(topic).getQueueDatas().get(0).getPerm() == perm);
  }

  private static int pull(Lab lab, String topic, long offset) throws Exception {
    return lab.ask(Raw.command(Raw.PULL_MESSAGE, Raw.pullFields(lab, topic, 0, offset))).getCode();
  }

  /** Topics that may only be read or written, and groups that may not read. */
  private static void permissions(Lab lab) throws Exception {
    String topic = lab.topic("allowed", 1);
    lab.send(SendCases.message(topic, "first"));
    await("it can be pulled", 10, () -> pull(lab, topic, 0) == 0);

    allow(lab, topic, WRITE);
    equal(pull(lab, topic, 0), NO_PERMISSION, "pull of a topic that may only be written");
    equal(lab.ask(Raw.send(lab, topic, 0, "second".getBytes(UTF_8), "")).getCode(), 0, "send to it");
    allow(lab, topic, READ);
    await("both can be pulled", 10, () -> pull(lab, topic, 1) == 0);
    var other = lab.newProducer("other");
    other.start();
    boolean isSent = true;
    try {
      other.send(SendCases.message(topic, "third"));
    } catch (Exception refused) {
      isSent = false;
    }
    check(!isSent, "a producer found a queue of a topic that may only be read");
    allow(lab, topic, READ | WRITE);
    String group = lab.name("raw"); // That of the raw pulls.
    Api.allowGroup(lab.admin(), lab.brokerAddress(), group, false);
    equal(pull(lab, topic, 0), NO_PERMISSION, "pull of a group that may not consume");
    Api.allowGroup(lab.admin(), lab.brokerAddress(), group, true);
    equal(pull(lab, topic, 0), 0, "pull of a group that may again");
  }

  /**
   * The name server tells producers of an ordered topic which brokers and how many queues it has, whatever the route says; if it
   * is told to (orderMessageEnable).
   */
  private static void orderConf(Lab lab) throws Exception {
    Properties enabled = new Properties();
    enabled.setProperty("orderMessageEnable", "true");
    lab.admin().updateNameServerConfig(enabled, List.of(lab.namesrv));
    String topic = lab.name("orderConf");
    TopicConfig config = new TopicConfig(topic, 4, 4, READ | WRITE);
    config.setOrder(true);
    lab.admin().createAndUpdateTopicConfig(lab.brokerAddress(), config);
    String conf = lab.brokerName() + ":2";
    lab.admin().createOrUpdateOrderConf(topic, conf, false);
    await("route with the order", 10, () -> conf.equals(lab.admin().examineTopicRouteInfo(topic).getOrderTopicConf()));
    equal(lab.admin().getKVConfig("ORDER_TOPIC_CONFIG", topic), conf, "key of the name server");
    Set<Integer> used = new TreeSet<>();
    for (int i = 0; i < 12; i++) used.add(lab.send(SendCases.message(topic, "m" + i)).getMessageQueue().getQueueId());
    sameSet(used, List.of(0, 1), "queues that the producer uses");
    lab.admin().deleteKvConfig("ORDER_TOPIC_CONFIG", topic);
    await("the key is gone", 10, () -> {
      try {
        return lab.admin().getKVConfig("ORDER_TOPIC_CONFIG", topic) == null;
      } catch (Exception gone) {
        return true;
      }
    });
    SendCases.consume(lab, topic).expectExactly(bodies(12), 20);
  }

  private static List<String> bodies(int count) {
    List<String> bodies = new ArrayList<>();
    for (int i = 0; i < count; i++) bodies.add("m" + i);
    return bodies;
  }

  /** One queue, two consumers: one of them reads all in order, and the other goes on when it stops. */
  private static void globalOrder(Lab lab) throws Exception {
    String topic = lab.topic("globalOrder", 1);
    String group = lab.name("line");
    Inbox inbox = new Inbox();
    List<DefaultMQPushConsumer> consumers = new ArrayList<>();
    for (int i = 0; i < 2; i++) {
      DefaultMQPushConsumer consumer = lab.newPush(group);
      consumer.subscribe(topic, "*");
      consumer.registerMessageListener((MessageListenerOrderly) (batch, context) -> {
        inbox.add(batch);
        return ConsumeOrderlyStatus.SUCCESS;
      });
      consumer.start();
      consumers.add(consumer);
    }
    await("one has the queue", 30, () ->
        consumers.stream().mapToInt(consumer -> Lab.assigned(consumer, topic).size()).sum() == 1);
    List<String> all = new ArrayList<>();
    for (int half = 0; half < 2; half++) {
      for (int i = 0; i < 50; i++) {
        String body = half + "-" + i;
        all.add(body);
        lab.send(SendCases.message(topic, body));
      }
      await("all of the half " + half, 60, () -> inbox.size() >= all.size());
      equal(inbox.bodies(), all, "bodies in order");
      DefaultMQPushConsumer owner =
          consumers.stream().filter(consumer -> Lab.assigned(consumer, topic).size() == 1).findFirst().orElseThrow();
      owner.shutdown();
      consumers.remove(owner);
    }
  }
}
