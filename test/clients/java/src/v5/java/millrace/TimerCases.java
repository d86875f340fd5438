package millrace;

import static millrace.Checks.await;
import static millrace.Checks.check;
import static millrace.Checks.equal;

import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.stream.Collectors;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.Message;

/** Messages with a time of their own, as the 5.x client sets it and takes it back; recallMessageEnable. */
final class TimerCases {
  private static final int ILLEGAL_OPERATION = 604;
  /** A second of the wheel's own, one for the reading of the queue, the rest for a busy machine. */
  private static final long LATE_MAX_MS = 2500;

  private TimerCases() {}

  static void register(Map<String, Case> cases) {
    cases.put("timedBySetters", TimerCases::timedBySetters);
    cases.put("recall", TimerCases::recall);
  }

  /** Started and in possession of the topic's only queue, so that its own start delays no message. */
  private static void read(Lab lab, String topic, MessageListenerConcurrently listener) throws Exception {
    DefaultMQPushConsumer consumer = lab.newPush(lab.name("reader"));
    consumer.subscribe(topic, "*");
    consumer.registerMessageListener(listener);
    consumer.start();
    await("the consumer has the queue", 15, () -> Lab.assigned(consumer, topic).size() == 1);
  }

  /** Each arrives not before its time and soon after it, by the clock of the reader. */
  private static void timedBySetters(Lab lab) throws Exception {
    String topic = lab.topic("setters", 1);
    Inbox inbox = new Inbox();
    Map<String, Long> arrived = new ConcurrentHashMap<>();
    read(lab, topic, (batch, context) -> {
      long now = System.currentTimeMillis();
      batch.forEach(message -> arrived.putIfAbsent(Inbox.text(message), now));
      inbox.add(batch);
      return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
    });
    lab.send(SendCases.message(topic, "now"));
    Message sec = SendCases.message(topic, "sec");
    sec.setDelayTimeSec(6);
    Message ms = SendCases.message(topic, "ms");
    ms.setDelayTimeMs(2300);
    Message at = SendCases.message(topic, "at");
    long begun = System.currentTimeMillis();
    at.setDeliverTimeMs(begun + 9700);
    for (Message message : List.of(at, sec, ms)) lab.send(message);
    long sent = System.currentTimeMillis();
    inbox.expectExactly(List.of("now", "ms", "sec", "at"), 30);
    equal(inbox.bodies(), List.of("now", "ms", "sec", "at"), "order of arrival");
    Map<String, Long> delays = Map.of("ms", 2300L, "sec", 6000L, "at", 9700L);
    String told = delays.keySet().stream().sorted()
        .map(body -> body + " " + (arrived.get(body) - sent - delays.get(body)) + " ms").collect(Collectors.joining(", "));
    delays.forEach((body, delay) -> {
      check(arrived.get(body) >= begun + delay, body + " came early; after their times: " + told);
      check(arrived.get(body) <= sent + delay + LATE_MAX_MS, body + " came late; after their times: " + told);
    });
    lab.note("after their times: " + told);
  }

  /** A message that waits is taken back by its handle and never comes; its neighbours of the same time do. */
  private static void recall(Lab lab) throws Exception {
    String topic = lab.topic("recall", 1);
    String other = lab.topic("recallOther", 1);
    Inbox inbox = new Inbox();
    read(lab, topic, (batch, context) -> {
      inbox.add(batch);
      return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
    });
    equal(lab.send(SendCases.message(topic, "now")).getRecallHandle(), null, "handle of a message without a time");
    long time = System.currentTimeMillis() + 6000;
    SendResult before = lab.send(timed(topic, "before", time));
    SendResult taken = lab.send(timed(topic, "taken back", time));
    lab.send(timed(topic, "after", time));
    check(taken.getRecallHandle() != null, "no handle of a message with a time");
    int refused = Checks.refusal("a handle of another topic", () -> lab.producer().recallMessage(other, before.getRecallHandle()));
    equal(refused, ILLEGAL_OPERATION, "code for a handle of another topic");
    equal(lab.producer().recallMessage(topic, taken.getRecallHandle()), taken.getMsgId(), "id in the answer");
    lab.send(timed(topic, "last", time + 4000));
    // What was sent for a later time shows that the time of the recalled one is over.
    inbox.expectExactly(List.of("now", "before", "after", "last"), 30);
    int late = Checks.refusal("a handle whose time is over", () -> lab.producer().recallMessage(topic, before.getRecallHandle()));
    equal(late, ILLEGAL_OPERATION, "code for a handle whose time is over");
    Thread.sleep(1500);
    equal(inbox.size(), 4, "deliveries");
  }

  private static Message timed(String topic, String body, long timeMs) {
    Message message = SendCases.message(topic, body);
    message.setDeliverTimeMs(timeMs);
    return message;
  }
}
