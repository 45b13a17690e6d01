---@meta

-- Made from the host's table of calls; changes here are lost.
-- `qpq script editor` writes it anew.

--- A duration: "90s", "10m", "6h", "3d", "2w", or a number of seconds.
---@alias mesh.duration string|number

--- A moment: "08:00" (UTC), a cron expression such as "*/15 8-18 * * 1-5", or Unix seconds.
---@alias mesh.moment string|number

--- What goes first, and is dropped last.
---@alias mesh.priority "low"|"normal"|"high"|"emergency"

--- How far the admin trusts a peer.
---@alias mesh.trust "known"|"trusted"|"blocked"

--- The name of an event.
---@alias mesh.event_name
---| "start" # The bot begins: after its first load, and after each start of the node.
---| "reload" # A new version took over from one that ran. `mesh.state` is that of the old one.
---| "stop" # The bot ends, or makes way for a new version. What it does now must be quick.
---| "envelope" # A direct message came that is none of this bot's commands.
---| "broadcast" # A message came on a channel. `{ topic = … }` joins that channel.
---| "peer_up" # The first link to a peer is up: `peer`, `name`.
---| "peer_down" # The last link to a peer went down: `peer`, `name`.
---| "link_change" # A link to a peer came, went or moved: `peer`, `detail`.
---| "route_change" # The way to a peer changed: `peer`.
---| "delivered" # A message of this node reached its recipient: `id`, `peer`, `name`.
---| "failed" # A message of this node won't reach its recipient: `id`, `peer`, `detail`.
---| "evicted" # A message of this node was dropped for want of room: `id`, `detail`.

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
---@return mesh.receipt?, mesh.error?
function msg:reply(message, options) end

--- What happened to the bot or in the mesh; which fields there are depends on the event.
---@class mesh.event
---@field event mesh.event_name the event's name
---@field peer? string the key of the peer that it is about
---@field name? string the peer's nickname
---@field id? string the id of the message that it is about
---@field detail? string a few words: the transport, the reason

--- What sending returns: the message is on this node's disk.
---@class mesh.receipt
---@field id string the message's id, 64 digits
---@field expires number when it dies, Unix seconds

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

--- The node and the bot themselves.
---@class mesh.self
---@field id string the node's key, 64 digits
---@field name? string the node's nickname
---@field bot string the bot's name
---@field version? string the bot's version, from bot.toml

--- What the node offers to a bot.
---@class mesh
---@field state table<string, any> plain data that is carried over a reload, 64 KiB at most; a new start begins with an empty one
---@field self mesh.self the node and the bot themselves
mesh = {}

--- Calls fn at each event of that name.
--- Permission: that of the event.
---@param event mesh.event_name the event's name
---@param filter? table fields that must be equal, as in `{ topic = "board" }`; `automatic = true` lets messages of programs in, too
---@param fn fun(event: table) called with the event's table; it may wait
---@overload fun(event: "start"|"reload"|"stop"|"peer_up"|"peer_down"|"link_change"|"route_change"|"delivered"|"failed"|"evicted", fn: fun(event: mesh.event))
---@overload fun(event: "start"|"reload"|"stop"|"peer_up"|"peer_down"|"link_change"|"route_change"|"delivered"|"failed"|"evicted", filter: table, fn: fun(event: mesh.event))
---@overload fun(event: "envelope"|"broadcast", fn: fun(msg: mesh.message))
---@overload fun(event: "envelope"|"broadcast", filter: table, fn: fun(msg: mesh.message))
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
---@field args? string what follows the name, as in `<topic> [count] <text>`: `<>` must be there, the last takes the rest
---@field help? string a line for `!help`
---@field who? string|string[] the keys that may use it, 64 digits each; "self" is this node's own. Everybody if not said
---@field channel? string|string[] where it is answered besides direct messages

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
---@field receipt? boolean ask for a receipt: the event `delivered` tells of it
---@field plain? boolean send without sealing, readable by every relay

--- Sends a direct message. Returns once it is on this node's disk.
--- It waits; other handlers go on meanwhile.
--- Permission: send.
---@param to string a key, a unique beginning of one, or a nickname
---@param message string|table the text, any bytes; a table is sent as JSON. At most 60,000 bytes
---@param options? mesh.send.options options by name
---@return mesh.receipt?, mesh.error?
function mesh.send(to, message, options) end

---@class mesh.broadcast.options
---@field ttl? mesh.duration how long it lives on its way, such as "3d"; what the node is set to if not said
---@field priority? mesh.priority what goes first when a link or a store is crowded; normal if not said
---@field hops? integer over how many links it may go, 1 to 255; 1 is for the neighbours alone

--- Publishes on a channel. Returns once it is on this node's disk.
--- It waits; other handlers go on meanwhile.
--- Permission: broadcast, or broadcast:TOPIC.
---@param topic string the channel's name
---@param message string|table the text, any bytes; a table is sent as JSON. At most 60,000 bytes
---@param options? mesh.broadcast.options options by name
---@return mesh.receipt?, mesh.error?
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
---@field name? string a name by which it keeps its pace over a reload

--- Calls fn once, later. It is forgotten when the bot ends: what must last belongs into the store.
---@param delay mesh.duration how long from now; 1 s at least
---@param fn fun() called without arguments; it may wait
---@param options? mesh.after.options options by name
---@return mesh.timer
function mesh.after(delay, fn, options) end

---@class mesh.at.options
---@field name? string a name by which it keeps its pace over a reload

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

--- Unix time in seconds, with milliseconds behind the point.
---@return number
function mesh.now() end

--- The configuration: these defaults, over them what bot.toml says, over both what the admin set. A name or a type that the defaults don't have is refused.
---@generic T: table
---@param defaults T names with their defaults; `{}` takes those of bot.toml
---@return T
function mesh.config(defaults) end

--- The peers that this node knows.
--- It waits; other handlers go on meanwhile.
--- Permission: peers.
---@return mesh.peer[]?, mesh.error?
function mesh.peers() end

--- The routing table.
--- It waits; other handlers go on meanwhile.
--- Permission: routes.
---@return mesh.route[]?, mesh.error?
function mesh.routes() end

--- The channels that this node has joined.
--- It waits; other handlers go on meanwhile.
--- Permission: channels.
---@return mesh.channel[]?, mesh.error?
function mesh.channels() end

mesh.base64 = {}

--- Bytes as base64 with padding (RFC 4648).
---@param bytes string any bytes, at most 256 KiB
---@return string
function mesh.base64.encode(bytes) end

--- Reads base64; nil and an error when it is none.
---@param text string the base64; its padding may be missing
---@return string?, mesh.error?
function mesh.base64.decode(text) end

mesh.json = {}

--- Plain data as JSON. Raises when there is no JSON for it.
---@param value any plain data
---@return string
function mesh.json.encode(value) end

--- Reads JSON; nil and an error when it is none.
---@param text string the JSON, at most 256 KiB
---@return any, mesh.error?
function mesh.json.decode(text) end

mesh.log = {}

--- Writes a line to the bot's log, which `qpq script logs` shows. 20 lines a second, 1 KiB each.
---@param ... any values; apart by spaces in the line
function mesh.log.debug(...) end

--- Writes a line to the bot's log, which `qpq script logs` shows. 20 lines a second, 1 KiB each.
---@param ... any values; apart by spaces in the line
function mesh.log.info(...) end

--- Writes a line to the bot's log, which `qpq script logs` shows. 20 lines a second, 1 KiB each.
---@param ... any values; apart by spaces in the line
function mesh.log.warn(...) end

--- Writes a line to the bot's log, which `qpq script logs` shows. 20 lines a second, 1 KiB each.
---@param ... any values; apart by spaces in the line
function mesh.log.error(...) end

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
---@return boolean?, mesh.error?
function mesh.store:set(key, value, options) end

--- Adds to a number, which is 0 where the key isn't there, and returns it.
--- Permission: store.
---@param key string 1 to 128 bytes; keys sort by their bytes
---@param by? number how much; 1 if not said
---@return number?, mesh.error?
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
function mesh.store:each(prefix, options) end

mesh.text = {}

--- Cuts a text to so many bytes, between characters, with an ellipsis.
---@param text string a text in UTF-8
---@param bytes integer the largest length
---@return string
function mesh.text.truncate(text, bytes) end
