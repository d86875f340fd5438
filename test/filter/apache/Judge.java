import java.io.BufferedReader;
import java.io.BufferedWriter;
import java.io.InputStreamReader;
import java.io.OutputStreamWriter;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.Map;
import org.apache.rocketmq.filter.expression.EvaluationContext;
import org.apache.rocketmq.filter.expression.Expression;
import org.apache.rocketmq.filter.parser.SelectorParser;

/**
 * What Apache's evaluator says. One line in, one line out.
 * In:  expression TAB properties { TAB properties }, each text in hexadecimal UTF-8; properties are name 1 value 2 repeated.
 * Out: E where the expression is refused; else for each properties T, F, N (null) or X (an exception).
 */
public final class Judge {
    public static void main(String[] args) throws Exception {
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.US_ASCII));
        BufferedWriter out = new BufferedWriter(new OutputStreamWriter(System.out, StandardCharsets.US_ASCII));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            String[] parts = line.split("\t", -1);
            out.write(verdict(parts));
            out.newLine();
        }
        out.flush();
    }

    private static String verdict(String[] parts) {
        Expression expression;
        try {
            expression = SelectorParser.parse(text(parts[0]));
        } catch (Throwable e) {
            return "E";
        }
        StringBuilder verdicts = new StringBuilder();
        for (int i = 1; i < parts.length; i++) {
            verdicts.append(evaluated(expression, properties(text(parts[i]))));
        }
        return verdicts.toString();
    }

    private static char evaluated(Expression expression, Map<String, Object> properties) {
        try {
            Object outcome = expression.evaluate(new EvaluationContext() {
                @Override
                public Object get(String name) {
                    return properties.get(name);
                }

                @Override
                public Map<String, Object> keyValues() {
                    return properties;
                }
            });
            return outcome == null ? 'N' : (Boolean) outcome ? 'T' : 'F';
        } catch (Throwable e) {
            return 'X';
        }
    }

    private static Map<String, Object> properties(String text) {
        Map<String, Object> map = new HashMap<>();
        for (String segment : text.split("\u0002")) {
            int end = segment.indexOf('\u0001');
            if (end > 0 && end < segment.length() - 1) {
                map.put(segment.substring(0, end), segment.substring(end + 1));
            }
        }
        return map;
    }

    private static String text(String hex) {
        byte[] bytes = new byte[hex.length() / 2];
        for (int i = 0; i < bytes.length; i++) {
            bytes[i] = (byte) Integer.parseInt(hex.substring(2 * i, 2 * i + 2), 16);
        }
        return new String(bytes, StandardCharsets.UTF_8);
    }
}
