package millrace;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Function;
import java.util.stream.Collectors;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.common.message.MessageExt;

/** Collects what one or several consumers receive. Thread-safe. */
final class Inbox {
  private final List<MessageExt> messages = new ArrayList<>();

  synchronized void add(List<MessageExt> more) {
    messages.addAll(more);
  }

  synchronized List<MessageExt> all() {
    return new ArrayList<>(messages);
  }

  synchronized int size() {
    return messages.size();
  }

  synchronized void clear() {
    messages.clear();
  }

  List<String> bodies() {
    return map(Inbox::text);
  }

  <T> List<T> map(Function<MessageExt, T> what) {
    return all().stream().map(what).collect(Collectors.toList());
  }

  /** Bodies that came more than once. */
  List<String> repeated() {
    Map<String, Integer> counts = new HashMap<>();
    for (String body : bodies()) counts.merge(body, 1, Integer::sum);
    return counts.entrySet().stream().filter(e -> e.getValue() > 1).map(Map.Entry::getKey).collect(Collectors.toList());
  }

  static String text(MessageExt message) {
    return new String(message.getBody(), StandardCharsets.UTF_8);
  }

  /** Makes the consumer put everything in here and say CONSUME_SUCCESS. */
  Inbox of(DefaultMQPushConsumer consumer) {
    consumer.registerMessageListener((MessageListenerConcurrently) (batch, context) -> {
      add(batch);
      return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
    });
    return this;
  }

  /**
   * Waits for exactly these bodies, each once. After the last one it listens on for a moment, so that a second
   * delivery is seen.
   */
  void expectExactly(List<String> expected, int seconds) throws InterruptedException {
    try {
      Checks.await("messages", seconds, () -> size() >= expected.size());
    } catch (Checks.Failed tooFew) {
      Checks.sameSet(bodies(), expected, "bodies after " + seconds + " s");
      throw tooFew;
    }
    Thread.sleep(300);
    Checks.sameSet(bodies(), expected, "bodies");
    Checks.equal(size(), expected.size(), "deliveries (repeated: " + repeated() + ")");
  }
}
