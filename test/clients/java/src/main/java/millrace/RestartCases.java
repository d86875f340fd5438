package millrace;

import static millrace.Checks.await;
import static millrace.Checks.equal;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageQueue;

/**
 * Two halves around a restart of the broker, in two runs that share `--run`: topics, messages, offsets, group settings
 * and the key index are all there again.
 */
final class RestartCases {
  private static final int QUEUES = 4;

  private RestartCases() {}

  static void register(Map<String, Case> cases) {
    cases.put("beforeRestart", RestartCases::before);
    cases.put("afterRestart", RestartCases::after);
  }

  private static Message keyed(String topic, String body) {
    Message message = SendCases.message(topic, body);
    message.setKeys("key-" + body);
    return message;
  }

  private static Inbox start(Lab lab, String group, String topic) throws Exception {
    DefaultMQPushConsumer consumer = lab.newPush(group);
    consumer.subscribe(topic, "*");
    Inbox inbox = new Inbox().of(consumer);
    consumer.start();
    return inbox;
  }

  private static void before(Lab lab) throws Exception {
    String topic = lab.shared("kept");
    lab.createTopic(topic, QUEUES);
    Api.putGroup(lab.admin(), lab.brokerAddress(), lab.shared("reader"), 5, true);
    List<String> read = SendCases.bodies("read", 40);
    for (int i = 0; i < read.size(); i++) lab.send(keyed(topic, read.get(i)), lab.queue(topic, i % QUEUES));
    DefaultMQPushConsumer consumer = lab.newPush(lab.shared("reader"));
    consumer.subscribe(topic, "*");
    Inbox inbox = new Inbox().of(consumer);
    consumer.start();
    inbox.expectExactly(read, 20);
    consumer.shutdown();
    List<String> unread = SendCases.bodies("unread", 20);
    for (int i = 0; i < unread.size(); i++) lab.send(keyed(topic, unread.get(i)), lab.queue(topic, i % QUEUES));
  }

  private static void after(Lab lab) throws Exception {
    String topic = lab.shared("kept");
    equal(lab.admin().examineTopicRouteInfo(topic).getQueueDatas().get(0).getWriteQueueNums(), QUEUES, "queues of the topic");
    equal(lab.admin().examineSubscriptionGroupConfig(lab.brokerAddress(), lab.shared("reader")).getRetryMaxTimes(), 5, "retryMaxTimes");
    start(lab, lab.shared("reader"), topic).expectExactly(SendCases.bodies("unread", 20), 30);
    List<String> all = new ArrayList<>(SendCases.bodies("read", 40));
    all.addAll(SendCases.bodies("unread", 20));
    start(lab, lab.shared("newcomer"), topic).expectExactly(all, 30);
    MessageQueue queue = lab.queue(topic, 0);
    equal(lab.producer().maxOffset(queue), 15L, "max offset of queue 0");
    equal(lab.send(keyed(topic, "more"), queue).getQueueOffset(), 15L, "queue offset after the restart");
    for (String body : List.of("read-7", "more")) {
      await("key of " + body, 15, () -> {
        var found = lab.producer().queryMessage(topic, "key-" + body, 10, 0, System.currentTimeMillis() + 1000).getMessageList();
        return found.size() == 1 && Inbox.text(found.get(0)).equals(body);
      });
    }
  }
}
