package millrace;

import static millrace.Checks.await;
import static millrace.Checks.check;
import static millrace.Checks.equal;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.ConsumeOrderlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.consumer.listener.MessageListenerOrderly;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageConst;
import org.apache.rocketmq.common.message.MessageExt;

/** What fails again and again ends as a dead letter. */
final class DeadLetterCases {
  private static final int RETRIES = 16;

  private DeadLetterCases() {}

  static void register(Map<String, Case> cases) {
    cases.put("sixteenRetries", DeadLetterCases::sixteenRetries);
    cases.put("toDeadLetters", DeadLetterCases::toDeadLetters);
    cases.put("toDeadLettersAtOnce", DeadLetterCases::toDeadLettersAtOnce);
    cases.put("orderlyToDeadLetters", DeadLetterCases::orderlyToDeadLetters);
  }

  /**
   * The group's retry topic is made by its first heart-beat; a client that does not find the topic's route at its start looks
   * again 30 s later.
   */
  private static void makeRetryTopic(Lab lab, String topic, String group) throws Exception {
    DefaultMQPushConsumer first = lab.newPush(group);
    first.subscribe(topic, "*");
    new Inbox().of(first);
    first.start();
    await("route of the retry topic", 15, () -> lab.admin().examineTopicRouteInfo("%RETRY%" + group).getQueueDatas().size() == 1);
    first.shutdown();
  }

  private static Message letter(String topic) {
    Message message = SendCases.message(topic, "bad");
    message.setKeys("k1");
    message.setTags("TagA");
    message.putUserProperty("own", "kept");
    return message;
  }

  /** Fails each time, with the delay level that is told; what is noted is reconsumeTimes. */
  private static List<Integer> failing(DefaultMQPushConsumer consumer, String topic, int delayLevel) throws Exception {
    List<Integer> tries = Collections.synchronizedList(new ArrayList<>());
    consumer.subscribe(topic, "*");
    consumer.registerMessageListener((MessageListenerConcurrently) (batch, context) -> {
      for (MessageExt message : batch) tries.add(message.getReconsumeTimes());
      context.setDelayLevelWhenNextConsume(delayLevel);
      return ConsumeConcurrentlyStatus.RECONSUME_LATER;
    });
    return tries;
  }

  private static MessageExt deadLetter(Lab lab, String group, SendResult sent, String topic) throws Exception {
    String dead = "%DLQ%" + group;
    await("the dead letter", 30, () ->
        lab.admin().examineTopicStats(dead).getOffsetTable().values().stream().anyMatch(offset -> offset.getMaxOffset() == 1));
    Inbox inbox = SendCases.consume(lab, dead);
    inbox.expectExactly(List.of("bad"), 30);
    MessageExt letter = inbox.all().get(0);
    equal(letter.getTopic(), dead, "topic");
    equal(letter.getKeys(), "k1", "keys");
    equal(letter.getTags(), "TagA", "tags");
    equal(letter.getUserProperty("own"), "kept", "user property");
    equal(letter.getMsgId(), sent.getMsgId(), "unique id");
    equal(letter.getProperty(MessageConst.PROPERTY_RETRY_TOPIC), topic, "RETRY_TOPIC");
    return letter;
  }

  /** As many as a group has by default, a second apart. */
  private static void sixteenRetries(Lab lab) throws Exception {
    String topic = lab.topic("sixteen", 1);
    String group = lab.name("fails");
    makeRetryTopic(lab, topic, group);
    DefaultMQPushConsumer consumer = lab.newPush(group);
    List<Integer> tries = failing(consumer, topic, 1);
    consumer.start();
    SendResult sent = lab.send(letter(topic));
    List<Integer> wanted = new ArrayList<>();
    for (int i = 0; i <= RETRIES; i++) wanted.add(i);
    await(RETRIES + " retries, after " + tries, 70, () -> tries.size() > RETRIES);
    equal(deadLetter(lab, group, sent, topic).getReconsumeTimes(), RETRIES + 1, "reconsumeTimes of the dead letter");
    equal(tries, wanted, "reconsumeTimes of the tries");
  }

  /** After as many retries as the consumer wants. */
  private static void toDeadLetters(Lab lab) throws Exception {
    String topic = lab.topic("dead", 1);
    String group = lab.name("fails");
    makeRetryTopic(lab, topic, group);
    DefaultMQPushConsumer consumer = lab.newPush(group);
    consumer.setMaxReconsumeTimes(2);
    List<Integer> tries = failing(consumer, topic, 1);
    consumer.start();
    SendResult sent = lab.send(letter(topic));
    MessageExt letter = deadLetter(lab, group, sent, topic);
    equal(tries, List.of(0, 1, 2), "reconsumeTimes of the tries");
    equal(letter.getReconsumeTimes(), 3, "reconsumeTimes of the dead letter");
    equal(letter.getProperty(MessageConst.PROPERTY_ORIGIN_MESSAGE_ID), sent.getOffsetMsgId(), "ORIGIN_MESSAGE_ID");
    Thread.sleep(1500);
    equal(tries.size(), 3, "nothing comes back");
  }

  /** Delay level -1 is no delay but the end. */
  private static void toDeadLettersAtOnce(Lab lab) throws Exception {
    String topic = lab.topic("deadNow", 1);
    String group = lab.name("fails");
    DefaultMQPushConsumer consumer = lab.newPush(group);
    List<Integer> tries = failing(consumer, topic, -1);
    consumer.start();
    SendResult sent = lab.send(letter(topic));
    deadLetter(lab, group, sent, topic);
    equal(tries, List.of(0), "reconsumeTimes of the tries");
  }

  /** In order, a message is tried in place, and what stands behind it waits until it is dead. */
  private static void orderlyToDeadLetters(Lab lab) throws Exception {
    String topic = lab.topic("deadOrder", 1);
    String group = lab.name("line");
    List<String> calls = Collections.synchronizedList(new ArrayList<>());
    DefaultMQPushConsumer consumer = lab.newPush(group);
    consumer.setMaxReconsumeTimes(2);
    consumer.setSuspendCurrentQueueTimeMillis(200);
    consumer.subscribe(topic, "*");
    consumer.registerMessageListener((MessageListenerOrderly) (batch, context) -> {
      MessageExt message = batch.get(0);
      calls.add(Inbox.text(message) + message.getReconsumeTimes());
      return Inbox.text(message).equals("bad")
          ? ConsumeOrderlyStatus.SUSPEND_CURRENT_QUEUE_A_MOMENT : ConsumeOrderlyStatus.SUCCESS;
    });
    lab.send(SendCases.message(topic, "before"));
    SendResult sent = lab.send(letter(topic));
    lab.send(SendCases.message(topic, "behind"));
    consumer.start();
    await("the message behind, after " + calls, 40, () -> calls.contains("behind0"));
    check(calls.indexOf("bad2") < calls.indexOf("behind0"), "order of " + calls);
    equal(calls, List.of("before0", "bad0", "bad1", "bad2", "behind0"), "calls of the listener");
    deadLetter(lab, group, sent, topic);
  }
}
