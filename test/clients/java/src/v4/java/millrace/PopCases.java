package millrace;

import java.util.Map;

/** Clients before 5.0 do not pop. */
final class PopCases {
  private PopCases() {}

  static void register(Map<String, Case> cases) {}
}
