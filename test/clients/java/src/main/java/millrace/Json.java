package millrace;

/** Writes JSON strings. Its own few lines, because the two client versions bring different JSON libraries. */
final class Json {
  private Json() {}

  static String text(String value) {
    StringBuilder json = new StringBuilder("\"");
    for (char c : value.toCharArray()) {
      if (c == '"' || c == '\\') json.append('\\').append(c);
      else if (c < ' ' || Character.isSurrogate(c) || c == 0x2028 || c == 0x2029) json.append(String.format("\\u%04x", (int) c));
      else json.append(c);
    }
    return json.append('"').toString();
  }
}
