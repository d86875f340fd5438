package millrace;

import java.util.HashMap;
import java.util.Map;
import org.apache.rocketmq.remoting.protocol.RemotingCommand;

/** Requests written field by field, past the checks of the library's producers and consumers. */
final class Raw {
  static final int SEND_MESSAGE = 10;
  static final int PULL_MESSAGE = 11;
  static final int QUERY_CONSUMER_OFFSET = 14;

  private Raw() {}

  static RemotingCommand command(int code, Map<String, String> fields) {
    RemotingCommand command = RemotingCommand.createRequestCommand(code, null);
    fields.forEach(command::addExtField);
    return command;
  }

  static RemotingCommand send(Lab lab, String topic, int queueId, byte[] body, String properties) {
    RemotingCommand command = command(SEND_MESSAGE, Map.of(
        "producerGroup", lab.name("raw"), "topic", topic, "defaultTopic", "TBW102", "defaultTopicQueueNums", "4",
        "queueId", Integer.toString(queueId), "sysFlag", "0", "bornTimestamp", Long.toString(System.currentTimeMillis()),
        "flag", "0", "properties", properties, "reconsumeTimes", "0"));
    command.setBody(body);
    return command;
  }

  static Map<String, String> pullFields(Lab lab, String topic, int queueId, long offset) {
    Map<String, String> fields = new HashMap<>();
    fields.put("consumerGroup", lab.name("raw"));
    fields.put("topic", topic);
    fields.put("queueId", Integer.toString(queueId));
    fields.put("queueOffset", Long.toString(offset));
    fields.put("maxMsgNums", "32");
    fields.put("sysFlag", "4"); // The subscription comes with the request; do not hold.
    fields.put("commitOffset", "0");
    fields.put("suspendTimeoutMillis", "0");
    fields.put("subscription", "*");
    fields.put("subVersion", "0");
    fields.put("expressionType", "TAG");
    return fields;
  }
}
