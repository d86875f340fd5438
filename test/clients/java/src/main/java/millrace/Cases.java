package millrace;

import java.io.PrintStream;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import org.apache.rocketmq.common.MQVersion;

/**
 * Runs named cases against a name server and prints one JSON line for each:
 * {"case":"sync","ok":true,"detail":"...","ms":123}. Exit code 0 if all passed, 1 if one failed, 2 for bad arguments.
 *
 * --namesrv HOST:PORT   --case NAME,NAME or a set: normal, later, pop, restart, own, whole, wholeOwn, timers,
 *   newer, newerOwn, volume
 * --parallel N (cases at a time, 1)   --timeout SECONDS (each case, 60)   --list
 * --messages N (case volume: for each of 8 producers; sentAgain: of each three copies; 2000)
 * --run NAME (ends the names of topics and groups; otherwise new in each run)
 */
public final class Cases {
  private static final Map<String, Map<String, Case>> SETS = new LinkedHashMap<>();

  static {
    Map<String, Case> normal = new LinkedHashMap<>();
    // The longest first: run side by side, they then bound the time of the whole set.
    TransactionCases.register(normal);
    OffsetCases.register(normal);
    MovingCases.register(normal);
    DeadLetterCases.register(normal);
    SendCases.register(normal);
    ContentCases.register(normal);
    GroupCases.register(normal);
    OrderCases.register(normal);
    StartCases.register(normal);
    PullCases.register(normal);
    AdminCases.register(normal);
    TopicCases.register(normal);
    KeyedCases.register(normal);
    FilterCases.register(normal);
    QueryCases.register(normal);
    CommandCases.register(normal);
    RefusalCases.register(normal);
    // Last: what it looks for may end the broker, and the others should not suffer.
    normal.put("topicChurn", AdminCases::topicChurn);
    SETS.put("normal", normal);
    Map<String, Case> later = new LinkedHashMap<>();
    LaterCases.register(later);
    SETS.put("later", later);
    Map<String, Case> pop = new LinkedHashMap<>();
    PopCases.register(pop);
    SETS.put("pop", pop);
    Map<String, Case> restart = new LinkedHashMap<>();
    RestartCases.register(restart);
    SETS.put("restart", restart);
    Map<String, Case> own = new LinkedHashMap<>();
    KeyedCases.registerOwn(own);
    SETS.put("own", own);
    Map<String, Case> whole = new LinkedHashMap<>();
    Api.registerWholeBatches(whole);
    SETS.put("whole", whole);
    Map<String, Case> wholeOwn = new LinkedHashMap<>();
    Api.registerOwnWholeBatches(wholeOwn);
    SETS.put("wholeOwn", wholeOwn);
    Map<String, Case> timers = new LinkedHashMap<>();
    Api.registerTimers(timers);
    SETS.put("timers", timers);
    Map<String, Case> newer = new LinkedHashMap<>();
    Api.registerNewer(newer);
    SETS.put("newer", newer);
    Map<String, Case> newerOwn = new LinkedHashMap<>();
    Api.registerOwnNewer(newerOwn);
    SETS.put("newerOwn", newerOwn);
    SETS.put("volume", Map.of("volume", VolumeCase::run));
  }

  private static final PrintStream OUT = System.out;

  public static void main(String[] arguments) throws Exception {
    Map<String, String> options = options(arguments);
    if (options.containsKey("list")) {
      SETS.forEach((set, cases) -> cases.keySet().forEach(name -> OUT.println(set + " " + name)));
      return;
    }
    // The client library logs to standard output in some set-ups; results must stay readable there.
    System.setOut(System.err);
    Map<String, Case> chosen = chosen(options.getOrDefault("case", "normal"));
    int timeoutSeconds = Integer.parseInt(options.getOrDefault("timeout", "60"));
    int messages = Integer.parseInt(options.getOrDefault("messages", "2000"));
    String namesrv = options.get("namesrv");
    if (namesrv == null) throw usage("--namesrv is missing");
    String run = options.getOrDefault("run", Long.toString(System.currentTimeMillis(), 36));

    ExecutorService pool = Executors.newFixedThreadPool(Integer.parseInt(options.getOrDefault("parallel", "1")), Cases::daemon);
    List<Future<Boolean>> results = new ArrayList<>();
    chosen.forEach((name, body) -> results.add(pool.submit(() -> runOne(name, body, namesrv, run, messages, timeoutSeconds))));
    boolean ok = true;
    for (Future<Boolean> result : results) ok &= result.get();
    OUT.flush();
    // Not by return: threads of the client library that do not end must not keep the process.
    Runtime.getRuntime().halt(ok ? 0 : 1);
  }

  private static boolean runOne(String name, Case body, String namesrv, String run, int messages, int timeoutSeconds) {
    long start = System.nanoTime();
    ExecutorService own = Executors.newSingleThreadExecutor(Cases::daemon);
    Lab lab = new Lab(namesrv, name, run, messages);
    String failure = null;
    Future<?> future = own.submit(() -> {
      try (lab) {
        body.run(lab);
      }
      return null;
    });
    try {
      future.get(timeoutSeconds, TimeUnit.SECONDS);
    } catch (TimeoutException late) {
      failure = "no end after " + timeoutSeconds + " s";
      future.cancel(true);
    } catch (ExecutionException error) {
      Throwable cause = error.getCause();
      failure = cause instanceof Checks.Failed ? cause.getMessage() : String.valueOf(cause) + at(cause);
    } catch (InterruptedException interrupted) {
      failure = "interrupted";
    }
    own.shutdownNow();
    long ms = (System.nanoTime() - start) / 1_000_000;
    String detail = failure == null ? lab.noted() : failure;
    synchronized (OUT) {
      OUT.println("{\"case\":" + Json.text(name) + ",\"ok\":" + (failure == null) + ",\"detail\":" + Json.text(detail)
          + ",\"ms\":" + ms + "}");
      OUT.flush();
    }
    return failure == null;
  }

  /** The first line of the trace that lies in a case. */
  private static String at(Throwable cause) {
    for (StackTraceElement element : cause.getStackTrace()) {
      if (element.getClassName().startsWith("millrace.")) return " at " + element.getFileName() + ":" + element.getLineNumber();
    }
    return "";
  }

  private static Map<String, Case> chosen(String names) {
    Map<String, Case> chosen = new LinkedHashMap<>();
    for (String name : names.split(",")) {
      Map<String, Case> set = SETS.get(name);
      if (set != null && set.size() > 1) {
        chosen.putAll(set);
        continue;
      }
      Case one = SETS.values().stream().map(cases -> cases.get(name)).filter(found -> found != null).findFirst().orElse(null);
      if (one == null) throw usage("no case " + name + "; --list tells all");
      chosen.put(name, one);
    }
    return chosen;
  }

  private static Map<String, String> options(String[] arguments) {
    List<String> known = Arrays.asList("namesrv", "case", "parallel", "timeout", "messages", "run", "list");
    Map<String, String> options = new LinkedHashMap<>();
    for (int i = 0; i < arguments.length; i++) {
      String name = arguments[i].startsWith("--") ? arguments[i].substring(2) : "";
      if (!known.contains(name)) throw usage("unknown argument " + arguments[i]);
      if (name.equals("list")) options.put(name, "");
      else if (i + 1 == arguments.length) throw usage(arguments[i] + " wants a value");
      else options.put(name, arguments[++i]);
    }
    return options;
  }

  private static RuntimeException usage(String what) {
    System.err.println(what + "\nclient version " + MQVersion.getVersionDesc(MQVersion.CURRENT_VERSION)
        + "; --namesrv HOST:PORT [--case NAME,...] [--parallel N] [--timeout SECONDS] [--messages N] [--run NAME] [--list]");
    Runtime.getRuntime().halt(2);
    return new IllegalStateException();
  }

  private static Thread daemon(Runnable body) {
    Thread thread = new Thread(body);
    thread.setDaemon(true);
    return thread;
  }
}
