package millrace;

import static millrace.Checks.await;
import static millrace.Checks.check;
import static millrace.Checks.equal;
import static millrace.Checks.sameSet;

import java.text.SimpleDateFormat;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Date;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.apache.rocketmq.client.consumer.DefaultLitePullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

/** Where groups begin, and groups that are moved or stopped while they run. */
final class MovingCases {

  private MovingCases() {}

  static void register(Map<String, Case> cases) {
    cases.put("resetLitePull", MovingCases::resetLitePull);
    cases.put("cloneOffsets", MovingCases::cloneOffsets);
    cases.put("suspendPush", MovingCases::suspendPush);
    cases.put("pauseLitePull", MovingCases::pauseLitePull);
    cases.put("fromWhere", MovingCases::fromWhere);
  }

  private static List<String> early(Lab lab, String topic) throws Exception {
    List<String> early = SendCases.bodies("early", 20);
    for (String body : early) lab.send(SendCases.message(topic, body));
    return early;
  }

  private static List<String> late(Lab lab, String topic) throws Exception {
    List<String> late = SendCases.bodies("late", 20);
    for (String body : late) lab.send(SendCases.message(topic, body));
    return late;
  }

  private static List<String> poll(DefaultLitePullConsumer consumer, int count, int seconds) {
    List<String> bodies = new ArrayList<>();
    long end = System.nanoTime() + seconds * 1_000_000_000L;
    while (bodies.size() < count && System.nanoTime() < end) {
      for (MessageExt message : consumer.poll(500)) bodies.add(Inbox.text(message));
    }
    return bodies;
  }

  /** A group of lite pull consumers that is set back by time goes on there, while it runs. */
  private static void resetLitePull(Lab lab) throws Exception {
    String topic = lab.topic("resetLite", 2);
    String group = lab.name("rewound");
    List<String> all = new ArrayList<>(early(lab, topic));
    Thread.sleep(300);
    long middle = System.currentTimeMillis();
    Thread.sleep(300);
    List<String> late = late(lab, topic);
    all.addAll(late);
    DefaultLitePullConsumer consumer = lab.newLitePull(group);
    consumer.setAutoCommitIntervalMillis(1000);
    consumer.subscribe(topic, "*");
    consumer.start();
    sameSet(poll(consumer, 40, 20), all, "first pass");
    // Commits are done by polls.
    await("all is committed", 20, () -> {
      check(consumer.poll(100).isEmpty(), "more than there is");
      return lab.admin().examineConsumeStats(group, topic).computeTotalDiff() == 0;
    });
    Map<MessageQueue, Long> moved = lab.admin().resetOffsetByTimestamp(topic, group, middle, true);
    equal(moved.values().stream().mapToLong(Long::longValue).sum(), 20L, "sum of the new offsets");
    List<String> again = poll(consumer, 20, 40);
    again.addAll(poll(consumer, 1, 1));
    equal(again.size(), 20, "second pass");
    sameSet(again, late, "second pass");
    await("the second pass is committed", 20, () -> {
      check(consumer.poll(100).isEmpty(), "more than there is");
      return lab.admin().examineConsumeStats(group, topic).computeTotalDiff() == 0;
    });
  }

  /** A group gets the offsets of another one, and begins where that one is. */
  private static void cloneOffsets(Lab lab) throws Exception {
    String topic = lab.topic("clone", 2);
    String from = lab.name("cloneFrom");
    String to = lab.name("cloneTo");
    List<String> early = early(lab, topic);
    DefaultMQPushConsumer first = lab.newPush(from);
    first.subscribe(topic, "*");
    Inbox inbox = new Inbox().of(first);
    first.start();
    inbox.expectExactly(early, 20);
    await("all is committed", 20, () -> lab.admin().examineConsumeStats(from, topic).computeTotalDiff() == 0);
    first.shutdown();
    lab.admin().cloneGroupOffset(from, to, topic, true);
    List<String> late = late(lab, topic);
    DefaultMQPushConsumer second = lab.newPush(to);
    second.subscribe(topic, "*");
    Inbox rest = new Inbox().of(second);
    second.start();
    rest.expectExactly(late, 20);
  }

  /** A suspended consumer keeps its queues, hands out nothing, and misses nothing. */
  private static void suspendPush(Lab lab) throws Exception {
    String topic = lab.topic("suspended", 2);
    DefaultMQPushConsumer consumer = lab.newPush(lab.name("sleeper"));
    consumer.subscribe(topic, "*");
    Inbox inbox = new Inbox().of(consumer);
    consumer.start();
    inbox.expectExactly(early(lab, topic), 20);
    consumer.suspend();
    // A pull that is held at the broker when the consumer stops is still answered and handed out, one for each queue.
    lab.send(SendCases.message(topic, "ends the held pull"), lab.queue(topic, 0));
    lab.send(SendCases.message(topic, "ends the other"), lab.queue(topic, 1));
    await("the held pulls end", 20, () -> inbox.size() == 22);
    inbox.clear();
    List<String> late = late(lab, topic);
    Thread.sleep(2500);
    equal(inbox.size(), 0, "deliveries while suspended");
    equal(Lab.assigned(consumer, topic).size(), 2, "queues while suspended");
    consumer.resume();
    inbox.expectExactly(late, 20);
  }

  /** A paused queue of a lite pull consumer hands out nothing until it is resumed; the other one goes on. */
  private static void pauseLitePull(Lab lab) throws Exception {
    String topic = lab.topic("paused", 2);
    DefaultLitePullConsumer consumer = lab.newLitePull(lab.name("pauser"));
    consumer.subscribe(topic, "*");
    consumer.start();
    await("both queues", 20, () -> consumer.assignment().size() == 2);
    MessageQueue still = lab.queue(topic, 0);
    consumer.pause(List.of(still));
    // A pull that is held at the broker at that moment is still answered and handed out; there may be none yet.
    lab.send(SendCases.message(topic, "ends the held pull"), still);
    List<String> held = poll(consumer, 1, 5);
    List<String> left = held.isEmpty() ? List.of("ends the held pull", "held back") : List.of("held back");
    if (!held.isEmpty()) equal(held, List.of("ends the held pull"), "of the held pull");
    lab.send(SendCases.message(topic, "held back"), still);
    lab.send(SendCases.message(topic, "goes on"), lab.queue(topic, 1));
    equal(poll(consumer, 1, 20), List.of("goes on"), "of the queue that is not paused");
    equal(poll(consumer, 1, 2), List.of(), "of the paused queue");
    consumer.resume(List.of(still));
    equal(poll(consumer, left.size(), 20), left, "after the resumption");
  }

  /**
   * First, last, and a time. By broadcast, whose consumers keep their offsets themselves: a group's start at a young topic is
   * the broker's to say (case fromLast).
   */
  private static void fromWhere(Lab lab) throws Exception {
    String topic = lab.topic("where", 2);
    List<String> early = early(lab, topic);
    Thread.sleep(2100); // The client's time is in whole seconds.
    String middle = new SimpleDateFormat("yyyyMMddHHmmss").format(new Date());
    Thread.sleep(1100);
    List<String> late = late(lab, topic);
    // The queues' ends may lag behind the answers to sends.
    await("all are in the queues", 10, () ->
        lab.producer().maxOffset(lab.queue(topic, 0)) + lab.producer().maxOffset(lab.queue(topic, 1)) == 40);
    Map<ConsumeFromWhere, List<String>> wanted = new LinkedHashMap<>();
    wanted.put(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET, joined(early, late));
    wanted.put(ConsumeFromWhere.CONSUME_FROM_TIMESTAMP, joined(late));
    wanted.put(ConsumeFromWhere.CONSUME_FROM_LAST_OFFSET, joined());
    Map<ConsumeFromWhere, Inbox> inboxes = new LinkedHashMap<>();
    for (ConsumeFromWhere where : wanted.keySet()) {
      DefaultMQPushConsumer consumer = lab.newPush(lab.name(where.name()));
      Api.broadcast(consumer);
      consumer.setConsumeFromWhere(where);
      consumer.setConsumeTimestamp(middle);
      consumer.subscribe(topic, "*");
      inboxes.put(where, new Inbox().of(consumer));
      consumer.start();
      await("its queues", 15, () -> Lab.assigned(consumer, topic).size() == 2);
    }
    for (String body : List.of("after 0", "after 1")) {
      lab.send(SendCases.message(topic, body));
      wanted.values().forEach(bodies -> bodies.add(body));
    }
    for (ConsumeFromWhere where : wanted.keySet()) inboxes.get(where).expectExactly(wanted.get(where), 20);
  }

  @SafeVarargs
  private static List<String> joined(Collection<String>... parts) {
    List<String> all = new ArrayList<>();
    for (Collection<String> part : parts) all.addAll(part);
    return all;
  }
}
