package millrace;

import static millrace.Checks.await;
import static millrace.Checks.equal;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeOrderlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerOrderly;

/** Orderly consumption: queue locks, order of each shard key, handing queues over. */
final class OrderCases {
  private static final int QUEUES = 4;
  private static final int SHARDS = 10;

  private OrderCases() {}

  static void register(Map<String, Case> cases) {
    cases.put("orderly", OrderCases::orderly);
    cases.put("orderlySuspend", OrderCases::orderlySuspend);
    cases.put("orderlyTwo", OrderCases::orderlyTwo);
  }

  private static void sendShards(Lab lab, String topic, int from, int to) throws Exception {
    for (int i = from; i < to; i++) {
      for (int shard = 0; shard < SHARDS; shard++) {
        lab.producer().send(SendCases.message(topic, shard + ":" + i), (queues, message, key) ->
            queues.get((Integer) key % queues.size()), shard);
      }
    }
  }

  /** Places of each shard in the order of their consumption. */
  private static Map<String, List<Integer>> shards(List<String> bodies) {
    Map<String, List<Integer>> shards = new TreeMap<>();
    for (String body : bodies) {
      String[] parts = body.split(":");
      shards.computeIfAbsent(parts[0], shard -> new ArrayList<>()).add(Integer.parseInt(parts[1]));
    }
    return shards;
  }

  private static void exactOrder(Inbox inbox, int count, int seconds) throws InterruptedException {
    await(count * SHARDS + " messages, got " + inbox.size(), seconds, () -> inbox.size() >= count * SHARDS);
    Thread.sleep(300);
    List<Integer> places = new ArrayList<>();
    for (int i = 0; i < count; i++) places.add(i);
    Map<String, List<Integer>> shards = shards(inbox.bodies());
    equal(shards.size(), SHARDS, "shards");
    shards.forEach((shard, got) -> equal(got, places, "order in shard " + shard));
  }

  private static DefaultMQPushConsumer orderlyConsumer(Lab lab, String topic, String group, Inbox inbox) throws Exception {
    DefaultMQPushConsumer consumer = lab.newPush(group);
    consumer.subscribe(topic, "*");
    consumer.registerMessageListener((MessageListenerOrderly) (batch, context) -> {
      inbox.add(batch);
      return ConsumeOrderlyStatus.SUCCESS;
    });
    return consumer;
  }

  private static void orderly(Lab lab) throws Exception {
    String topic = lab.topic("orderly", QUEUES);
    Inbox inbox = new Inbox();
    sendShards(lab, topic, 0, 20);
    orderlyConsumer(lab, topic, lab.name("line"), inbox).start();
    sendShards(lab, topic, 20, 40);
    exactOrder(inbox, 40, 30);
  }

  /** A listener that says "suspend" gets the same batch again and nothing behind it before. */
  private static void orderlySuspend(Lab lab) throws Exception {
    String topic = lab.topic("suspend", 1);
    List<String> calls = new ArrayList<>();
    DefaultMQPushConsumer consumer = lab.newPush(lab.name("line"));
    consumer.subscribe(topic, "*");
    consumer.setSuspendCurrentQueueTimeMillis(200);
    consumer.registerMessageListener((MessageListenerOrderly) (batch, context) -> {
      String body = Inbox.text(batch.get(0));
      synchronized (calls) {
        calls.add(body);
        boolean first = calls.indexOf(body) == calls.size() - 1;
        return first && body.equals("b") ? ConsumeOrderlyStatus.SUSPEND_CURRENT_QUEUE_A_MOMENT : ConsumeOrderlyStatus.SUCCESS;
      }
    });
    for (String body : List.of("a", "b", "c")) lab.send(SendCases.message(topic, body));
    consumer.start();
    await("all three", 20, () -> {
      synchronized (calls) {
        return calls.contains("c");
      }
    });
    equal(calls, List.of("a", "b", "b", "c"), "calls of the listener");
  }

  /** Two orderly consumers split the queues by locks; when one stops the other goes on in order, from its offsets. */
  private static void orderlyTwo(Lab lab) throws Exception {
    String topic = lab.topic("orderlyTwo", QUEUES);
    String group = lab.name("line");
    Inbox inbox = new Inbox();
    DefaultMQPushConsumer one = orderlyConsumer(lab, topic, group, inbox);
    DefaultMQPushConsumer two = orderlyConsumer(lab, topic, group, inbox);
    one.start();
    await("the first consumer holds all queues", 30, () -> Lab.assigned(one, topic).size() == QUEUES);
    two.start();
    // A lock that is refused is tried again at the client's next rebalance, which may be 20 s away in 4.x.
    await("both hold two queues", 30, () ->
        Lab.assigned(one, topic).size() == QUEUES / 2 && Lab.assigned(two, topic).size() == QUEUES / 2);
    sendShards(lab, topic, 0, 20);
    exactOrder(inbox, 20, 20);
    two.shutdown();
    sendShards(lab, topic, 20, 40);
    exactOrder(inbox, 40, 30);
  }
}
