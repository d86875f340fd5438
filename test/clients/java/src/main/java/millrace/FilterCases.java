package millrace;

import static millrace.Checks.check;
import static millrace.Checks.equal;
import static millrace.Checks.sameSet;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import org.apache.rocketmq.client.consumer.DefaultLitePullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.MessageSelector;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;

/** SQL92 expressions: by push, by lite pull, and what is wrong. */
final class FilterCases {
  private static final int SUBSCRIPTION_PARSE_FAILED = 23;
  private static final int COUNT = 20;

  private FilterCases() {}

  static void register(Map<String, Case> cases) {
    cases.put("sqlFilter", FilterCases::sqlFilter);
    cases.put("sqlLitePull", FilterCases::sqlLitePull);
    cases.put("sqlChanged", FilterCases::sqlChanged);
    cases.put("sqlWrong", FilterCases::sqlWrong);
  }

  /** RocketMQ's brokers do not filter by expressions unless told to. */
  private static void enable(Lab lab) throws Exception {
    Properties properties = new Properties();
    properties.setProperty("enablePropertyFilter", "true");
    lab.admin().updateBrokerConfig(lab.brokerAddress(), properties);
  }

  /** Number i has a=i, b = it's or x, c only if i is a multiple of 5, and a tag. */
  private static void sendNumbers(Lab lab, String topic) throws Exception {
    for (int i = 0; i < COUNT; i++) {
      Message message = SendCases.message(topic, "n" + i);
      message.putUserProperty("a", Integer.toString(i));
      message.putUserProperty("b", i % 2 == 0 ? "it's" : "x");
      if (i % 5 == 0) message.putUserProperty("c", "true");
      message.setTags(i < 10 ? "low" : "high");
      lab.send(message);
    }
  }

  private static List<String> numbers(java.util.function.IntPredicate which) {
    List<String> bodies = new ArrayList<>();
    for (int i = 0; i < COUNT; i++) if (which.test(i)) bodies.add("n" + i);
    return bodies;
  }

  private static void sqlFilter(Lab lab) throws Exception {
    enable(lab);
    String topic = lab.topic("sql", 2);
    Map<String, List<String>> wanted = new LinkedHashMap<>();
    wanted.put("a BETWEEN 5 AND 7 OR c IS NOT NULL", numbers(i -> (i >= 5 && i <= 7) || i % 5 == 0));
    wanted.put("(a > 12.5) AND b = 'it''s' AND TAGS IN ('high', 'other')", numbers(i -> i > 12 && i % 2 == 0));
    wanted.put("NOT (a >= 3) AND b <> 'x'", numbers(i -> i < 3 && i % 2 == 0));
    wanted.put("c = TRUE AND b CONTAINS 't' OR b STARTSWITH 'nothing'", numbers(i -> i % 10 == 0));
    Map<String, Inbox> inboxes = new LinkedHashMap<>();
    for (String expression : wanted.keySet()) {
      DefaultMQPushConsumer consumer = lab.newPush(lab.name("sql" + inboxes.size()));
      consumer.subscribe(topic, MessageSelector.bySql(expression));
      inboxes.put(expression, new Inbox().of(consumer));
      consumer.start();
    }
    sendNumbers(lab, topic);
    for (String expression : wanted.keySet()) inboxes.get(expression).expectExactly(wanted.get(expression), 20);
  }

  private static void sqlLitePull(Lab lab) throws Exception {
    enable(lab);
    String topic = lab.topic("sqlLite", 2);
    sendNumbers(lab, topic);
    DefaultLitePullConsumer consumer = lab.newLitePull(lab.name("sqlLite"));
    consumer.subscribe(topic, MessageSelector.bySql("a >= 15"));
    consumer.start();
    List<String> bodies = new ArrayList<>();
    long end = System.nanoTime() + 20_000_000_000L;
    while (bodies.size() < 5 && System.nanoTime() < end) {
      for (MessageExt message : consumer.poll(500)) bodies.add(Inbox.text(message));
    }
    for (MessageExt message : consumer.poll(500)) bodies.add(Inbox.text(message));
    sameSet(bodies, numbers(i -> i >= 15), "bodies");
    equal(bodies.size(), 5, "deliveries");
  }

  /** A group that comes back with another expression goes on by the new one. */
  private static void sqlChanged(Lab lab) throws Exception {
    enable(lab);
    String topic = lab.topic("sqlChanged", 1);
    String group = lab.name("sqlChanged");
    DefaultMQPushConsumer first = lab.newPush(group);
    first.subscribe(topic, MessageSelector.bySql("a < 5"));
    Inbox inbox = new Inbox().of(first);
    first.start();
    sendNumbers(lab, topic);
    inbox.expectExactly(numbers(i -> i < 5), 20);
    first.shutdown();
    DefaultMQPushConsumer second = lab.newPush(group);
    second.subscribe(topic, MessageSelector.bySql("a >= 18"));
    Inbox later = new Inbox().of(second);
    second.start();
    sendNumbers(lab, topic);
    Checks.await("messages", 20, () -> later.size() >= 2);
    Thread.sleep(500);
    sameSet(later.bodies(), List.of("n18", "n19"), "bodies");
    // Those of the first time come as well, unless the group's offset has been moved past what did not pass.
    check(later.size() == 2 || later.size() == 4, "deliveries: " + later.bodies());
  }

  private static void sqlWrong(Lab lab) throws Exception {
    enable(lab);
    String topic = lab.topic("sqlWrong", 1);
    for (String expression : List.of("a >", "a > 'x'", "a IN (1)", "(a = 1")) {
      DefaultMQPushConsumer consumer = lab.newPush(lab.name("sqlWrong"));
      consumer.subscribe(topic, MessageSelector.bySql(expression));
      new Inbox().of(consumer);
      try {
        consumer.start();
        check(false, "started with " + expression);
      } catch (MQClientException refused) {
        equal(refused.getResponseCode(), SUBSCRIPTION_PARSE_FAILED, "response code for " + expression);
      }
    }
  }
}
