package millrace;

import static millrace.Checks.await;
import static millrace.Checks.check;
import static millrace.Checks.equal;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Function;
import org.apache.rocketmq.client.producer.LocalTransactionState;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.client.producer.TransactionListener;
import org.apache.rocketmq.client.producer.TransactionMQProducer;
import org.apache.rocketmq.client.producer.TransactionSendResult;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;

/** Half messages: committed, rolled back, and undecided ones that the broker asks about. */
final class TransactionCases {
  /** The broker's interval between questions is 30 s unless it is told otherwise, and what is too young waits for the next. */
  private static final int CHECK_SECONDS = 75;

  /** The broker's transactionCheckMax. */
  private static final int QUESTIONS = 15;

  private TransactionCases() {}

  static void register(Map<String, Case> cases) {
    cases.put("transactionGivenUp", TransactionCases::givenUp);
    cases.put("transactionChecked", TransactionCases::checked);
    cases.put("transactionTakenOver", TransactionCases::takenOver);
    cases.put("transactionEnds", TransactionCases::ends);
  }

  /** What the producer's local part does with a message, by its text; and what it says when it is asked. */
  private static final class Decisions implements TransactionListener {
    private final Function<String, LocalTransactionState> local;
    private final Function<String, LocalTransactionState> later;
    private final Map<String, List<MessageExt>> questions = new HashMap<>();

    Decisions(Function<String, LocalTransactionState> local, Function<String, LocalTransactionState> later) {
      this.local = local;
      this.later = later;
    }

    @Override
    public LocalTransactionState executeLocalTransaction(Message message, Object argument) {
      return local.apply(new String(message.getBody()));
    }

    @Override
    public LocalTransactionState checkLocalTransaction(MessageExt message) {
      synchronized (questions) {
        questions.computeIfAbsent(Inbox.text(message), text -> new ArrayList<>()).add(message);
      }
      return later.apply(Inbox.text(message));
    }

    List<MessageExt> questions(String text) {
      synchronized (questions) {
        return new ArrayList<>(questions.getOrDefault(text, Collections.emptyList()));
      }
    }
  }

  private static TransactionMQProducer producer(Lab lab, String group, Decisions decisions) throws Exception {
    TransactionMQProducer producer = lab.newTransactionProducer(group);
    producer.setTransactionListener(decisions);
    producer.start();
    return producer;
  }

  private static TransactionSendResult send(TransactionMQProducer producer, String topic, String text) throws Exception {
    TransactionSendResult result = producer.sendMessageInTransaction(SendCases.message(topic, text), null);
    equal(result.getSendStatus(), SendStatus.SEND_OK, "send status");
    return result;
  }

  private static void ends(Lab lab) throws Exception {
    String topic = lab.topic("ends", 4);
    Inbox inbox = SendCases.consume(lab, topic);
    Decisions decisions = new Decisions(
        text -> text.startsWith("yes") ? LocalTransactionState.COMMIT_MESSAGE : LocalTransactionState.ROLLBACK_MESSAGE,
        text -> LocalTransactionState.UNKNOW);
    TransactionMQProducer producer = producer(lab, lab.name("ends"), decisions);
    List<String> wanted = new ArrayList<>();
    Map<String, String> ids = new HashMap<>();
    for (int i = 0; i < 20; i++) {
      ids.put("yes " + i, send(producer, topic, "yes " + i).getMsgId());
      wanted.add("yes " + i);
      TransactionSendResult none = send(producer, topic, "no " + i);
      equal(none.getLocalTransactionState(), LocalTransactionState.ROLLBACK_MESSAGE, "local state");
    }
    inbox.expectExactly(wanted, 30);
    for (MessageExt message : inbox.all()) {
      equal(message.getMsgId(), ids.get(Inbox.text(message)), "message id");
      equal(message.getTransactionId() == null ? message.getProperty("UNIQ_KEY") : message.getTransactionId(), message.getMsgId(),
          "transaction id");
      check(message.getProperty("REAL_TOPIC") == null, "REAL_TOPIC is shown");
    }
    // Longer than the time after which an undecided one would be asked about, where the broker is told to ask soon.
    Thread.sleep(5000);
    equal(inbox.size(), wanted.size(), "messages in the end");
    for (int i = 0; i < 20; i++) {
      equal(decisions.questions("yes " + i).size() + decisions.questions("no " + i).size(), 0, "questions about the decided");
    }
  }

  /** Undecided at first; asked, once more undecided, then committed or rolled back. */
  private static void checked(Lab lab) throws Exception {
    String topic = lab.topic("checked", 2);
    Inbox inbox = SendCases.consume(lab, topic);
    Decisions decisions = new Decisions(
        text -> LocalTransactionState.UNKNOW,
        text -> text.equals("yes") ? LocalTransactionState.COMMIT_MESSAGE : LocalTransactionState.ROLLBACK_MESSAGE);
    TransactionMQProducer producer = producer(lab, lab.name("checked"), decisions);
    Map<String, String> ids = new HashMap<>();
    for (String text : Arrays.asList("yes", "no")) ids.put(text, send(producer, topic, text).getMsgId());
    await("questions", CHECK_SECONDS, () -> !decisions.questions("yes").isEmpty() && !decisions.questions("no").isEmpty());
    inbox.expectExactly(Collections.singletonList("yes"), 10);
    for (String text : Arrays.asList("yes", "no")) {
      MessageExt question = decisions.questions(text).get(0);
      equal(question.getTopic(), topic, "topic in the question");
      equal(question.getTransactionId(), ids.get(text), "transaction id in the question");
      equal(question.getProperty("TRANSACTION_CHECK_TIMES"), "1", "count of questions");
    }
    Thread.sleep(5000);
    equal(inbox.bodies(), Collections.singletonList("yes"), "messages in the end");
    equal(decisions.questions("yes").size() + decisions.questions("no").size(), 2, "questions");
  }

  /** Never decided: asked about 15 times, and then put where an administrator finds it. */
  private static void givenUp(Lab lab) throws Exception {
    String topic = lab.topic("givenUp", 1);
    Inbox inbox = SendCases.consume(lab, topic);
    Decisions decisions = new Decisions(text -> LocalTransactionState.UNKNOW, text -> LocalTransactionState.UNKNOW);
    String id = send(producer(lab, lab.name("givenUp"), decisions), topic, "never").getMsgId();
    // The broker must be told to ask every 2 s or so; with its own 30 s this would take 8 minutes.
    await(QUESTIONS + " questions", 80, () -> decisions.questions("never").size() >= QUESTIONS);
    await("it is given up", 30, () ->
        Inbox.text(lab.admin().viewMessage("TRANS_CHECK_MAX_TIME_TOPIC", id)).equals("never"));
    Thread.sleep(3000);
    List<String> times = new ArrayList<>();
    List<String> wanted = new ArrayList<>();
    for (MessageExt question : decisions.questions("never")) times.add(question.getProperty("TRANSACTION_CHECK_TIMES"));
    for (int i = 1; i <= QUESTIONS; i++) wanted.add(Integer.toString(i));
    equal(times, wanted, "counts of the questions");
    equal(inbox.size(), 0, "deliveries");
  }

  /** The producer goes before it has decided: another one of its group is asked. */
  private static void takenOver(Lab lab) throws Exception {
    String topic = lab.topic("takenOver", 2);
    String group = lab.name("takenOver");
    Inbox inbox = SendCases.consume(lab, topic);
    Decisions silent = new Decisions(text -> LocalTransactionState.UNKNOW, text -> LocalTransactionState.UNKNOW);
    TransactionMQProducer first = producer(lab, group, silent);
    send(first, topic, "left behind");
    first.shutdown();
    Decisions decided = new Decisions(text -> LocalTransactionState.COMMIT_MESSAGE, text -> LocalTransactionState.COMMIT_MESSAGE);
    TransactionMQProducer second = producer(lab, group, decided);
    send(second, topic, "own"); // It greets only brokers of topics that it has sent to.
    await("question to the second producer", CHECK_SECONDS, () -> !decided.questions("left behind").isEmpty());
    inbox.expectExactly(Arrays.asList("own", "left behind"), 10);
  }
}
