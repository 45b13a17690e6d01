# What a node offers to its clients: the REPL, the command line, and programs in any language.
#
# The node serves one NodeService as the bootstrap capability of each connection to `node.sock` in its data
# directory. Only the owner of the directory can open that socket.
#
# Where the admin wants it (`clients.listen`), the same is served over QUIC with ALPN `capnp`: TLS 1.3 with raw public
# keys (RFC 7250) on both sides, the client's identity key and the node's, and one bidirectional stream, which the client
# opens. Admins may call everything. Users may call enqueue and batchEnqueue for envelopes that they have signed
# themselves, health, mailbox and whoami; all else fails with `not-permitted`. A client that is not let in hears why in the
# text of the QUIC close, which has the same form `code: message`.
#
# Conventions
# - A pointer field that is not set (text, data, struct) means "none". An optional number is a `Number` for that reason.
# - Times are Unix times in milliseconds, unless a name says otherwise.
# - Keys, topic ids and message ids are Data of 32 bytes.
# - A call that could not be done fails with an exception whose reason is `code: message`: a stable word in kebab
#   case, a colon and a space, then a sentence or two for a person.
# - Ordinals are only ever added.

@0xf9943862f38ac0d6;

interface NodeService {
  # The whole node. Calls may be pipelined; the node stops reading a connection while too many are in flight.

  enqueue @0 (envelope :Data) -> (receipt :Receipt);
  # Takes in an envelope in wire form that its sender has signed already. Returns once it is durable here.

  batchEnqueue @1 (envelopes :List(Data)) -> (results :List(EnqueueResult));
  # The same for at most 256 envelopes, with one result for each in the same order. One refusal does not stop the rest.

  fetch @2 (query :InboxQuery) -> (page :InboxPage);
  # A stretch of the inbox, at once, even when it is empty. Long pages are cut at about 4 MiB; go on from `nextAfter`.

  fetchWait @3 (query :InboxQuery, waitMs :UInt64) -> (page :InboxPage);
  # The same, but when there is nothing yet it waits up to `waitMs` (at most 60,000) for a message.

  ack @4 (reader :Text, seq :UInt64) -> ();
  # Notes for good that `reader` has handled everything up to `seq`. A later fetch by that reader starts after it.

  subscribe @5 (topic :Text) -> (channel :ChannelInfo);
  # Joins a channel, by topic name or by invite, for good.

  health @6 () -> (health :Health);
  # A cheap sign of life.

  status @7 () -> (status :NodeStatus);
  identity @8 () -> (identity :IdentityInfo);
  peers @9 () -> (peers :List(PeerInfo));

  noteServer @10 (address :Text) -> (note :ServerNote);
  # Notes a server's address, `host:port` or a transport URI, and keeps a link to it from now on.

  send @11 (request :SendRequest) -> (receipt :Receipt);
  # Seals, signs and stores a direct message. Returns once it is durable here.

  broadcast @12 (request :BroadcastRequest) -> (receipt :Receipt);
  # Encrypts, signs and stores a message on a channel. Returns once it is durable here.

  unsubscribe @13 (topic :Text) -> ();

  createPrivate @14 (name :Text) -> (channel :ChannelInfo);
  # Makes a private channel with a random key, and joins it. The answer has the invite, which is a secret.

  channels @15 () -> (channels :List(ChannelInfo));
  routes @16 () -> (table :RouteTable);
  storeStats @17 () -> (stats :StoreStats);
  plugins @18 () -> (plugins :List(PluginStatus));

  pluginEnable @19 (name :Text) -> (plugin :PluginStatus);
  # Starts a plugin again that was disabled after too many failures.

  scripts @20 () -> (scripts :List(BotStatus));

  scriptReload @21 (name :Text) -> (scripts :List(BotStatus));
  # Loads one bot anew, or all of them when no name is set.

  shutdown @22 () -> ();
  # Drains and stops the node. The answer may be lost with the connection.

  ping @23 (peer :Text, count :UInt32) -> (report :PingReport);
  # Measures the round trip to a neighbour, `count` times (at most 100) over each link to it, one second apart.

  setTrust @24 (peer :Text, trust :Trust) -> (peer :PeerInfo);
  # Says how far a peer is trusted. Blocking one closes its links.

  forgetServer @25 (address :Text) -> (remark :Text);
  # Keeps no link to that address any more, noted or found. A remark says where it still stands: it comes back from there
  # when the node starts again.

  exportBlocks @26 () -> (list :Text);
  # The blocked peers, one key on each line.

  importBlocks @27 (list :Text) -> (outcome :BlocksImported);
  # Blocks the peers of such a list, too: all of them, or none when a line is wrong.

  pluginSwap @28 (name :Text, file :Text) -> (plugin :PluginStatus);
  # Replaces a running plugin by the library in that file (not set: its configured file), without losing a message.

  federation @29 () -> (report :FederationReport);
  # How this node's domain and the others stand.

  mailbox @30 () -> (mailbox :Mailbox);
  # The mailbox of the key that the client has proven, made on first use. From then on mail for that key waits here until
  # the client has it. Over `node.sock` no key is proven, so there it fails with `no-key`.

  whoami @31 () -> (role :Text, peerId :Data);
  # What this client may do: `owner` (of `node.sock`), `admin` or `user`; and its key, which for the owner is the node's.

  deliveries @32 (after :Number, waitMs :UInt64) -> (page :DeliveryPage);
  # The receipts that came for messages sent with `receipt`, after that place; when there is none yet, waits up to `waitMs`
  # (at most 60,000) for one. Without `after`: none, and the place to go on from. The node keeps the last 1,024 in memory.

  why @33 (id :Text) -> (report :WhyReport);
  # What became of a message: its id, or at least 8 digits of the beginning. One that this node never heard of has the state
  # `unknown`; several that begin so fail with `ambiguous-id`.

  queue @34 (query :QueueQuery) -> (page :QueuePage);
  # What waits for one recipient, in the order in which it goes.

  exportMail @35 (query :ExportQuery) -> (page :ExportPage);
  # Envelopes that are held here, to be carried to another node in a file; they stay here as well. Call again with `next` until
  # there is none.

  importMail @36 (envelopes :List(Data)) -> (outcomes :List(ImportOutcome));
  # Takes in envelopes that came in a file, as if a neighbour offered them: at most 256, one outcome for each, in order.

  scriptApprove @37 (name :Text, approval :ScriptApproval) -> (script :BotStatus);
  # Grants a bot the permissions that it asks for, or takes them back; for good. It is loaded anew.

  scriptLogs @38 (query :ScriptLogQuery, waitMs :UInt64) -> (page :ScriptLogPage);
  # What bots logged, oldest first; when there is nothing new, waits up to `waitMs` (at most 60,000). The node keeps the last
  # few hundred lines of each bot in memory.

  scriptEval @39 (eval :ScriptEval) -> (evaluated :ScriptEvaluated);
  # Runs a piece of Lua inside a running bot, within its sandbox and its budget for one event. Read-only unless asked.

  emergencyDraft @40 (text :Text, ttlSecs :Number) -> (notice :Notice);
  # A notice of an emergency that nobody has signed yet, good for so long; for a day if that is not set.

  emergencySign @41 (copies :List(Text)) -> (notice :Notice);
  # The notice with this node's signature too. Copies of one notice, at most 16, are put together.

  emergencyShow @42 (copies :List(Text)) -> (notice :Notice);
  # Who has signed a notice, and who is missing.

  emergencyPublish @43 (copies :List(Text)) -> (receipt :Receipt);
  # Publishes a notice that enough admins have signed. Relays that name them let it go before everything else.
}

interface Mailbox {
  # The mail of one key, and what its holder needs to write to others. Nobody else's mail is within reach.

  fetch @0 (after :UInt64, limit :UInt32, waitMs :UInt64) -> (items :List(MailItem), nextAfter :UInt64);
  # Direct messages and receipts that were not acknowledged yet, the most urgent first and in turn by their senders, then
  # broadcasts of the subscribed topics with a larger sequence number than `after`, in order of arrival. Direct ones come again until they are acknowledged, so do that before the
  # next page. When there is nothing it waits up to `waitMs` (at most 60,000). `limit` 0 takes 100, at most 1,000; a page
  # is cut at about 1 MiB. Pass `nextAfter` as `after` to go on.

  ack @1 (ids :List(Data)) -> (dropped :UInt32);
  # The client has these messages on its disk: the node drops its copies of direct ones. Ids of others change nothing.
  # At most 1,000.

  subscribe @2 (topicIds :List(Data)) -> ();
  # Broadcasts of these topics are fetched, too: what is kept of them, and what comes. For good. A mailbox has at most 256.

  unsubscribe @3 (topicIds :List(Data)) -> ();

  publish @4 (record :Data) -> ();
  # The client's own signed node record, with its sealing key: taken in and spread as a neighbour's. Once in 10 s at most;
  # sooner it fails with `too-often`.

  lookup @5 (who :Text) -> (records :List(Data));
  # The signed node record of a peer: 64 hex digits, a beginning of at least 8, or a nickname. None when nobody is known;
  # `ambiguous-peer` when several are meant. The signature shows that the key said so; whether it is the key of the person
  # that is meant, the client decides.

  figures @6 () -> (figures :MailFigures);
}

struct MailItem {
  seq @0 :UInt64;
  # Place in this node's order of arrival.
  envelope @1 :Data;
  # As its sender signed it. The client checks signature, id and seal itself.
  receivedMs @2 :UInt64;
}

struct MailFigures {
  waiting @0 :UInt64;
  # Direct messages and receipts that were not acknowledged yet.
  waitingBytes @1 :UInt64;
  maxMessages @2 :UInt64;
  # What may wait at most; beyond it senders are told that the mailbox is full.
  maxBytes @3 :UInt64;
  topicIds @4 :List(Data);
}

struct Number {
  # A number that may be missing: the pointer to it is then not set.
  value @0 :UInt64;
}

struct Health {
  version @0 :Text;
  # Version of the software.
  apiLevel @1 :UInt32;
  # How many ordinals of NodeService this node knows.
  pid @2 :UInt32;
  peerId @3 :Data;
}

struct Fault {
  code @0 :Text;
  message @1 :Text;
}

struct EnqueueResult {
  union {
    receipt @0 :Receipt;
    fault @1 :Fault;
  }
}

struct Receipt {
  id @0 :Data;
  expiresMs @1 :UInt64;
}

struct SendRequest {
  to @0 :Text;
  # 64 hex digits, a unique prefix of at least 8, or a nickname.
  payload @1 :Data;
  ttlSecs @2 :Number;
  priority @3 :Number;
  # 0 low, 1 normal, 2 high, 3 emergency.
  receipt @4 :Bool;
  # Ask the recipient for a signed delivery receipt.
  plain @5 :Bool;
  # Send without sealing.
  automatic @6 :Bool;
  # Made by a program, not by a person.
  replyTo @7 :Data;
  # The message that this one answers.
  reaction @8 :Bool;
  # A reaction to `replyTo`, such as an emoji, and not a text.
}

struct BroadcastRequest {
  topic @0 :Text;
  payload @1 :Data;
  ttlSecs @2 :Number;
  priority @3 :Number;
  automatic @4 :Bool;
  maxHops @5 :Number;
  # Links that it may cross, 1 to 255: how far it goes. Not set: the node's default.
  replyTo @6 :Data;
  # The message that this one answers.
  reaction @7 :Bool;
  # A reaction to `replyTo`, such as an emoji, and not a text.
}

struct InboxQuery {
  after @0 :Number;
  # Only messages with a larger sequence number. Not set: from the reader's acknowledged place, or the oldest.
  reader @1 :Text;
  limit @2 :UInt32;
  # 0 takes 100; at most 1,000.
  newest @3 :Bool;
  # The newest messages instead of the oldest.
  topic @4 :Text;
  # Only broadcasts of this channel, by its name.
}

struct InboxPage {
  items @0 :List(InboxItem);
  nextAfter @1 :UInt64;
}

struct InboxItem {
  seq @0 :UInt64;
  id @1 :Data;
  from @2 :Data;
  fromName @3 :Text;
  topic @4 :Text;
  # Not set for a direct message.
  payload @5 :Data;
  sealed @6 :Bool;
  automatic @7 :Bool;
  createdMs @8 :UInt64;
  receivedMs @9 :UInt64;
  expiresMs @10 :UInt64;
  priority @11 :UInt8;
  hops @12 :UInt8;
  own @13 :Bool;
  problem @14 :Text;
  # Why the payload could not be opened.
  replyTo @15 :Data;
  # The message that this one answers, as its sender says.
  reaction @16 :Bool;
  # A reaction to `replyTo`, such as an emoji, and not a text.
  maxHops @17 :UInt8;
  # How many links it may cross.
  notice @18 :NoticeMark;
  # It is an emergency notice, and `payload` its text.
}

struct NoticeMark {
  untilMs @0 :UInt64;
  # When the notice is over.
  signed @1 :List(Data);
  # Who has signed it. Bad signatures were left out.
  counted @2 :UInt32;
  # How many of them this node's configuration names as admins.
  quorum @3 :UInt32;
  # How many must have signed; 0 when the configuration names no admins.
}

struct Notice {
  # A notice of an emergency, and how far it has come.
  notice @0 :Text;
  # The notice as one word of text, to be handed on to the next admin. No secret.
  text @1 :Text;
  untilMs @2 :UInt64;
  channel @3 :Text;
  # The channel that it is for, if that is this node's channel for emergencies.
  topicId @4 :Data;
  signed @5 :List(NoticeKey);
  # Bad signatures were left out.
  missing @6 :List(NoticeKey);
  # The admins that this node's configuration names and that have not signed.
  counted @7 :UInt32;
  # How many admins have signed.
  quorum @8 :UInt32;
  # How many must have; 0 when the configuration names no admins.
}

struct NoticeKey {
  key @0 :Data;
  name @1 :Text;
  admin @2 :Bool;
  # Whether this node's configuration names it.
  own @3 :Bool;
  # Whether it is this node's key.
}

struct Delivery {
  # A message's recipient has signed that it arrived.
  seq @0 :UInt64;
  # Counted from the start of the node.
  id @1 :Data;
  peer @2 :Data;
  # The recipient.
  peerName @3 :Text;
  atMs @4 :UInt64;
  # When the receipt came.
}

struct DeliveryPage {
  items @0 :List(Delivery);
  nextAfter @1 :UInt64;
}

struct IdentityInfo {
  peerId @0 :Data;
  nickname @1 :Text;
  domain @2 :Text;
  listen @3 :List(Text);
  identityFile @4 :Text;
  knownPeers @5 :UInt64;
  fingerprint @6 :Text;
}

enum Trust {
  known @0;
  trusted @1;
  blocked @2;
}

struct PeerInfo {
  peerId @0 :Data;
  # Not set for a noted server that has never answered.
  nickname @1 :Text;
  trust @2 :Trust;
  addresses @3 :List(Text);
  state @4 :Text;
  links @5 :List(LinkInfo);
  lastSeenMs @6 :Number;
  lastError @7 :Text;
  # Why the last dial failed, when there is no link.
  discovered @8 :List(Discovered);
}

struct Discovered {
  # Where a node was found by a discovery service.
  plugin @0 :Text;
  interface @1 :Text;
  domain @2 :Text;
  server @3 :Text;
  addresses @4 :List(Text);
  firstSeenMs @5 :UInt64;
  lastSeenMs @6 :UInt64;
}

struct LinkInfo {
  link @0 :UInt64;
  transport @1 :Text;
  remote @2 :Text;
  outbound @3 :Bool;
  rttUs @4 :Number;
  sinceMs @5 :UInt64;
  inFlight @6 :UInt64;
  sent @7 :UInt64;
  received @8 :UInt64;
  relayed @9 :Bool;
  lossPpm @10 :Number;
  preferred @11 :Bool;
}

struct PingReport {
  peerId @0 :Data;
  nickname @1 :Text;
  links @2 :List(LinkPing);
  nextHop @3 :Data;
  # Without a link to the peer: the neighbour that leads to it.
}

struct LinkPing {
  link @0 :UInt64;
  transport @1 :Text;
  remote @2 :Text;
  relayed @3 :Bool;
  preferred @4 :Bool;
  rttsUs @5 :List(UInt64);
  # The answers, in order.
  lost @6 :UInt32;
}

struct BlocksImported {
  added @0 :UInt64;
  known @1 :UInt64;
}

struct ServerNote {
  address @0 :Text;
  peerId @1 :Data;
  state @2 :Text;
}

struct ChannelInfo {
  name @0 :Text;
  topicId @1 :Data;
  private @2 :Bool;
  epoch @3 :UInt32;
  subscribers @4 :List(Text);
  invite @5 :Text;
  # A secret.
}

struct FederationReport {
  domain @0 :Text;
  plugin @1 :Text;
  # Not set: this node does not federate.
  problem @2 :Text;
  listen @3 :List(Text);
  certificate @4 :CertificateInfo;
  authority @5 :CertificateInfo;
  domains @6 :List(DomainInfo);
  refused @7 :List(RefusedDomain);
  # Newest first.
}

struct CertificateInfo {
  names @0 :List(Text);
  notAfterMs @1 :Number;
  daysLeft @2 :Number;
  # Whole days; 0 also once it has ended.
  problem @3 :Text;
}

struct DomainInfo {
  domain @0 :Text;
  state @1 :Text;
  remote @2 :Text;
  legacy @3 :Bool;
  # Its server speaks the older interface only.
  gateways @4 :List(Data);
  # Proven keys.
  rttUs @5 :Number;
  certificateDaysLeft @6 :Number;
  lastError @7 :Text;
  lastErrorMs @8 :Number;
  channels @9 :UInt64;
  # Bridged channels that it wants.
  sent @10 :UInt64;
  taken @11 :UInt64;
  takenBytes @12 :UInt64;
  putOff @13 :UInt64;
}

struct RefusedDomain {
  remote @0 :Text;
  domain @1 :Text;
  reason @2 :Text;
  count @3 :UInt64;
  lastMs @4 :Number;
}

struct RouteTable {
  plugin @0 :Text;
  routes @1 :List(RouteInfo);
  lost @2 :List(LostRoute);
  # Destinations that had a way, and have none now.
  links @3 :List(RouteLink);
  here @4 :Data;
  hereName @5 :Text;
  stateBytes @6 :Number;
  counters @7 :List(Counter);
}

struct LostRoute {
  destination @0 :Data;
  nickname @1 :Text;
  state @2 :Text;
  # `starved` or `retracted`.
  ageMs @3 :UInt64;
  seqno @4 :Number;
  feasibility @5 :Feasibility;
  alternatives @6 :List(RouteAlternative);
}

struct Feasibility {
  # What another way must beat (RFC 8966, section 3.5.1).
  seqno @0 :UInt64;
  metric @1 :UInt32;
}

struct RouteAlternative {
  nextHop @0 :Data;
  nickname @1 :Text;
  metric @2 :UInt32;
  seqno @3 :Number;
  feasible @4 :Bool;
  ageMs @5 :Number;
}

struct RouteLink {
  link @0 :UInt64;
  peer @1 :Data;
  nickname @2 :Text;
  cost @3 :Number;
  rttUs @4 :Number;
  lossPpm @5 :Number;
}

struct RouteInfo {
  destination @0 :Data;
  nextHop @1 :Data;
  nickname @2 :Text;
  metric @3 :UInt32;
  hops @4 :Number;
  ageMs @5 :UInt64;
  nextHopName @6 :Text;
  link @7 :Number;
  seqno @8 :Number;
  feasibility @9 :Feasibility;
  alternatives @10 :List(RouteAlternative);
}

struct StoreStats {
  waiting @0 :UInt64;
  waitingBytes @1 :UInt64;
  recipients @2 :UInt64;
  longest @3 :List(QueueInfo);
  broadcasts @4 :UInt64;
  broadcastBytes @5 :UInt64;
  inbox @6 :UInt64;
  seen @7 :UInt64;
  oldestMs @8 :Number;
  counters @9 :List(Counter);
  damaged @10 :UInt64;
  diskBytes @11 :UInt64;
  readOnly @12 :Text;
  oldest @13 :List(QueueInfo);
  # The queues whose oldest messages have waited longest.
  senders @14 :List(SenderUse);
  # Of whom most waits.
  evicted @15 :List(Counter);
  # By the bound that was met: recipient, sender-share, sender, topic, topic-share, inbox, inbox-share, total, link, pending.
  refused @16 :List(Counter);
  total @17 :UInt64;
  totalBytes @18 :UInt64;
  inboxBytes @19 :UInt64;
  replicas @20 :UInt64;
  # Waiting envelopes of which a neighbour holds a copy as well.
  quotas @21 :StoreQuotas;
  lost @22 :Text;
  # What files that vanished took away, and what helps.
}

struct SenderUse {
  sender @0 :Data;
  nickname @1 :Text;
  messages @2 :UInt64;
  bytes @3 :UInt64;
}

struct StoreQuotas {
  recipientMessages @0 :UInt64;
  recipientBytes @1 :UInt64;
  senderSharePercent @2 :UInt64;
  senderMessages @3 :UInt64;
  senderBytes @4 :UInt64;
  topicMessages @5 :UInt64;
  topicBytes @6 :UInt64;
  inboxMessages @7 :UInt64;
  inboxBytes @8 :UInt64;
  totalMessages @9 :UInt64;
  totalBytes @10 :UInt64;
  linkMessagesPerMinute @11 :UInt64;
  linkBytesPerMinute @12 :UInt64;
}

struct QueueQuery {
  recipient @0 :Text;
  after @1 :UInt64;
  # So many messages are passed over.
  limit @2 :UInt32;
  # 0 takes 100; at most 1,000.
}

struct QueuePage {
  recipient @0 :Data;
  nickname @1 :Text;
  messages @2 :UInt64;
  bytes @3 :UInt64;
  maxMessages @4 :UInt64;
  maxBytes @5 :UInt64;
  items @6 :List(QueuedItem);
}

struct QueuedItem {
  id @0 :Data;
  from @1 :Data;
  fromName @2 :Text;
  priority @3 :UInt8;
  bytes @4 :UInt64;
  createdMs @5 :UInt64;
  receivedMs @6 :UInt64;
  expiresMs @7 :UInt64;
  source @8 :Data;
  # Not set: it was handed in here. This node's own key: it came out of a file.
}

struct WhyReport {
  id @0 :Text;
  state @1 :Text;
  # `writing`, `waiting`, `inbox`, `history`, `custody`, `delivered`, `expired`, `evicted`, `used`, `gone`, `refused` or `unknown`.
  kind @2 :Text;
  own @3 :Bool;
  from @4 :Data;
  fromName @5 :Text;
  to @6 :Text;
  # 64 hex digits, or the first 16 when no more is remembered.
  toName @7 :Text;
  topic @8 :Text;
  source @9 :Text;
  sourceName @10 :Text;
  createdMs @11 :Number;
  receivedMs @12 :Number;
  expiresMs @13 :Number;
  rememberedMs @14 :Number;
  wait @15 :WaitInfo;
  inbox @16 :Text;
  # `read` or `unread`.
  atMs @17 :Number;
  by @18 :Text;
  byName @19 :Text;
  how @20 :Text;
  # `link`, `receipt`, `mailbox`, `inbox` or `unknown`.
  quota @21 :Text;
  refused @22 :RefusedInfo;
}

struct WaitInfo {
  place @0 :UInt64;
  queue @1 :UInt64;
  mailbox @2 :Bool;
  known @3 :Bool;
  hops @4 :List(HopInfo);
  nextMs @5 :Number;
}

struct HopInfo {
  peer @0 :Data;
  nickname @1 :Text;
  state @2 :Text;
  # `offered`, `declined`, `copied`, `brought`, `full`, `elsewhere`, `kept` or `next`.
  sinceMs @3 :Number;
  untilMs @4 :Number;
  verdict @5 :Text;
}

struct RefusedInfo {
  code @0 :Text;
  atMs @1 :UInt64;
  source @2 :Data;
  sourceName @3 :Text;
}

struct ExportQuery {
  # Nothing set: all that wait for somebody.
  recipient @0 :Text;
  topic @1 :Text;
  all @2 :Bool;
  # What waits, and the broadcasts of all topics.
  place @3 :UInt64;
}

struct ExportPage {
  envelopes @0 :List(Data);
  next @1 :Number;
  damaged @2 :UInt64;
  held @3 :UInt64;
}

struct ImportOutcome {
  id @0 :Data;
  code @1 :Text;
  # `new`, `known`, `expired`, or the code of the refusal.
  message @2 :Text;
}

struct Counter {
  name @0 :Text;
  value @1 :UInt64;
}

struct QueueInfo {
  recipient @0 :Data;
  messages @1 :UInt64;
  bytes @2 :UInt64;
  oldestMs @3 :UInt64;
  nickname @4 :Text;
}

struct PluginStatus {
  name @0 :Text;
  kind @1 :Text;
  version @2 :Text;
  file @3 :Text;
  sha256 @4 :Text;
  state @5 :Text;
  failures @6 :UInt32;
  lastError @7 :Text;
  restartInMs @8 :Number;
  generation @9 :UInt32;
  stats @10 :Text;
  # JSON, as the plugin gives it.
  swaps @11 :List(SwapReport);
  # The last ones, oldest first.
}

struct SwapReport {
  file @0 :Text;
  version @1 :Text;
  sha256 @2 :Text;
  state @3 :Text;
  # `running`, `done`, `refused` or `fell-back`.
  reason @4 :Text;
  atMs @5 :UInt64;
  tookMs @6 :Number;
  pauseUs @7 :Number;
}

struct BotStatus {
  name @0 :Text;
  version @1 :Text;
  path @2 :Text;
  state @3 :Text;
  problem @4 :Text;
  commands @5 :List(Text);
  topics @6 :List(Text);
  events @7 :UInt64;
  errors @8 :UInt64;
  cpuMs @9 :UInt64;
  memoryBytes @10 :UInt64;
  sent @11 :UInt64;
  storedBytes @12 :UInt64;
  lag @13 :UInt64;
  loads @14 :UInt32;
  isolation @15 :Text;
  # Where it runs: `thread`, `process`, or `process without seccomp`.
  needs @16 :List(Text);
  # The permissions that its manifest asks for.
  missing @17 :List(Text);
  # Those of them that the admin has yet to approve; until then it doesn't run.
  pauses @18 :UInt32;
  # Times it was paused for too many errors.
  kills @19 :UInt32;
  # Events that were stopped for their CPU time.
  limits @20 :List(LimitUse);
  # What it uses of each of its limits.
  denied @21 :List(Text);
  # Of its needs those that the admin saw and didn't grant: it runs without.
}

struct LimitUse {
  name @0 :Text;
  # The limit, as it is called in the configuration.
  used @1 :UInt64;
  limit @2 :UInt64;
}

struct ScriptApproval {
  needs @0 :List(Text);
  # The permissions to grant. Empty grants what the bot asks for now.
  revoke @1 :Bool;
  # Takes back what was granted instead.
  trusted @2 :Bool;
  # The bot may run inside the node's own process.
}

struct ScriptLogQuery {
  bot @0 :Text;
  # Not set: all bots.
  after @1 :Number;
  # Only lines with a larger number. Not set: the newest ones.
  limit @2 :UInt32;
  # 0 takes 100; at most 1,000.
}

struct ScriptLogLine {
  seq @0 :UInt64;
  atMs @1 :UInt64;
  bot @2 :Text;
  level @3 :Text;
  # `debug`, `info`, `warn` or `error`.
  event @4 :Text;
  # What the bot was doing: `!list`, `timer`, `load`.
  place @5 :Text;
  # File and line.
  text @6 :Text;
  traceback @7 :Text;
  # Of an error: the calls that led to it, innermost first, one on each line.
}

struct ScriptLogPage {
  lines @0 :List(ScriptLogLine);
  nextAfter @1 :UInt64;
}

struct ScriptEval {
  bot @0 :Text;
  code @1 :Text;
  # A Lua expression or statements.
  write @2 :Bool;
  # Calls that change or send something are allowed.
}

struct ScriptEvaluated {
  result @0 :Text;
  # What the code returned, as text for people.
  error @1 :Text;
  # Why it failed, with its line.
  cpuUs @2 :UInt64;
}

struct NodeStatus {
  version @0 :Text;
  pid @1 :UInt32;
  home @2 :Text;
  peerId @3 :Data;
  uptimeSecs @4 :UInt64;
  links @5 :UInt64;
  residentBytes @6 :Number;
  plugins @7 :List(PluginStatus);
  scripts @8 :List(BotStatus);
  store @9 :StoreStats;
  warnings @10 :List(Text);
  mappedLibraries @11 :UInt32;
}
