package millrace;

import static millrace.Checks.check;
import static millrace.Checks.equal;

import java.util.List;
import java.util.Map;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;

/** Where a group starts to read, and that it goes on there after a restart. */
final class StartCases {
  private StartCases() {}

  static void register(Map<String, Case> cases) {
    cases.put("fromFirst", lab -> fromWhere(lab, ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET));
    // A broker answers offset 0 for a new group while a queue still has its first message in memory: so "last" reads
    // a young topic from its start too. (Apache `ConsumerManageProcessor.queryConsumerOffset`.)
    cases.put("fromLast", lab -> fromWhere(lab, ConsumeFromWhere.CONSUME_FROM_LAST_OFFSET));
    cases.put("resume", StartCases::resume);
  }

  private static void fromWhere(Lab lab, ConsumeFromWhere where) throws Exception {
    String topic = lab.topic("from", 4);
    List<String> bodies = SendCases.bodies("old", 40);
    for (String body : bodies) lab.send(SendCases.message(topic, body));
    DefaultMQPushConsumer consumer = lab.newPush(lab.name("fresh"));
    consumer.setConsumeFromWhere(where);
    consumer.subscribe(topic, "*");
    Inbox inbox = new Inbox().of(consumer);
    consumer.start();
    inbox.expectExactly(bodies, 20);
  }

  /** What was consumed before a stop does not come again; what arrived meanwhile does. */
  private static void resume(Lab lab) throws Exception {
    String topic = lab.topic("resume", 4);
    String group = lab.name("stayer");
    for (int life = 0; life < 3; life++) {
      List<String> bodies = SendCases.bodies("life" + life, 30);
      for (String body : bodies) lab.send(SendCases.message(topic, body));
      DefaultMQPushConsumer consumer = lab.newPush(group);
      consumer.subscribe(topic, "*");
      Inbox inbox = new Inbox().of(consumer);
      consumer.start();
      inbox.expectExactly(bodies, 20);
      consumer.shutdown();
      long committed = 0;
      var stats = lab.admin().examineConsumeStats(group, topic);
      for (var offset : stats.getOffsetTable().values()) committed += offset.getConsumerOffset();
      equal(committed, 30L * (life + 1), "sum of the committed offsets after life " + life);
      check(stats.computeTotalDiff() == 0, "lag " + stats.computeTotalDiff());
    }
  }
}
