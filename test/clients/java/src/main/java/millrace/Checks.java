package millrace;

import java.util.Collection;
import java.util.LinkedHashSet;
import java.util.Objects;
import java.util.Set;
import java.util.concurrent.Callable;
import org.apache.rocketmq.client.exception.MQBrokerException;
import org.apache.rocketmq.client.exception.MQClientException;

/** Assertions, waits and the reading of the clients' exceptions. */
final class Checks {
  private Checks() {}

  static final class Failed extends RuntimeException {
    Failed(String message) {
      super(message);
    }
  }

  static void check(boolean holds, String otherwise) {
    if (!holds) throw new Failed(otherwise);
  }

  static void equal(Object actual, Object expected, String what) {
    if (!Objects.equals(actual, expected)) throw new Failed(what + ": expected " + expected + ", got " + actual);
  }

  /** Compares as sets and names what is missing and what is too much, a few of each. */
  static <T> void sameSet(Collection<T> actual, Collection<T> expected, String what) {
    Set<T> missing = new LinkedHashSet<>(expected);
    missing.removeAll(new LinkedHashSet<>(actual));
    Set<T> extra = new LinkedHashSet<>(actual);
    extra.removeAll(new LinkedHashSet<>(expected));
    if (!missing.isEmpty() || !extra.isEmpty()) {
      throw new Failed(what + ": " + missing.size() + " missing " + some(missing) + ", " + extra.size() + " too much " + some(extra));
    }
  }

  private static <T> String some(Set<T> things) {
    StringBuilder text = new StringBuilder("[");
    int shown = 0;
    for (T thing : things) {
      if (shown++ == 5) return text.append(", ...]").toString();
      String told = String.valueOf(thing);
      text.append(shown == 1 ? "" : ", ").append(told.length() > 60 ? told.substring(0, 60) + "..." : told);
    }
    return text.append("]").toString();
  }

  /** Polls until `holds` answers true; an exception inside counts as "not yet" and is told if time runs out. */
  static void await(String what, int seconds, Callable<Boolean> holds) throws InterruptedException {
    long end = System.nanoTime() + seconds * 1_000_000_000L;
    Exception last = null;
    while (true) {
      try {
        if (holds.call()) return;
        last = null;
      } catch (InterruptedException interrupted) {
        throw interrupted;
      } catch (Exception error) {
        last = error;
      }
      if (System.nanoTime() > end) {
        throw new Failed("not within " + seconds + " s: " + what + (last == null ? "" : " (" + last + ")"));
      }
      Thread.sleep(50);
    }
  }

  /** Runs what the broker must refuse and returns the response code that it refused with. */
  static int refusal(String what, Callable<?> action) throws Exception {
    try {
      Object result = action.call();
      throw new Failed(what + " was accepted: " + result);
    } catch (MQBrokerException error) {
      return error.getResponseCode();
    } catch (MQClientException error) {
      return error.getResponseCode();
    }
  }
}
