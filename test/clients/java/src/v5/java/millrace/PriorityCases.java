package millrace;

import static millrace.Checks.await;
import static millrace.Checks.check;
import static millrace.Checks.equal;

import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.common.TopicConfig;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.remoting.protocol.subscription.CustomizedRetryPolicy;
import org.apache.rocketmq.remoting.protocol.subscription.ExponentialRetryPolicy;
import org.apache.rocketmq.remoting.protocol.subscription.GroupRetryPolicy;
import org.apache.rocketmq.remoting.protocol.subscription.GroupRetryPolicyType;
import org.apache.rocketmq.remoting.protocol.subscription.SubscriptionGroupConfig;

/** What topics and groups of 5.x are beyond those of 4.x: kinds of messages, priorities, retry policies. */
final class PriorityCases {
  private static final int QUEUES = 4;
  private static final int INVALID_PARAMETER = 29;

  private PriorityCases() {}

  static void register(Map<String, Case> cases) {
    cases.put("priority", PriorityCases::priority);
    cases.put("priorityFactor", PriorityCases::priorityFactor);
    cases.put("messageTypes", PriorityCases::messageTypes);
    cases.put("retryPolicies", PriorityCases::retryPolicies);
  }

  /** Millrace holds to a group's policy whatever the client; Apache's broker leaves it to the proxy. */
  static void registerOwn(Map<String, Case> cases) {
    cases.put("retryByPolicy", PriorityCases::retryByPolicy);
  }

  private static String typedTopic(Lab lab, String stem, String type) throws Exception {
    String topic = lab.name(stem);
    TopicConfig config = new TopicConfig(topic, QUEUES, QUEUES, 6);
    config.setAttributes(new HashMap<>(Map.of("+message.type", type)));
    lab.admin().createAndUpdateTopicConfig(lab.brokerAddress(), config);
    await("route of " + topic, 10, () -> lab.admin().examineTopicRouteInfo(topic).getQueueDatas().size() == 1);
    return topic;
  }

  private static List<String> sendPriorities(Lab lab, String topic) throws Exception {
    List<String> bodies = new ArrayList<>();
    for (int i = 0; i < 12; i++) {
      Message message = SendCases.message(topic, "p" + i % 6 + "-" + i);
      message.setPriority(i % 6);
      equal(lab.send(message).getMessageQueue().getQueueId(), Math.min(i % 6, QUEUES - 1), "queue of priority " + i % 6);
      bodies.add("p" + i % 6 + "-" + i);
    }
    await("all are in the queues", 10, () -> {
      long sum = 0;
      for (int queue = 0; queue < QUEUES; queue++) sum += lab.admin().maxOffset(lab.queue(topic, queue));
      return sum == 12;
    });
    return bodies;
  }

  /** A priority is the number of a queue, the last one for all above; a pop takes the highest first. */
  private static void priority(Lab lab) throws Exception {
    String topic = typedTopic(lab, "priority", "PRIORITY");
    String group = lab.name("urgent");
    List<String> bodies = sendPriorities(lab, topic);
    bodies.sort((a, b) -> {
      int byQueue = queueOf(b) - queueOf(a);
      return byQueue != 0 ? byQueue : Integer.compare(placeOf(a), placeOf(b));
    });
    List<String> popped = new ArrayList<>();
    for (int i = 0; i < 4; i++) {
      PopCases.Popped part = PopCases.pop(lab, topic, group, 60_000, 0, false, 3);
      part.messages.forEach(message -> popped.add(Inbox.text(message)));
    }
    equal(popped, bodies, "in the order of the pops");
  }

  private static int queueOf(String body) {
    return Math.min(body.charAt(1) - '0', QUEUES - 1);
  }

  private static int placeOf(String body) {
    return Integer.parseInt(body.substring(body.indexOf('-') + 1));
  }

  /** A group may say how many of its pops hold to priorities, in percent; with none, a pop begins at any queue. */
  private static void priorityFactor(Lab lab) throws Exception {
    String topic = typedTopic(lab, "factor", "PRIORITY");
    boolean isOther = false;
    for (int i = 0; i < 20 && !isOther; i++) {
      String group = lab.name("relaxed" + i);
      SubscriptionGroupConfig config = new SubscriptionGroupConfig();
      config.setGroupName(group);
      config.setAttributes(new HashMap<>(Map.of("+priority.factor", "0")));
      lab.admin().createAndUpdateSubscriptionGroupConfig(lab.brokerAddress(), config);
      equal(lab.admin().examineSubscriptionGroupConfig(lab.brokerAddress(), group).getAttributes().get("priority.factor"), "0",
          "attribute of the group");
      if (i == 0) sendPriorities(lab, topic);
      PopCases.Popped part = PopCases.pop(lab, topic, group, 60_000, 0, false, 1);
      isOther = part.messages.get(0).getQueueId() != QUEUES - 1;
    }
    check(isOther, "20 pops of groups without priorities all began at the highest");
  }

  /** A topic's kind is told back and not checked by the broker: the proxy does that. */
  private static void messageTypes(Lab lab) throws Exception {
    for (String type : List.of("NORMAL", "FIFO", "DELAY", "TRANSACTION", "UNSPECIFIED")) {
      String topic = typedTopic(lab, type, type);
      equal(lab.admin().examineTopicConfig(lab.brokerAddress(), topic).getAttributes().get("message.type"), type, "attribute");
      Message sharded = SendCases.message(topic, "fifo");
      sharded.putUserProperty("__SHARDINGKEY", "k");
      Message timed = SendCases.message(topic, "delay");
      timed.setDelayTimeMs(1000);
      Message urgent = SendCases.message(topic, "priority");
      urgent.setPriority(1);
      for (Message message : List.of(SendCases.message(topic, "normal"), sharded, timed, urgent)) lab.send(message);
      DefaultMQPushConsumer consumer = lab.newPush(lab.name("reader" + type));
      consumer.subscribe(topic, "*");
      Inbox inbox = new Inbox().of(consumer);
      consumer.start();
      inbox.expectExactly(List.of("normal", "fifo", "delay", "priority"), 20);
    }
    equal(Checks.refusal("MIXED", () -> typedTopic(lab, "mixed", "MIXED")), INVALID_PARAMETER, "MIXED, when not enabled");
    Checks.refusal("an unknown kind", () -> typedTopic(lab, "unknown", "OTHER"));
  }

  private static SubscriptionGroupConfig policy(Lab lab, String group, GroupRetryPolicy policy) throws Exception {
    SubscriptionGroupConfig config = new SubscriptionGroupConfig();
    config.setGroupName(group);
    config.setGroupRetryPolicy(policy);
    lab.admin().createAndUpdateSubscriptionGroupConfig(lab.brokerAddress(), config);
    return lab.admin().examineSubscriptionGroupConfig(lab.brokerAddress(), group);
  }

  private static GroupRetryPolicy customized(long... next) {
    GroupRetryPolicy policy = new GroupRetryPolicy();
    policy.setType(GroupRetryPolicyType.CUSTOMIZED);
    policy.setCustomizedRetryPolicy(new CustomizedRetryPolicy(next));
    return policy;
  }

  private static GroupRetryPolicy exponential(long initial, long max, long multiplier) {
    GroupRetryPolicy policy = new GroupRetryPolicy();
    policy.setType(GroupRetryPolicyType.EXPONENTIAL);
    policy.setExponentialRetryPolicy(new ExponentialRetryPolicy(initial, max, multiplier));
    return policy;
  }

  /** Both kinds are kept and told back, for the proxy and for whoever asks. */
  private static void retryPolicies(Lab lab) throws Exception {
    var customized = policy(lab, lab.name("customized"), customized(1000, 2000, 5000)).getGroupRetryPolicy();
    equal(customized.getType(), GroupRetryPolicyType.CUSTOMIZED, "type");
    equal(customized.getRetryPolicy().nextDelayDuration(0), 5000L, "first delay: the third of the list");
    var exponential = policy(lab, lab.name("exponential"), exponential(1000, 9000, 3)).getGroupRetryPolicy();
    equal(exponential.getType(), GroupRetryPolicyType.EXPONENTIAL, "type");
    equal(exponential.getRetryPolicy().nextDelayDuration(1), 3000L, "second delay");
    equal(exponential.getRetryPolicy().nextDelayDuration(9), 9000L, "a later delay");
  }

  /** The delays of a push consumer's retries are the policy's. */
  private static void retryByPolicy(Lab lab) throws Exception {
    Map<String, GroupRetryPolicy> policies = Map.of("customized", customized(0, 0, 2000, 4000), "exponential", exponential(2000, 4000, 2));
    for (String kind : policies.keySet()) {
      String topic = lab.topic(kind, 1);
      String group = lab.name(kind);
      policy(lab, group, policies.get(kind));
      DefaultMQPushConsumer first = lab.newPush(group);
      first.subscribe(topic, "*");
      new Inbox().of(first);
      first.start();
      await("the retry topic", 15, () -> lab.admin().examineTopicRouteInfo("%RETRY%" + group).getQueueDatas().size() == 1);
      first.shutdown();
      List<Long> times = Collections.synchronizedList(new ArrayList<>());
      DefaultMQPushConsumer consumer = lab.newPush(group);
      consumer.subscribe(topic, "*");
      consumer.registerMessageListener((MessageListenerConcurrently) (batch, context) -> {
        times.add(batch.get(0).getStoreTimestamp());
        return times.size() == 3 ? ConsumeConcurrentlyStatus.CONSUME_SUCCESS : ConsumeConcurrentlyStatus.RECONSUME_LATER;
      });
      consumer.start();
      lab.send(SendCases.message(topic, "again"));
      await("two retries by the policy " + kind, 30, () -> times.size() == 3);
      check(times.get(1) - times.get(0) >= 1900, kind + ": first delay " + (times.get(1) - times.get(0)));
      check(times.get(2) - times.get(1) >= 3900, kind + ": second delay " + (times.get(2) - times.get(1)));
      check(times.get(2) - times.get(0) < 20_000, kind + ": the delay levels' " + (times.get(2) - times.get(0)));
      consumer.shutdown();
    }
  }
}
