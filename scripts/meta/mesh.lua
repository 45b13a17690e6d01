---@meta

-- Made from the host's table of calls; changes here are lost.
-- `qpq script editor` writes it anew.

--- A duration: "90s", "10m", "6h", "3d", "2w", or a number of seconds.
---@alias mesh.duration string|number

--- A moment: "08:00" (UTC), a cron expression such as "*/15 8-18 * * 1-5", or Unix seconds.
---@alias mesh.moment string|number

--- What goes first, and is dropped last.
---@alias mesh.priority "low"|"normal"|"high"|"emergency"

--- What happened on a board.
---@alias mesh.change "new"|"edited"|"deleted"|"pinned"|"unpinned"|"hidden"|"shown"|"banned"|"unbanned"

--- How far the admin trusts a peer.
---@alias mesh.trust "known"|"trusted"|"blocked"

--- The name of an event.
---@alias mesh.event_name
---| "start" # The bot begins: after its first load, and after each start of the node.
---| "reload" # A new version took over from one that ran. `mesh.state` is that of the old one.
---| "stop" # The bot ends: the node stops, or the bot is taken away. What it does now must be quick. A new version that takes over is no end.
---| "envelope" # A direct message came that is none of this bot's commands.
---| "broadcast" # A message came on a channel. `{ topic = … }` joins that channel.
---| "reaction" # Somebody reacted to a message of this node; with `{ topic = … }`, on that channel.
---| "board" # Something changed on a board that the bot has opened.
---| "peer_up" # The first link to a peer is up: `peer`, `name`.
---| "peer_down" # The last link to a peer went down: `peer`, `name`.
---| "link_change" # A link to a peer came or went: `peer`, `name`, and `detail`, which is `up` or `down`.
---| "route_change" # Ways through the mesh changed; `mesh.routes` tells them.
---| "delivered" # A message of this node reached its recipient: `id`, `peer`, `name`.
---| "failed" # A message of this node died before its recipient had it: `id`, `peer`, `name`, `detail`. It comes once the node is sure of the time: in the first hour after its start, or after a leap of its clock, up to an hour after the message's end.
---| "evicted" # A message was dropped for want of room: `id`, and `peer` and `name` of its sender.

--- A message that came: direct, or on a channel.
---@class mesh.message
---@field event "envelope"|"broadcast" `envelope` for a direct message, `broadcast` for one on a channel
---@field id string the message's id, 64 digits
---@field from string the sender's key, 64 digits; it is proved by a signature
---@field from_name string the sender's nickname, or the beginning of the key; anybody can take a name
---@field topic? string the channel; absent in direct messages
---@field text string what was written, any bytes
---@field sealed boolean nobody on the way could read it
---@field automatic boolean a program wrote it
---@field own boolean it comes from this node itself
---@field created number when it was written by the sender's clock, Unix seconds
---@field received number when it came here, Unix seconds
---@field expires number when it dies, Unix seconds
---@field priority mesh.priority how urgent the sender calls it
---@field hops integer links that it crossed
---@field reply_to? string the id of the message that it answers
---@field reaction boolean it is a reaction to that message, not an answer
local msg = {}

---@class mesh.message.reply.options
---@field ttl? mesh.duration how long it lives on its way, such as "3d"; what the node is set to if not said
---@field priority? mesh.priority what goes first when a link or a store is crowded; normal if not said

--- Answers where the message came from: to its sender, or on its channel.
--- It waits; other handlers go on meanwhile.
--- Permission: reply.
---@param message string|table the text, any bytes; a table is sent as JSON. At most 60,000 bytes
---@param options? mesh.message.reply.options options by name
---@return mesh.receipt?, mesh.error
function msg:reply(message, options) end

---@class mesh.message.ask.options
---@field timeout? mesh.duration how long to wait: an hour if not said, a day at most
---@field ttl? mesh.duration how long it lives on its way, such as "3d"; what the node is set to if not said
---@field priority? mesh.priority what goes first when a link or a store is crowded; normal if not said

--- Asks the sender something where the message came from, and waits for the answer. Questions don't outlive a reload or restart.
--- It waits; other handlers go on meanwhile.
--- Permission: reply.
---@param question string|table the text; a table is sent as JSON
---@param options? mesh.message.ask.options options by name
---@return mesh.message?, mesh.error
function msg:ask(question, options) end

--- Reacts to the message.
--- It waits; other handlers go on meanwhile.
--- Permission: reply.
---@param emoji string an emoji, or another few characters
---@return mesh.receipt?, mesh.error
function msg:react(emoji) end

--- What happened to the bot or in the mesh; which fields there are depends on the event.
---@class mesh.event
---@field event mesh.event_name the event's name
---@field peer? string the key of the peer that it is about
---@field name? string the peer's nickname
---@field id? string the id of the message that it is about
---@field detail? string a few words: the transport, the reason

--- What sending returns: the message is on this node's disk, or, if it is optional, waits for room.
---@class mesh.receipt
---@field id? string the message's id, 64 digits; absent while it waits for room
---@field expires? number when it dies, Unix seconds
---@field queued? boolean true when it waits for room; absent else

--- What the world did: the second result of a call whose first is nil. It can be joined to texts with `..`.
---@class mesh.error
---@field code string a word that stays the same, such as `rate-limited`
---@field message string what went wrong, for people
---@operator concat(any): string

--- A timer that is set.
---@class mesh.timer
---@field id integer its number in this bot
local timer = {}

--- Ends the timer; whether it was still set.
---@return boolean
function timer:cancel() end

--- A board that the bot has opened.
---@class mesh.board
---@field topic string the channel that it is on
---@field place integer its number in this bot
local board = {}

---@class mesh.board.post.options
---@field by? mesh.message|string for whom it is written: the message that asked for it, or a key; this node itself if not said

--- Puts up a post.
--- It waits; other handlers go on meanwhile.
---@param text string what is written
---@param options? mesh.board.post.options options by name
---@return mesh.post?, mesh.error
function board:post(text, options) end

---@class mesh.board.reply.options
---@field by? mesh.message|string for whom it is written: the message that asked for it, or a key; this node itself if not said

--- Answers a post.
--- It waits; other handlers go on meanwhile.
---@param id string the post's id, or its first 6 digits or more
---@param text string what is written
---@param options? mesh.board.reply.options options by name
---@return mesh.post?, mesh.error
function board:reply(id, text, options) end

---@class mesh.board.edit.options
---@field by? mesh.message|string for whom it is written: the message that asked for it, or a key; this node itself if not said

--- Gives a post another text. Only its author can, by the same way as it was written.
--- It waits; other handlers go on meanwhile.
---@param id string the post's id, or its first 6 digits or more
---@param text string what is written
---@param options? mesh.board.edit.options options by name
---@return mesh.post?, mesh.error
function board:edit(id, text, options) end

---@class mesh.board.delete.options
---@field by? mesh.message|string for whom it is written: the message that asked for it, or a key; this node itself if not said

--- Takes a post down everywhere. Only its author can.
--- It waits; other handlers go on meanwhile.
---@param id string the post's id, or its first 6 digits or more
---@param options? mesh.board.delete.options options by name
---@return boolean?, mesh.error
function board:delete(id, options) end

---@class mesh.board.pin.options
---@field by? mesh.message|string who orders it: the message that asked for it, or a key; nothing is done unless it is one of the board's moderators

--- Keeps a post above the others.
--- It waits; other handlers go on meanwhile.
---@param id string the post's id, or its first 6 digits or more
---@param options? mesh.board.pin.options options by name
---@return mesh.post?, mesh.error
function board:pin(id, options) end

---@class mesh.board.unpin.options
---@field by? mesh.message|string who orders it: the message that asked for it, or a key; nothing is done unless it is one of the board's moderators

--- Ends a pin.
--- It waits; other handlers go on meanwhile.
---@param id string the post's id, or its first 6 digits or more
---@param options? mesh.board.unpin.options options by name
---@return mesh.post?, mesh.error
function board:unpin(id, options) end

---@class mesh.board.hide.options
---@field reason? string why, for those who look at hidden posts
---@field by? mesh.message|string who orders it: the message that asked for it, or a key; nothing is done unless it is one of the board's moderators

--- Leaves a post out of lists, wherever this node is named as a moderator.
--- It waits; other handlers go on meanwhile.
---@param id string the post's id, or its first 6 digits or more
---@param options? mesh.board.hide.options options by name
---@return mesh.post?, mesh.error
function board:hide(id, options) end

---@class mesh.board.show.options
---@field by? mesh.message|string who orders it: the message that asked for it, or a key; nothing is done unless it is one of the board's moderators

--- Takes a hide back.
--- It waits; other handlers go on meanwhile.
---@param id string the post's id, or its first 6 digits or more
---@param options? mesh.board.show.options options by name
---@return mesh.post?, mesh.error
function board:show(id, options) end

---@class mesh.board.ban.options
---@field by? mesh.message|string who orders it: the message that asked for it, or a key; nothing is done unless it is one of the board's moderators

--- Leaves out all that somebody writes, for 30 days.
--- It waits; other handlers go on meanwhile.
---@param key string whose posts: a key of 64 digits
---@param options? mesh.board.ban.options options by name
---@return boolean?, mesh.error
function board:ban(key, options) end

---@class mesh.board.unban.options
---@field by? mesh.message|string who orders it: the message that asked for it, or a key; nothing is done unless it is one of the board's moderators

--- Ends a ban.
--- It waits; other handlers go on meanwhile.
---@param key string whose posts: a key of 64 digits
---@param options? mesh.board.unban.options options by name
---@return boolean?, mesh.error
function board:unban(key, options) end

--- One post, also a hidden one.
---@param id string the post's id, or its first 6 digits or more
---@return mesh.post?, mesh.error
function board:get(id) end

---@class mesh.board.list.options
---@field skip? integer leave out so many
---@field limit? integer at most so many: 20 if not said, 200 at most
---@field by? string only what this key wrote
---@field reverse? boolean the oldest first
---@field replies? boolean with replies among them
---@field hidden? boolean with hidden ones among them

--- Posts, the pinned first, then the newest.
---@param options? mesh.board.list.options options by name
---@return mesh.post[]
function board:list(options) end

---@class mesh.board.thread.options
---@field limit? integer at most so many: 20 if not said, 200 at most

--- A post and the replies below it, each with its `depth`.
---@param id string the post's id, or its first 6 digits or more
---@param options? mesh.board.thread.options options by name
---@return mesh.post[]?, mesh.error
function board:thread(id, options) end

---@class mesh.board.search.options
---@field skip? integer leave out so many
---@field limit? integer at most so many: 20 if not said, 200 at most

--- Posts and replies with all these words, newest first.
---@param words string words that must all be in the text, in any case
---@param options? mesh.board.search.options options by name
---@return mesh.post[]
function board:search(words, options) end

--- How many posts and replies are shown.
---@return number
function board:size() end

--- A post or a reply on a board.
---@class mesh.post
---@field id string the post's id, 64 digits
---@field short string its first digits, as many as tell it from others
---@field author string who wrote it: a key
---@field author_name string the author's nickname, or the beginning of the key
---@field via? string the key of the node whose bot wrote it for the author
---@field text string the text as it is now
---@field created number when it was written, Unix seconds
---@field edited? number when its text was changed, Unix seconds
---@field pinned boolean a moderator keeps it above the others
---@field hidden boolean a moderator left it out of lists
---@field reason? string why, if it was said
---@field parent? string the id of the post that it answers
---@field replies integer how many replies are shown below it
---@field expires number when it dies, Unix seconds
---@field depth integer in a thread, how far below the first post it is; 0 elsewhere

--- What changed on a board: the post as it is now, with what was done to it.
---@class mesh.board_event
---@field event "board" the event's name
---@field board string the board's channel
---@field change mesh.change what happened
---@field by string whose message did it: a key
---@field author string who wrote the post; of a ban, who is banned: a key
---@field author_name? string the author's nickname, or the beginning of the key; absent in bans
---@field id? string the post's id, 64 digits; absent in bans, as is all that follows
---@field short? string its first digits
---@field via? string the key of the node whose bot wrote it for the author
---@field text? string the text as it is now
---@field created? number when it was written, Unix seconds
---@field edited? number when its text was changed, Unix seconds
---@field pinned? boolean a moderator keeps it above the others
---@field hidden? boolean a moderator left it out of lists
---@field reason? string why, if it was said
---@field parent? string the id of the post that it answers
---@field replies? integer how many replies are shown below it
---@field expires? number when it dies, Unix seconds
---@field depth? integer always 0 here

--- A peer that the node knows.
---@class mesh.peer
---@field id? string its key, 64 digits; absent for a server that never answered
---@field name? string its nickname
---@field state string `up`, `connecting`, `waiting` or `idle`
---@field trust mesh.trust how far the admin trusts it
---@field links integer links that are up
---@field rtt? number the shortest round trip of them, in seconds
---@field last_seen? number when it was last linked or heard of, Unix seconds

--- A line of the routing table.
---@class mesh.route
---@field to string whom it leads to: a key
---@field name? string that one's nickname
---@field via string the neighbour to which messages go: a key
---@field metric number the cost; smaller is better
---@field hops? integer links to cross, where the routing plugin knows
---@field age number seconds since it was last confirmed

--- A channel that the node has joined.
---@class mesh.channel
---@field name string its name
---@field id string its id on the wire, 64 digits
---@field private boolean only who has the invite can read it

--- A plugin of the node.
---@class mesh.plugin
---@field name string its name
---@field kind string `transport`, `discovery`, `routing` or `federation`
---@field version string its version
---@field state string `active` when it runs; `starting`, `quiescing`, `drained` or `stopped` on the way; `failed`, `zombie` (it hangs) or `disabled` when it doesn't
---@field file string the library that runs
---@field failures integer how often it failed
---@field error? string how it failed last

--- The figures of the node's store.
---@class mesh.store_stats
---@field waiting integer messages that wait for a next hop or their recipient
---@field waiting_bytes integer their size
---@field recipients integer recipients with something waiting
---@field broadcasts integer broadcasts kept for late joiners
---@field inbox integer messages in the inbox
---@field total integer messages kept in all
---@field total_bytes integer their size
---@field disk_bytes integer size of the database
---@field oldest? number when the oldest waiting message came, Unix seconds
---@field read_only? string why the store takes nothing new, if it doesn't
---@field lost? string what vanished files took away, if any did
---@field counters table<string, integer> counts since the start: `accepted`, `delivered`, `evicted` and more

--- What the machine's own mesh routing knows.
---@class mesh.machine
---@field sources string[] who was asked: `babel`, `batman`; empty where neither runs
---@field neighbours mesh.machine_neighbour[] the machine's neighbours
---@field gateways mesh.machine_gateway[] the ways out of the mesh
---@field routes integer routes that babeld knows
---@field problems string[] who could not be asked, and why

--- A neighbour of the machine.
---@class mesh.machine_neighbour
---@field protocol string `babel` or `batman`
---@field address string its address
---@field interface string the interface that it is seen on
---@field quality? number how much is heard of it, from 0 to 1
---@field cost? integer Babel's cost of the link
---@field kbit? integer throughput in kbit/s, as B.A.T.M.A.N. V estimates it
---@field seen? number seconds since it was heard

--- A way out of the mesh.
---@class mesh.machine_gateway
---@field protocol string `babel` or `batman`
---@field address string its id or address
---@field via string the neighbour that leads to it

--- The node and the bot themselves.
---@class mesh.self
---@field id string the node's key, 64 digits
---@field name? string the node's nickname
---@field bot string the bot's name
---@field version? string the bot's version, from bot.toml

--- A node of the virtual mesh.
---@class test.node
---@field name string its name
local node = {}

---@class test.node.receive.options
---@field from? string who writes
---@field text? string what is written
---@field topic? string the channel
---@field to? string to whom, if not to this node
---@field automatic? boolean as if a program wrote it
---@field priority? integer from 0 (low) to 3 (emergency)
---@field receipt? boolean ask for a receipt
---@field reply_to? string the id of the message that it answers
---@field reaction? boolean it is a reaction to that message

--- Somebody ("anna" if not said; "self" is the node's own user) writes to this node, or on a channel. The message goes through the mesh, and the test goes on when the mesh is quiet. Returns the message's id.
--- It waits; other handlers go on meanwhile.
---@param what test.node.receive.options the message
---@return string
function node:receive(what) end

---@class test.node.expect_sent.options
---@field to? string the recipient, by name or key
---@field topic? string the channel
---@field text? string the whole text
---@field match? string a pattern that a part of the text matches
---@field bot? string the bot that sent it
---@field within? mesh.duration how long to wait for it; 10s if not said

--- A bot of this node has sent such a message, or does within 10s. Each message is expected once. Returns it.
--- It waits; other handlers go on meanwhile.
---@param filter? test.node.expect_sent.options what is looked for; anything if not said
---@return test.sent
function node:expect_sent(filter) end

---@class test.node.expect_nothing.options
---@field to? string the recipient, by name or key
---@field topic? string the channel
---@field text? string the whole text
---@field match? string a pattern that a part of the text matches
---@field bot? string the bot that sent it
---@field within? mesh.duration how long to wait for it; 10s if not said

--- No such message was sent that was not expected before, nor is one within 10s.
--- It waits; other handlers go on meanwhile.
---@param filter? test.node.expect_nothing.options what is looked for; anything if not said
function node:expect_nothing(filter) end

--- For so long no bot of this node sends anything.
--- It waits; other handlers go on meanwhile.
---@param duration mesh.duration how long
function node:expect_silence(duration) end

--- All that the bots of this node sent so far.
--- It waits; other handlers go on meanwhile.
---@return test.sent[]
function node:sent() end

--- A handler of a bot of this node has failed with such a message, or does within 10s. A test fails when errors are left that it did not expect.
--- It waits; other handlers go on meanwhile.
---@param pattern? string a pattern that a part of the message matches
---@return string
function node:expect_error(pattern) end

--- Starts the bots now, which else start with the first thing that happens.
--- It waits; other handlers go on meanwhile.
function node:run() end

--- Loads the bots of this node anew, as after a change of their files.
--- It waits; other handlers go on meanwhile.
function node:reload() end

--- The admin's configuration of this node's bots.
---@param values table names with their values, as in [scripts.config.NAME]
function node:config(values) end

--- The admin's limits for this node's bots.
---@param limits table names with their values, as in [scripts.limits]
function node:limits(limits) end

--- The permissions that the admin grants. A version that needs others waits, as on a node: `t:bot_state()` is `waiting`. All, if not said.
---@param permissions string[] their names
function node:grant(permissions) end

--- What the bot keeps under a key, or all of it.
---@param key? string the key; all of them if not said
---@return any
function node:store(key) end

--- The last lines that the bot wrote to the log.
---@return string[]
function node:log() end

--- running, paused, failed or disabled; and the bot's problem.
--- It waits; other handlers go on meanwhile.
---@param bot? string the bot's name; the tested one if not said
---@return string, string?
function node:bot_state(bot) end

---@class test.node.emit.options
---@field peer? string the peer that it is about, by name or key
---@field name? string the peer's nickname
---@field id? string the id of the message that it is about
---@field detail? string a few words

--- Tells the bots of an event that the mesh doesn't make by itself.
--- It waits; other handlers go on meanwhile.
---@param event mesh.event_name the event's name
---@param filter? test.node.emit.options its fields
function node:emit(event, filter) end

--- What bots read as the source of that name; without a text, reading fails with that code (source-failed if not said).
---@param name string the admin's name for the source
---@param text? string what is read
---@param code? string why it can't be read
function node:source(name, text, code) end

--- What `mesh.machine` tells: sources, neighbours, gateways, routes, problems. Nothing if not said.
---@param report? table as `mesh.machine` returns it
function node:machine(report) end

--- The node's plugins, a table for each: name, kind, version, state, file, failures, error.
---@param plugins table a list, as `mesh.relay.plugins` returns it
function node:plugins(plugins) end

--- What bots swapped, in order: name and file of each.
--- It waits; other handlers go on meanwhile.
---@return table[]
function node:swaps() end

--- The trust in each peer that the node knows, by its key.
--- It waits; other handlers go on meanwhile.
---@return table
function node:trusts() end

--- What bots bounded with `mesh.relay.limit`: messages and bytes, by the key.
--- It waits; other handlers go on meanwhile.
---@return table
function node:bounds() end

--- The node's key.
---@return string
function node:self() end

--- Somebody with a node of her own that is linked to this one.
---@param name string a person's or a node's name
---@return test.person
function node:person(name) end

--- Stops the node in good order.
--- It waits; other handlers go on meanwhile.
function node:stop() end

--- Takes the node down at once; what was not on its disk is lost.
--- It waits; other handlers go on meanwhile.
function node:crash() end

--- Starts the node again over what its disk holds, and its bots.
--- It waits; other handlers go on meanwhile.
function node:start() end

--- The test: its mesh, and its first node.
---@class test.t: test.node
local t = {}

---@class test.t.node.options
---@field bots? boolean|string[] false for none, or the names of those that run on it
---@field links? string|string[] the nodes that it is linked to

--- A further node, with the tested bot on it; `bots = false` leaves it out, a list of names puts these on. It is linked to all nodes that there are, or to those in `links`.
---@param name string a person's or a node's name
---@param filter? test.t.node.options how it is made
---@return test.node
function t:node(name, filter) end

---@class test.t.link.options
---@field latency? mesh.duration how long a message takes one way

--- Links two nodes; the latency is one way, 5ms if not said.
--- It waits; other handlers go on meanwhile.
---@param one string a node's name
---@param other string another node's name
---@param filter? test.t.link.options how it is
function t:link(one, other, filter) end

--- Takes a link away.
--- It waits; other handlers go on meanwhile.
---@param one string a node's name
---@param other string another node's name
function t:unlink(one, other) end

--- Breaks the mesh into these lists of nodes; all others are together in one more part. People are where their node is.
--- It waits; other handlers go on meanwhile.
---@param ... string[] the parts, each a list of nodes' names
function t:partition(...) end

--- Makes the mesh whole again.
--- It waits; other handlers go on meanwhile.
function t:heal() end

--- Share of the frames that are lost, and repeated later: 0 to 0.9.
---@param share number 0.3 is every third, about
function t:loss(share) end

--- Lets time pass.
--- It waits; other handlers go on meanwhile.
---@param duration mesh.duration how long
function t:advance(duration) end

--- Unix time in seconds, by the mesh's clock.
---@return number
function t:now() end

--- The key of a person or a node, whether it is there yet or not.
---@param name string a person's or a node's name
---@return string
function t:key(name) end

--- Both are equal; tables in all that they hold.
---@param got? any what came
---@param wanted? any what should have come
---@param message? string what to say when it isn't so
function t:equal(got, wanted, message) end

--- The value is neither nil nor false.
---@param value? any what must be so
---@param message? string what to say when it isn't so
function t:ok(value, message) end

--- The text has a part that matches the pattern.
---@param text string a text
---@param pattern string a pattern of Lua
---@param message? string what to say when it isn't so
function t:matches(text, pattern, message) end

--- Somebody with a node of her own.
---@class test.person: test.node
---@field key string her key, 64 digits
local person = {}

---@class test.person.send.options
---@field text? string what is written
---@field topic? string the channel
---@field to? string to whom
---@field automatic? boolean as if a program wrote it
---@field priority? integer from 0 (low) to 3 (emergency)
---@field receipt? boolean ask for a receipt
---@field reply_to? string the id of the message that it answers
---@field reaction? boolean it is a reaction to that message

--- Writes to a node or a person (if not said, to the node that she is linked to), or on a channel.
--- It waits; other handlers go on meanwhile.
---@param what test.person.send.options the message
---@return string
function person:send(what) end

--- Joins a channel. Who writes on one joins it, too.
--- It waits; other handlers go on meanwhile.
---@param topic string the channel
function person:join(topic) end

---@class test.person.expect_received.options
---@field from? string the sender, by name or key
---@field topic? string the channel
---@field text? string the whole text
---@field match? string a pattern that a part of the text matches
---@field within? mesh.duration how long to wait for it; 10s if not said

--- Such a message has arrived, or does within 10s. Each is expected once. Returns it.
--- It waits; other handlers go on meanwhile.
---@param filter? test.person.expect_received.options what is looked for; anything if not said
---@return test.received
function person:expect_received(filter) end

---@class test.person.expect_nothing_received.options
---@field from? string the sender, by name or key
---@field topic? string the channel
---@field text? string the whole text
---@field match? string a pattern that a part of the text matches
---@field within? mesh.duration how long to wait for it; 10s if not said

--- No such message has arrived that was not expected before, nor does within 10s.
--- It waits; other handlers go on meanwhile.
---@param filter? test.person.expect_nothing_received.options what is looked for; anything if not said
function person:expect_nothing_received(filter) end

--- All that has arrived, the oldest first.
--- It waits; other handlers go on meanwhile.
---@return test.received[]
function person:received() end

--- A message that a bot sent.
---@class test.sent
---@field text string the text
---@field to? string the recipient's key; absent on a channel
---@field to_name? string the recipient's name
---@field topic? string the channel
---@field bot string the bot
---@field id string the message's id, 64 digits
---@field time number when it was sent, Unix seconds
---@field expires number when it dies, Unix seconds
---@field priority mesh.priority how urgent it is
---@field reply_to? string the id of the message that it answers
---@field reaction boolean it is a reaction to that message

--- A message that reached a person.
---@class test.received
---@field text string the text
---@field from string the sender's key
---@field from_name string the sender's name
---@field topic? string the channel
---@field id string the message's id, 64 digits
---@field time number when it came, Unix seconds
---@field created number when it was written, Unix seconds
---@field expires number when it dies, Unix seconds
---@field automatic boolean a program wrote it
---@field sealed boolean nobody on the way could read it
---@field hops integer links that it crossed
---@field reply_to? string the id of the message that it answers
---@field reaction boolean it is a reaction to that message
---@field priority mesh.priority how urgent it is

--- What the node offers to a bot.
---@class mesh
---@field state table<string, any> plain data that is carried over a reload, 64 KiB at most; a new start begins with an empty one
---@field self mesh.self the node and the bot themselves
mesh = {}

--- Writes a test down. It runs when the whole file is read.
---@param name string what is promised
---@param fn fun(t: test.t) plays it on a mesh of its own, and raises when it isn't so
function test(name, fn) end

--- Calls fn at each event of that name.
--- Permission: that of the event.
---@param event mesh.event_name the event's name
---@param filter? table fields that must be equal, as in `{ topic = "board" }`; `automatic = true` lets messages of programs in, too
---@param fn fun(event: table) called with the event's table; it may wait
---@overload fun(event: "board", fn: fun(event: mesh.board_event))
---@overload fun(event: "board", filter: table, fn: fun(event: mesh.board_event))
---@overload fun(event: "start"|"reload"|"stop"|"peer_up"|"peer_down"|"link_change"|"route_change"|"delivered"|"failed"|"evicted", fn: fun(event: mesh.event))
---@overload fun(event: "start"|"reload"|"stop"|"peer_up"|"peer_down"|"link_change"|"route_change"|"delivered"|"failed"|"evicted", filter: table, fn: fun(event: mesh.event))
---@overload fun(event: "envelope"|"broadcast"|"reaction", fn: fun(msg: mesh.message))
---@overload fun(event: "envelope"|"broadcast"|"reaction", filter: table, fn: fun(msg: mesh.message))
function mesh.on(event, filter, fn) end

--- Calls fn at each direct message to this node that people wrote and that is no command of the bot.
--- Permission: direct.
---@param fn fun(msg: mesh.message) called with the message; it may wait
function mesh.on_envelope(fn) end

--- Joins the channel and calls fn at each message that people write on it.
--- Permission: listen, or listen:TOPIC.
---@param topic string the channel's name
---@param fn fun(msg: mesh.message) called with the message; it may wait
function mesh.on_broadcast(topic, fn) end

---@class mesh.command.options
---@field args? string what follows the name, as in `<topic> [count] <text>`: `<>` must be there, `[]` gets a word where there are enough, the last takes the rest
---@field help? string a line for `!help`
---@field who? string|string[] the keys that may use it, 64 digits each; "self" is this node's own. Everybody if not said
---@field channel? string|string[] where it is answered besides direct messages
---@field all? boolean on a channel each node's bot answers; else one of them does, and another when it is silent

--- Answers !name in direct messages, and on the channels named. `!help` is made from the help of all commands.
--- Permission: reply; with channel listen, without it direct.
---@param name string what follows the `!`: letters, digits, `-` and `_`, at most 32
---@param options? mesh.command.options options by name
---@param fn fun(msg: mesh.message, ...: string): string? called with the message and one string for each of `args`; a string that it returns is the answer
---@overload fun(name: string, fn: fun(msg: mesh.message, ...: string): string?)
function mesh.command(name, options, fn) end

---@class mesh.send.options
---@field ttl? mesh.duration how long it lives on its way, such as "3d"; what the node is set to if not said
---@field priority? mesh.priority what goes first when a link or a store is crowded; normal if not said
---@field receipt? boolean ask for a receipt: the event `delivered` tells bots with the permission `peers` of it
---@field plain? boolean send without sealing, readable by every relay
---@field optional? boolean it may wait while a link is busy or the quota is used up, and be merged with what waits already
---@field merge? string a name: of what is optional and waits, the newest with that name is sent alone

--- Sends a direct message. Returns once it is on this node's disk.
--- It waits; other handlers go on meanwhile.
--- Permission: send.
---@param to string a key, a unique beginning of one, or a nickname
---@param message string|table the text, any bytes; a table is sent as JSON. At most 60,000 bytes
---@param options? mesh.send.options options by name
---@return mesh.receipt?, mesh.error
function mesh.send(to, message, options) end

---@class mesh.broadcast.options
---@field ttl? mesh.duration how long it lives on its way, such as "3d"; what the node is set to if not said
---@field priority? mesh.priority what goes first when a link or a store is crowded; normal if not said
---@field hops? integer over how many links it may go, 1 to 255; 1 is for the neighbours alone
---@field optional? boolean it may wait while a link is busy or the quota is used up, and be merged with what waits already
---@field merge? string a name: of what is optional and waits, the newest with that name is sent alone

--- Publishes on a channel. Returns once it is on this node's disk.
--- It waits; other handlers go on meanwhile.
--- Permission: broadcast, or broadcast:TOPIC.
---@param topic string the channel's name
---@param message string|table the text, any bytes; a table is sent as JSON. At most 60,000 bytes
---@param options? mesh.broadcast.options options by name
---@return mesh.receipt?, mesh.error
function mesh.broadcast(topic, message, options) end

---@class mesh.every.options
---@field name? string a name by which it keeps its pace over a reload

--- Calls fn again and again, first after one period. A late timer fires once, never in a burst.
---@param period mesh.duration how often; 1 s at least
---@param fn fun() called without arguments; it may wait
---@param options? mesh.every.options options by name
---@return mesh.timer
function mesh.every(period, fn, options) end

---@class mesh.after.options
---@field name? string a name by which it keeps its moment over a reload, where the new version sets it with the same delay

--- Calls fn once, later. It is forgotten when the node stops, and at a reload if it has no name: what must last belongs into the store.
---@param delay mesh.duration how long from now; 1 s at least
---@param fn fun() called without arguments; it may wait
---@param options? mesh.after.options options by name
---@return mesh.timer
function mesh.after(delay, fn, options) end

---@class mesh.at.options
---@field name? string a name, for whoever reads it: over a reload too its moment is what `when` says

--- Calls fn at each such moment; given Unix seconds, once.
---@param when mesh.moment a time of day in UTC, a cron expression of five fields, or Unix seconds
---@param fn fun() called without arguments; it may wait
---@param options? mesh.at.options options by name
---@return mesh.timer
function mesh.at(when, fn, options) end

--- Suspends this handler for a while.
--- It waits; other handlers go on meanwhile.
---@param duration mesh.duration how long; a handler lives 30 s at most
function mesh.sleep(duration) end

--- The seconds of a duration that somebody typed; nil and an error when it is none.
---@param text string a duration as people write it, such as "10m", "3d" or "1h 30m"
---@return number?, mesh.error
function mesh.seconds(text) end

--- Unix time in seconds, with milliseconds behind the point.
---@return number
function mesh.now() end

--- The configuration: these defaults, over them what bot.toml says, over both what the admin set. A name or a type that the defaults don't have is refused.
---@generic T: table
---@param defaults T names with their defaults; `{}` takes those of bot.toml
---@return T
function mesh.config(defaults) end

---@class mesh.board.options
---@field keep? mesh.duration how long entries are kept: from 1 minute to 30 days, which it is if not said
---@field moderators? string|string[] whose pins, hides and bans count: keys of 64 digits each, or "self", which it is if not said
---@field posts? integer how many entries are kept; 1000 if not said

--- Opens the board on a channel, with what the node has of it.
--- It waits; other handlers go on meanwhile.
--- Permission: listen, or listen:TOPIC; to write also broadcast, or broadcast:TOPIC.
---@param topic string the channel that the board is on
---@param options? mesh.board.options options by name
---@return mesh.board?, mesh.error
function mesh.board(topic, options) end

--- The peers that this node knows.
--- It waits; other handlers go on meanwhile.
--- Permission: peers.
---@return mesh.peer[]?, mesh.error
function mesh.peers() end

--- The routing table.
--- It waits; other handlers go on meanwhile.
--- Permission: routes.
---@return mesh.route[]?, mesh.error
function mesh.routes() end

--- The channels that this node has joined.
--- It waits; other handlers go on meanwhile.
--- Permission: channels.
---@return mesh.channel[]?, mesh.error
function mesh.channels() end

--- Reads a file or HTTP address that the admin named for this bot under [scripts.bots.NAME.sources], 256 KiB at most; of a file also when it was changed (Unix seconds).
--- It waits; other handlers go on meanwhile.
--- Permission: source:NAME, or source.
---@param name string as the admin named it
---@return string?, number|mesh.error|nil
function mesh.source(name) end

--- What babeld and batman-adv on this machine know of neighbours and gateways.
--- It waits; other handlers go on meanwhile.
--- Permission: machine.
---@return mesh.machine?, mesh.error
function mesh.machine() end

mesh.base64 = {}

--- Bytes as base64 with padding (RFC 4648).
---@param bytes string any bytes, at most 256 KiB
---@return string
function mesh.base64.encode(bytes) end

--- Reads base64; nil and an error when it is none.
---@param text string the base64; its padding may be missing
---@return string?, mesh.error
function mesh.base64.decode(text) end

mesh.json = {}

--- null in what `mesh.json.encode` and messages write: a field with it is there, and a list with it keeps its length. The store has nil in its place
---@type any
mesh.json.null = nil

--- Plain data as JSON. A table with the keys 1 to n is a list, with null where up to half of its places are nil; every other table is an object, and so is an empty one, unless it was read as a list or marked as one. Raises when there is no JSON for it.
---@param value any plain data
---@return string
function mesh.json.encode(value) end

--- Reads JSON; nil and an error when it is none. null is nil: what has it is not there. Lists are marked as such.
---@param text string the JSON, at most 256 KiB
---@return any, mesh.error?
function mesh.json.decode(text) end

--- Marks a table as a list and returns it: it is one in JSON even when it is empty. What is kept in the store loses the mark.
---@param table any[] the list
---@return any[]
function mesh.json.array(table) end

mesh.log = {}

--- Writes a line to the bot's log, which `qpq script logs` shows. 20 lines a second, 1 KiB each; how many were too many stands before the next.
---@param ... any values, tables with what is in them; apart by spaces in the line
function mesh.log.debug(...) end

--- Writes a line to the bot's log, which `qpq script logs` shows. 20 lines a second, 1 KiB each; how many were too many stands before the next.
---@param ... any values, tables with what is in them; apart by spaces in the line
function mesh.log.info(...) end

--- Writes a line to the bot's log, which `qpq script logs` shows. 20 lines a second, 1 KiB each; how many were too many stands before the next.
---@param ... any values, tables with what is in them; apart by spaces in the line
function mesh.log.warn(...) end

--- Writes a line to the bot's log, which `qpq script logs` shows. 20 lines a second, 1 KiB each; how many were too many stands before the next.
---@param ... any values, tables with what is in them; apart by spaces in the line
function mesh.log.error(...) end

mesh.relay = {}

--- Trusts a peer: its messages have room before others'.
--- It waits; other handlers go on meanwhile.
--- Permission: relay:trust, or relay.
---@param peer string a key, a unique beginning of one, or a nickname
---@return mesh.peer?, mesh.error
function mesh.relay.allow(peer) end

--- Refuses a peer's links and messages from now on.
--- It waits; other handlers go on meanwhile.
--- Permission: relay:trust, or relay.
---@param peer string a key, a unique beginning of one, or a nickname
---@return mesh.peer?, mesh.error
function mesh.relay.block(peer) end

--- Takes an allow or a block back.
--- It waits; other handlers go on meanwhile.
--- Permission: relay:trust, or relay.
---@param peer string a key, a unique beginning of one, or a nickname
---@return mesh.peer?, mesh.error
function mesh.relay.unblock(peer) end

---@class mesh.relay.limit.options
---@field messages? integer messages a minute; 1 at least
---@field bytes? integer bytes a minute; 1 at least

--- Bounds what a neighbour may bring in, until the node stops; without options lifts the bound.
--- It waits; other handlers go on meanwhile.
--- Permission: relay:limit, or relay.
---@param peer string a key, a unique beginning of one, or a nickname
---@param options? mesh.relay.limit.options options by name
---@return boolean?, mesh.error
function mesh.relay.limit(peer, options) end

--- The plugins of the node and their states.
--- It waits; other handlers go on meanwhile.
--- Permission: relay:plugins, or relay.
---@return mesh.plugin[]?, mesh.error
function mesh.relay.plugins() end

--- Replaces a running plugin by another library, without losing a message.
--- It waits; other handlers go on meanwhile.
--- Permission: relay:plugins, or relay.
---@param plugin string the plugin's name
---@param file? string the new library; its own file, read anew, if not said
---@return mesh.plugin?, mesh.error
function mesh.relay.swap(plugin, file) end

--- The figures of the node's store.
--- It waits; other handlers go on meanwhile.
--- Permission: relay:store, or relay.
---@return mesh.store_stats?, mesh.error
function mesh.relay.store() end

mesh.store = {}

--- The value of a key, or the default.
--- Permission: store.
---@param key string 1 to 128 bytes; keys sort by their bytes
---@param default? any what to return when the key isn't there; nil if not said
---@return any
function mesh.store:get(key, default) end

---@class mesh.store.set.options
---@field ttl? mesh.duration for how long it is kept; for ever if not said

--- Keeps plain data under a key. It is on the disk before the next thing that the bot sends leaves.
--- Permission: store.
---@param key string 1 to 128 bytes; keys sort by their bytes
---@param value any plain data: texts, numbers, true and false, tables of them
---@param options? mesh.store.set.options options by name
---@return boolean?, mesh.error
function mesh.store:set(key, value, options) end

--- Adds to a number, which is 0 where the key isn't there, and returns it.
--- Permission: store.
---@param key string 1 to 128 bytes; keys sort by their bytes
---@param by? number how much; 1 if not said
---@return number?, mesh.error
function mesh.store:incr(key, by) end

--- Removes a key; whether it was there.
--- Permission: store.
---@param key string 1 to 128 bytes; keys sort by their bytes
---@return boolean
function mesh.store:delete(key) end

---@class mesh.store.each.options
---@field reverse? boolean from the last key to the first
---@field skip? integer leave out so many
---@field limit? integer at most so many

--- For loops: keys and values in the order of the keys. The loop may change the store.
--- Permission: store.
---@param prefix? string only keys that begin so
---@param options? mesh.store.each.options options by name
---@return fun(): string?, any
---@overload fun(self: table, options: mesh.store.each.options): fun(): string?, any
function mesh.store:each(prefix, options) end

mesh.text = {}

--- Cuts a text to so many bytes, between characters, with an ellipsis.
---@param text string a text in UTF-8
---@param bytes integer the largest length
---@return string
function mesh.text.truncate(text, bytes) end
