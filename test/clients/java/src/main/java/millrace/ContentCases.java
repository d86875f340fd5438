package millrace;

import static java.nio.charset.StandardCharsets.UTF_8;
import static millrace.Checks.await;
import static millrace.Checks.check;
import static millrace.Checks.equal;
import static millrace.Checks.sameSet;

import java.util.Arrays;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;

/** What a message carries comes back as it went: body of every size, compression, properties, tags, keys. */
final class ContentCases {
  private static final int BODY_SIZE_MAX = 4 * 1024 * 1024;

  private ContentCases() {}

  static void register(Map<String, Case> cases) {
    cases.put("bodySizes", ContentCases::bodySizes);
    cases.put("compressedZlib", lab -> compressed(lab, "ZLIB"));
    cases.put("compressedLz4", lab -> compressed(lab, "LZ4"));
    cases.put("compressedZstd", lab -> compressed(lab, "ZSTD"));
    cases.put("properties", ContentCases::properties);
    cases.put("tags", ContentCases::tags);
    cases.put("keys", ContentCases::keys);
    cases.put("viewMessage", ContentCases::viewMessage);
  }

  private static byte[] randomBytes(int size) {
    byte[] bytes = new byte[size];
    new Random(size).nextBytes(bytes);
    return bytes;
  }

  private static void bodySizes(Lab lab) throws Exception {
    String topic = lab.topic("sizes", 2);
    DefaultMQProducer producer = lab.newProducer("plain");
    producer.setCompressMsgBodyOverHowmuch(Integer.MAX_VALUE);
    producer.setMaxMessageSize(BODY_SIZE_MAX);
    producer.start();
    List<Integer> sizes = List.of(1, 2, 255, 4095, 4096, 65_535, 65_536, 1 << 20, BODY_SIZE_MAX - 1, BODY_SIZE_MAX);
    for (int size : sizes) producer.send(new Message(topic, randomBytes(size)));
    Inbox inbox = SendCases.consume(lab, topic);
    await("all sizes", 30, () -> inbox.size() >= sizes.size());
    sameSet(inbox.map(m -> m.getBody().length), sizes, "body sizes");
    for (MessageExt message : inbox.all()) {
      check(Arrays.equals(message.getBody(), randomBytes(message.getBody().length)), "bytes of size " + message.getBody().length);
    }
  }

  private static void compressed(Lab lab, String type) throws Exception {
    String topic = lab.topic("compressed", 1);
    DefaultMQProducer producer = Api.compressing(type, () -> lab.newProducer("squeezer"));
    producer.start();
    String body = "the quick brown fox jumps over the lazy dog ".repeat(2000);
    producer.send(SendCases.message(topic, body));
    producer.send(SendCases.message(topic, "short, stays plain"));
    Inbox inbox = SendCases.consume(lab, topic);
    inbox.expectExactly(List.of(body, "short, stays plain"), 20);
    MessageExt big = inbox.all().stream().filter(m -> m.getBody().length > 1000).findFirst().orElseThrow();
    check(big.getStoreSize() < body.length() / 4, "stored as " + big.getStoreSize() + " bytes, not compressed");
    lab.note(body.length() + " bytes stored as " + big.getStoreSize());
  }

  private static void properties(Lab lab) throws Exception {
    String topic = lab.topic("properties", 1);
    Map<String, String> wanted = new LinkedHashMap<>();
    wanted.put("quotes", "\"double\" 'single' `back` \\ / \\\\ \\u0041");
    wanted.put("json", "{\"a\":[1,2,{\"b\":null}]}");
    wanted.put("lines", "a\nb\rc\td\be\ff");
    wanted.put("unicode", "żółć 消息 здравствуй עברית العربية");
    wanted.put("astral", "\uD83D\uDE80\uD834\uDD1E");
    wanted.put("separators", "\u2028\u2029\u0085\u00a0\ufeff");
    wanted.put("ключ.消息-\uD83D\uDE80", "a name that is not ASCII");
    wanted.put("pairs", "a=b&c=d;e:f,g|h");
    wanted.put("edges", " blank at both ends ");
    wanted.put("long", "x".repeat(20_000));
    StringBuilder low = new StringBuilder();
    // 1 and 2 part names and values on the wire; no client can carry them.
    for (char c = 3; c < 0x20; c++) low.append(c);
    wanted.put("control", low.append('\u007f').toString());
    Message message = SendCases.message(topic, "properties");
    wanted.forEach(message::putUserProperty);
    message.setBuyerId("buyer \"7\"");
    message.setFlag(-7);
    message.setKeys(List.of("k1", "ключ"));
    message.setTags("Tag-消息");
    lab.send(message);
    Inbox inbox = SendCases.consume(lab, topic);
    inbox.expectExactly(List.of("properties"), 20);
    MessageExt got = inbox.all().get(0);
    for (Map.Entry<String, String> property : wanted.entrySet()) {
      equal(got.getUserProperty(property.getKey()), property.getValue(), "property " + property.getKey());
    }
    equal(got.getBuyerId(), "buyer \"7\"", "buyer id");
    equal(got.getFlag(), -7, "flag");
    equal(got.getKeys(), "k1 ключ", "keys");
    equal(got.getTags(), "Tag-消息", "tags");
  }

  private static void tags(Lab lab) throws Exception {
    String topic = lab.topic("tags", 2);
    // The broker filters by Java's hash of the tag, and "Aa" and "BB" share one: the client must drop the rest.
    equal("Aa".hashCode(), "BB".hashCode(), "hash of the colliding tags");
    Map<String, List<String>> wanted = new HashMap<>();
    wanted.put("TagA || TagB", List.of("TagA", "TagB"));
    wanted.put("TagC", List.of("TagC"));
    wanted.put("Aa", List.of("Aa"));
    wanted.put("*", List.of("TagA", "TagB", "TagC", "Aa", "BB", "none"));
    Map<String, Inbox> inboxes = new HashMap<>();
    int number = 0;
    for (String expression : wanted.keySet()) {
      DefaultMQPushConsumer consumer = lab.newPush(lab.name("filter" + number++));
      consumer.subscribe(topic, expression);
      inboxes.put(expression, new Inbox().of(consumer));
      consumer.start();
    }
    for (int round = 0; round < 5; round++) {
      for (String tag : wanted.get("*")) {
        Message message = SendCases.message(topic, tag + round);
        if (!tag.equals("none")) message.setTags(tag);
        lab.send(message);
      }
    }
    for (String expression : wanted.keySet()) {
      List<String> bodies = new java.util.ArrayList<>();
      for (String tag : wanted.get(expression)) for (int round = 0; round < 5; round++) bodies.add(tag + round);
      inboxes.get(expression).expectExactly(bodies, 20);
    }
  }

  private static void keys(Lab lab) throws Exception {
    String topic = lab.topic("keys", 2);
    long before = System.currentTimeMillis() - 1000;
    Message one = SendCases.message(topic, "one");
    one.setKeys(List.of("order-1", "shared"));
    Message two = SendCases.message(topic, "two");
    two.setKeys("shared");
    lab.send(one);
    lab.send(two);
    lab.send(SendCases.message(topic, "no key"));
    queryFinds(lab, topic, "order-1", before, List.of("one"));
    queryFinds(lab, topic, "shared", before, List.of("one", "two"));
    int none = Checks.refusal("query of an unknown key", () ->
        lab.producer().queryMessage(topic, "no-such-key", 10, before, System.currentTimeMillis() + 1000));
    int past = Checks.refusal("query before the first message", () ->
        lab.producer().queryMessage(topic, "shared", 10, before - 7_200_000, before - 3_600_000));
    lab.note("client codes for nothing found: " + none + ", " + past);
  }

  private static void queryFinds(Lab lab, String topic, String key, long begin, List<String> bodies) throws Exception {
    await("key " + key + " finds " + bodies, 15, () -> {
      try {
        var found = lab.producer().queryMessage(topic, key, 32, begin, System.currentTimeMillis() + 1000).getMessageList();
        sameSet(found.stream().map(Inbox::text).collect(java.util.stream.Collectors.toList()), bodies, "found by " + key);
        return found.size() == bodies.size();
      } catch (MQClientException notYet) {
        return false;
      }
    });
  }

  private static void viewMessage(Lab lab) throws Exception {
    String topic = lab.topic("view", 1);
    Message message = SendCases.message(topic, "look at me");
    message.putUserProperty("p", "v");
    SendResult result = lab.send(message);
    MessageExt byOffset = lab.producer().viewMessage(topic, result.getOffsetMsgId());
    equal(Inbox.text(byOffset), "look at me", "body by offset id");
    equal(byOffset.getUserProperty("p"), "v", "property by offset id");
    equal(byOffset.getQueueOffset(), result.getQueueOffset(), "queue offset by offset id");
    await("unique id finds the message", 15, () -> {
      MessageExt byUniqueId = lab.producer().viewMessage(topic, result.getMsgId());
      return byUniqueId != null && new String(byUniqueId.getBody(), UTF_8).equals("look at me");
    });
  }
}
