package millrace;

import static millrace.Checks.await;
import static millrace.Checks.equal;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.tools.admin.api.MessageTrack;

/** What mqadmin's queryMsgById, queryMsgByUniqueKey and queryMsgByKey ask for. */
final class QueryCases {
  private static final int COUNT = 40;

  private QueryCases() {}

  static void register(Map<String, Case> cases) {
    cases.put("queryByKey", QueryCases::queryByKey);
    cases.put("messageTrack", QueryCases::messageTrack);
  }

  private static void queryByKey(Lab lab) throws Exception {
    String topic = lab.topic("query", 2);
    long begin = System.currentTimeMillis() - 1000;
    List<SendResult> sent = new ArrayList<>();
    for (int i = 0; i < COUNT; i++) {
      Message message = SendCases.message(topic, "q" + i);
      message.setKeys(List.of("all", i % 4 == 0 ? "fourth" : "other"));
      sent.add(lab.send(message));
    }
    long end = System.currentTimeMillis() + 1000;
    await("all by key", 15, () -> lab.admin().queryMessage(topic, "all", 64, begin, end).getMessageList().size() == COUNT);
    equal(lab.admin().queryMessage(topic, "fourth", 64, begin, end).getMessageList().size(), COUNT / 4, "messages of the key");
    equal(lab.admin().queryMessage(topic, "all", 7, begin, end).getMessageList().size(), 7, "as many as asked for");
    SendResult some = sent.get(17);
    MessageExt byUniqueKey = lab.admin().viewMessage(topic, some.getMsgId());
    equal(Inbox.text(byUniqueKey), "q17", "by unique key");
    equal(Inbox.text(lab.admin().viewMessage(topic, some.getOffsetMsgId())), "q17", "by offset id");
    equal(byUniqueKey.getQueueOffset(), some.getQueueOffset(), "queue offset");
  }

  private static void messageTrack(Lab lab) throws Exception {
    String topic = lab.topic("track", 1);
    String wants = lab.name("wantsA");
    String left = lab.name("left");
    // 4.9 asks for the group's progress without the topic, learns of none, and takes the group for absent.
    String waits = lab.name("waits");
    DefaultMQPushConsumer online = lab.newPush(wants);
    online.subscribe(topic, "A");
    Inbox onlyA = new Inbox().of(online);
    DefaultMQPushConsumer gone = lab.newPush(left);
    gone.subscribe(topic, "*");
    Inbox all = new Inbox().of(gone);
    DefaultMQPushConsumer suspended = lab.newPush(waits);
    suspended.subscribe(topic, "*");
    new Inbox().of(suspended);
    suspended.start();
    suspended.suspend();
    online.start();
    gone.start();
    List<SendResult> sent = new ArrayList<>();
    for (String tag : List.of("A", "B", "A")) {
      Message message = SendCases.message(topic, tag + sent.size());
      message.setTags(tag);
      sent.add(lab.send(message));
    }
    onlyA.expectExactly(List.of("A0", "A2"), 20);
    all.expectExactly(List.of("A0", "B1", "A2"), 20);
    gone.shutdown();
    MessageExt a = lab.admin().viewMessage(topic, sent.get(0).getOffsetMsgId());
    MessageExt b = lab.admin().viewMessage(topic, sent.get(1).getOffsetMsgId());
    String wanted = "{" + left + "=NOT_ONLINE, " + waits + "=NOT_CONSUME_YET, " + wants + "=CONSUMED}";
    for (int i = 0; i < 150 && !tracks(lab, a).equals(wanted); i++) Thread.sleep(200);
    equal(tracks(lab, a), wanted, "tracks of a message that was wanted");
    String unwanted = "{" + left + "=NOT_ONLINE, " + waits + "=NOT_CONSUME_YET, " + wants + "=CONSUMED_BUT_FILTERED}";
    for (int i = 0; i < 150 && !tracks(lab, b).equals(unwanted); i++) Thread.sleep(200);
    equal(tracks(lab, b), unwanted, "tracks of a message that was not");
  }

  private static String tracks(Lab lab, MessageExt message) throws Exception {
    Map<String, String> tracks = new TreeMap<>();
    for (MessageTrack track : lab.admin().messageTrackDetail(message)) {
      tracks.put(track.getConsumerGroup(), String.valueOf(track.getTrackType()));
    }
    tracks.computeIfPresent(lab.name("waits"), (group, type) -> type.equals("NOT_ONLINE") ? "NOT_CONSUME_YET" : type);
    return tracks.toString();
  }
}
