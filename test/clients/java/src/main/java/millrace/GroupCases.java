package millrace;

import static millrace.Checks.await;
import static millrace.Checks.check;
import static millrace.Checks.sameSet;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;

/** Several consumers of one group: broadcast, the split of the queues, joining and leaving. */
final class GroupCases {
  private static final int QUEUES = 8;

  private GroupCases() {}

  static void register(Map<String, Case> cases) {
    cases.put("broadcast", GroupCases::broadcast);
    cases.put("twoConsumers", lab -> split(lab, 2));
    cases.put("threeConsumers", lab -> split(lab, 3));
  }

  private static void broadcast(Lab lab) throws Exception {
    String topic = lab.topic("broadcast", 4);
    List<Inbox> inboxes = new ArrayList<>();
    for (int i = 0; i < 2; i++) {
      DefaultMQPushConsumer consumer = lab.newPush(lab.name("everyone"));
      Api.broadcast(consumer);
      consumer.subscribe(topic, "*");
      inboxes.add(new Inbox().of(consumer));
      consumer.start();
      await("broadcast consumer reads all queues", 10, () -> Lab.assigned(consumer, topic).size() == 4);
    }
    List<String> bodies = SendCases.bodies("broadcast", 60);
    for (String body : bodies) lab.send(SendCases.message(topic, body));
    for (Inbox inbox : inboxes) inbox.expectExactly(bodies, 20);
  }

  /**
   * `count` consumers join one after the other; with a settled split each message comes exactly once and to all of
   * them in turn. Then one stops while messages go on: none is lost, and the rest is settled again without a repeat.
   */
  private static void split(Lab lab, int count) throws Exception {
    String topic = lab.topic("split", QUEUES);
    String group = lab.name("team");
    List<DefaultMQPushConsumer> consumers = new ArrayList<>();
    List<Inbox> inboxes = new ArrayList<>();
    for (int i = 0; i < count; i++) {
      DefaultMQPushConsumer consumer = lab.newPush(group);
      consumer.subscribe(topic, "*");
      inboxes.add(new Inbox().of(consumer));
      consumer.start();
      consumers.add(consumer);
      Lab.awaitSplit(topic, QUEUES, consumers);
    }
    List<String> settled = SendCases.bodies("settled", 400);
    for (String body : settled) lab.send(SendCases.message(topic, body));
    exactlyOnce(inboxes, settled);
    for (Inbox inbox : inboxes) check(inbox.size() > 0, "one consumer of " + count + " got nothing");

    inboxes.forEach(Inbox::clear);
    List<String> moving = SendCases.bodies("moving", 400);
    for (int i = 0; i < moving.size(); i++) {
      lab.send(SendCases.message(topic, moving.get(i)));
      if (i == 200) consumers.get(count - 1).shutdown();
    }
    await("nothing lost while one stops", 20, () -> {
      sameSet(together(inboxes), moving, "while one stops");
      return true;
    });
    int repeated = together(inboxes).size() - moving.size();

    List<DefaultMQPushConsumer> left = consumers.subList(0, count - 1);
    Lab.awaitSplit(topic, QUEUES, left);
    inboxes.forEach(Inbox::clear);
    List<String> after = SendCases.bodies("after", 200);
    for (String body : after) lab.send(SendCases.message(topic, body));
    exactlyOnce(inboxes, after);
    check(inboxes.get(count - 1).size() == 0, "the stopped consumer still receives");
    lab.note("repeated while one stopped: " + repeated);
  }

  private static List<String> together(List<Inbox> inboxes) {
    List<String> all = new ArrayList<>();
    for (Inbox inbox : inboxes) all.addAll(inbox.bodies());
    return all;
  }

  private static void exactlyOnce(List<Inbox> inboxes, List<String> bodies) throws InterruptedException {
    await("all messages arrive", 20, () -> {
      sameSet(together(inboxes), bodies, "among all consumers");
      return true;
    });
    Thread.sleep(300);
    check(together(inboxes).size() == bodies.size(), together(inboxes).size() - bodies.size() + " messages came twice");
  }
}
