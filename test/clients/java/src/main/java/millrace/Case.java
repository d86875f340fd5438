package millrace;

/** One acceptance case. It fails by throwing; {@link Lab} hands out clients and closes them afterwards. */
@FunctionalInterface
interface Case {
  void run(Lab lab) throws Exception;
}
