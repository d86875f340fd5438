package millrace;

import static java.nio.charset.StandardCharsets.UTF_8;
import static millrace.Checks.check;
import static millrace.Checks.equal;

import java.io.InputStream;
import java.net.Socket;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import org.apache.rocketmq.common.TopicConfig;
import org.apache.rocketmq.remoting.protocol.RemotingCommand;

/**
 * What a broker must refuse, sent through the library's transport past the checks of its producers and consumers.
 * The expected codes are those of Apache's broker 5.5.0.
 */
final class RefusalCases {
  private static final int QUERY_CONSUMER_OFFSET = 14;
  private static final int VIEW_MESSAGE_BY_ID = 33;

  private RefusalCases() {}

  static void register(Map<String, Case> cases) {
    cases.put("unknownCode", RefusalCases::unknownCode);
    cases.put("illegalTopic", RefusalCases::illegalTopic);
    cases.put("oversize", RefusalCases::oversize);
    cases.put("emptyBody", RefusalCases::emptyBody);
    cases.put("missingField", RefusalCases::missingField);
    cases.put("badQueue", RefusalCases::badQueue);
    cases.put("badPull", RefusalCases::badPull);
    cases.put("noOffset", RefusalCases::noOffset);
    cases.put("garbage", RefusalCases::garbage);
  }

  /** The broker still serves: after every refusal, a plain message goes through. */
  private static void livesOn(Lab lab, String topic) throws Exception {
    lab.send(SendCases.message(topic, "lives on"));
  }

  private static void refuses(Lab lab, String what, RemotingCommand request, int code) throws Exception {
    RemotingCommand response = lab.ask(request);
    equal(response.getCode(), code, what + " (remark: " + response.getRemark() + ")");
    check(response.getRemark() != null && !response.getRemark().isEmpty(), what + ": a remark says why");
  }

  private static void unknownCode(Lab lab) throws Exception {
    refuses(lab, "code 7777 at the broker", Raw.command(7777, Map.of("topic", "any")), 3);
    RemotingCommand response = lab.ask(lab.namesrv, Raw.command(7777, Map.of()));
    equal(response.getCode(), 3, "code 7777 at the name server");
    livesOn(lab, lab.topic("unknown", 1));
  }

  private static void illegalTopic(Lab lab) throws Exception {
    for (String topic : List.of("with space", "slash/../../up", "dollar$", "消息", "x".repeat(128))) {
      refuses(lab, "send to topic " + topic, Raw.send(lab, topic, 0, new byte[10], ""), 29);
      int code = Checks.refusal("creation of topic " + topic, () -> {
        lab.admin().createAndUpdateTopicConfig(lab.brokerAddress(), new TopicConfig(topic, 1, 1, 6));
        return "created";
      });
      equal(code, 29, "creation of topic " + topic);
    }
    livesOn(lab, lab.topic("legal", 1));
  }

  private static void oversize(Lab lab) throws Exception {
    String topic = lab.topic("oversize", 1);
    int max = 4 * 1024 * 1024;
    equal(lab.ask(Raw.send(lab, topic, 0, new byte[max], "")).getCode(), 0, "body of 4 MiB");
    refuses(lab, "body of 4 MiB and a byte", Raw.send(lab, topic, 0, new byte[max + 1], ""), 13);
    refuses(lab, "properties of 40,000 bytes", Raw.send(lab, topic, 0, new byte[1], "name\u0001" + "v".repeat(40_000)), 13);
    livesOn(lab, topic);
  }

  private static void emptyBody(Lab lab) throws Exception {
    String topic = lab.topic("empty", 1);
    // Apache 5.5.0 means 13 but trips over its own null and answers 1.
    int code = lab.ask(Raw.send(lab, topic, 0, null, "")).getCode();
    check(code == 13 || code == 1, "no body: expected 13 (or 1), got " + code);
    equal(lab.producer().maxOffset(lab.queue(topic, 0)), 0L, "nothing was stored");
    livesOn(lab, topic);
  }

  private static void missingField(Lab lab) throws Exception {
    RemotingCommand response = lab.ask(Raw.command(QUERY_CONSUMER_OFFSET, Map.of("topic", "any")));
    check(response.getCode() != 0, "a request without its required fields was answered with success");
    livesOn(lab, lab.topic("missing", 1));
    lab.note("code " + response.getCode() + ", remark " + response.getRemark());
  }

  private static void badQueue(Lab lab) throws Exception {
    String topic = lab.topic("badQueue", 2);
    refuses(lab, "send to queue 9 of 2", Raw.send(lab, topic, 9, "x".getBytes(UTF_8), ""), 29);
    RemotingCommand any = lab.ask(Raw.send(lab, topic, -1, "x".getBytes(UTF_8), ""));
    equal(any.getCode(), 0, "send to queue -1, which means any");
  }

  private static void badPull(Lab lab) throws Exception {
    String topic = lab.topic("badPull", 1);
    livesOn(lab, topic);
    refuses(lab, "pull from an unknown topic", Raw.command(Raw.PULL_MESSAGE, Raw.pullFields(lab, lab.name("nowhere"), 0, 0)), 17);
    refuses(lab, "pull from queue 5 of 1", Raw.command(Raw.PULL_MESSAGE, Raw.pullFields(lab, topic, 5, 0)), 29);
    Map<String, String> known = Raw.pullFields(lab, topic, 0, 0);
    known.put("sysFlag", "0"); // The subscription comes from a heart-beat, and there was none.
    refuses(lab, "pull of a group without consumers", Raw.command(Raw.PULL_MESSAGE, known), 24);
    equal(lab.ask(Raw.command(Raw.PULL_MESSAGE, Raw.pullFields(lab, topic, 0, 0))).getCode(), 0, "a good pull");
  }

  private static void noOffset(Lab lab) throws Exception {
    String topic = lab.topic("noOffset", 1);
    livesOn(lab, topic);
    Map<String, String> fields = Map.of("consumerGroup", lab.name("raw"), "topic", topic, "queueId", "0", "setZeroIfNotFound", "false");
    refuses(lab, "offset of a group that has none", Raw.command(QUERY_CONSUMER_OFFSET, fields), 22);
    RemotingCommand view = lab.ask(Raw.command(VIEW_MESSAGE_BY_ID, Map.of("topic", topic, "offset", "999999999999")));
    equal(view.getCode(), 1, "message at an offset beyond the log");
  }

  /** Bytes that are no frame: the connection is closed, others do not notice. */
  private static void garbage(Lab lab) throws Exception {
    String topic = lab.topic("garbage", 1);
    String[] address = lab.brokerAddress().split(":");
    byte[][] inputs = {
        "GET / HTTP/1.1\r\nHost: broker\r\n\r\n".getBytes(UTF_8),
        {0x7f, (byte) 0xff, (byte) 0xff, (byte) 0xff, 0, 0, 0, 0},
        {(byte) 0xff, (byte) 0xff, (byte) 0xff, (byte) 0xff, 0, 0, 0, 0},
        {0, 0, 0, 8, 0, (byte) 0xff, (byte) 0xff, (byte) 0xff, 0, 0, 0, 0},
    };
    for (byte[] input : inputs) {
      try (Socket socket = new Socket(address[0], Integer.parseInt(address[1]))) {
        socket.setSoTimeout(5000);
        // Apache looks at the first bytes for TLS and proxy protocol, so a few would only make it wait for more.
        socket.getOutputStream().write(Arrays.copyOf(input, 64));
        socket.getOutputStream().flush();
        InputStream in = socket.getInputStream();
        try {
          check(in.read() == -1, "an answer to garbage");
        } catch (java.net.SocketException reset) {
          // A reset ends the connection too.
        }
      }
      livesOn(lab, topic);
    }
  }
}
