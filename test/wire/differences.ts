/** An answer in which we differ from Apache's broker on purpose. */
export interface Difference {
  /** How the request's line begins. */
  of: string;
  why: string;
}

const QUEUES_CHECKED = "what cannot be a number of queues or a permission is refused, and does not stay in the table";
const OWN_TOPICS = "topics for transactions in RocksDB are not made, the one for those given up is there from the start";
const FIELD_MISSING = "a field that is missing or no number is refused, and not taken for 0";
const QUESTION_MADE_QUEUE = "to ask for the offset of a queue that is not there does not make it";
const NO_SUCH_QUEUE = "offsets are kept for queues that there are: each costs memory for good";

export const DIFFERENCES: Readonly<Record<string, readonly Difference[]>> = {
  topics: [
    { of: 'admin 17 {"defaultTopic":"TBW102","order":false,"perm":6,"readQueueNums":-1', why: QUEUES_CHECKED },
    { of: 'admin 351 {"topic":"tp-N"}', why: QUEUES_CHECKED },
    { of: 'admin 17 {"defaultTopic":"TBW102","order":false,"perm":-1', why: QUEUES_CHECKED },
    { of: 'admin 351 {"topic":"tp-P"}', why: QUEUES_CHECKED },
    { of: "admin 215 {}", why: "a field that is not there is told apart from an empty one" },
    { of: "admin 21 {}", why: OWN_TOPICS },
    { of: 'admin 21 {"topicSeq":0}', why: OWN_TOPICS },
  ],
  groups: [{ of: "admin 201 {}", why: "a list with a bad group in it is refused whole" }],
  clients: [
    {
      of: 'c3 34 {} {"clientID":"127.0.0.2@c3"',
      why: "a fingerprint counts from the heart-beat that brought its subscriptions: until then they are asked for",
    },
    { of: "c2 35 {}", why: "a farewell that does not say whose it is, is refused" },
  ],
  batches: [{ of: 'admin 321 {"consumerGroup":""', why: "no group is asked for, so that nothing is said of one" }],
  queues: [
    { of: 'admin 321 {"count":10,"index":0,"queueId":9,"topic":"qu-T"}', why: QUESTION_MADE_QUEUE },
    { of: 'admin 321 {"count":10,"index":0,"queueId":0,"topic":"qu-none"}', why: QUESTION_MADE_QUEUE },
    {
      of: 'admin 321 {"consumerGroup":"qu-g"',
      why: "a filter by tags is applied too, and what is not known is left out instead of being called null",
    },
  ],
  sends: [
    { of: 'p 320 {"a":"pg","b":"se-B"', why: "a batch has no transaction, so its answer names none" },
    { of: 'p 310 {"a":"pg","b":"se-B"', why: "a batch has no transaction, so its answer names none" },
  ],
  offsets: [
    { of: 'c 15 {"consumerGroup":"of-g","queueId":0,"topic":"of-T"}', why: "a missing field is answered like any other" },
    {
      of: 'admin 208 {"consumerGroup":"of-g"',
      why: "the pull offset is where the newest pull began, not where its answer ended",
    },
    { of: 'admin 303 {"group":"of-g","topic":"of-T"}', why: "times are told as numbers only; readers make the texts themselves" },
    { of: 'admin 222 {"group":"of-g","isForce":true,"offset":0,"queueId":5', why: NO_SUCH_QUEUE },
    { of: 'admin 222 {"group":"of-g","topic":"of-T"}', why: "a reset that does not say where to, is refused" },
    {
      of: 'admin 222 {"group":"of-g","isForce":true,"queueId":-1,"timestamp":0',
      why: "clients are told the header as it was asked",
    },
    { of: 'admin 222 {"group":"of-g","isForce":true,"timestamp":-1', why: "clients are told the header as it was asked" },
    {
      of: 'c 14 {"consumerGroup":"of-copy2"',
      why: "without a topic all of the group's offsets are copied; Apache's broker copies none",
    },
    { of: 'c 15 {"commitOffset":1,"consumerGroup":"of-g","queueId":7', why: NO_SUCH_QUEUE },
    { of: 'c 14 {"consumerGroup":"of-g","queueId":7', why: NO_SUCH_QUEUE },
  ],
  replies: [
    {
      of: 'p 325 {"a":"pg","b":"DefaultCluster_REPLY_TOPIC","c":"TBW102","d":4,"e":0,"f":0,"g":"<time>","h":0,"i":"UNIQ_KEY\\u0001U-reply\\u0002CORRELATION_ID\\u0001c-1\\u0002MSG_TYPE\\u0001reply\\u0002REPLY_TO_CLIENT\\u0001127.0.0.2@a4',
      why: "a client that leaves one of its groups still takes the replies to the others",
    },
    {
      of: 'c 11 {"commitOffset":0,"consumerGroup":"re-c","expressionType":"TAG","maxMsgNums":1,',
      why: "a stored reply still says that its body is compressed",
    },
  ],
  filters: [
    {
      of: 'c 11 {"commitOffset":0,"consumerGroup":"fi-g","expressionType":"SQL92","maxMsgNums":32,"queueId":0,"queueOffset":0,"subVersion":0,"subscription":"a >"',
      why: "an expression that is wrong is refused; Apache's broker delivers everything",
    },
    {
      of: 'c 11 {"commitOffset":0,"consumerGroup":"fi-g","expressionType":"OTHER"',
      why: "an expression of an unknown type is refused; Apache's broker delivers everything",
    },
  ],
  transactions: [
    {
      of: 'c 11 {"commitOffset":0,"consumerGroup":"tx-c","expressionType":"TAG","maxMsgNums":32,"queueId":0,"queueOffset":13,',
      why: "a half message whose producer is not to be asked yet has not been asked: that does not count as a question",
    },
  ],
  pops: [
    {
      of: 'c 200050 {"bornTime":"…","consumerGroup":"po-g","exp":"*","expType":"TAG","initMode":0,"maxMsgNums":32',
      why: FIELD_MISSING,
    },
    {
      of: 'c 200050 {"bornTime":"…","consumerGroup":"po-g","exp":"*","expType":"TAG","initMode":0,"invisibleTime":60000,"maxMsgNums":"x"',
      why: FIELD_MISSING,
    },
  ],
  kinds: [
    {
      of: 'c 11 {"commitOffset":0,"consumerGroup":"ke-g","expressionType":"TAG","maxMsgNums":32,"queueId":0,"queueOffset":6',
      why: "who is beyond the end of a compacted queue goes on at its end, not at its start",
    },
    {
      of: 'c 11 {"commitOffset":0,"consumerGroup":"ke-g","expressionType":"TAG","maxMsgNums":32,"queueId":0,"queueOffset":0,"subVersion":0,"subscription":"a"',
      why: "tags are looked at in compacted topics too; clients leave the same messages out",
    },
  ],
  "lmq-pops": [
    {
      of: 'c 11 {"commitOffset":0,"consumerGroup":"ls-g","expressionType":"TAG","maxMsgNums":32,"queueId":0,"queueOffset":3',
      why: "a message that was delayed tells its level, as it does in other topics",
    },
  ],
};
