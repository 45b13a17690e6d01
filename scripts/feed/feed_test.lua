-- Tests of the feed: qpq script test scripts/feed

local function ask(t, text)
  t:receive{ from = "anna", text = text }
  return t:expect_sent{ to = "anna" }.text
end

local function weather(t, form)
  t:config{ feeds = { weather = form or "text" } }
end

test("a text goes out when it has changed, and once an hour at most", function(t)
  weather(t)
  t:source("weather", "12 degrees, rain\n")
  t:expect_sent{ topic = "feed", text = "weather: 12 degrees, rain", within = "11m" }
  t:expect_silence("1d")
  t:source("weather", "13 degrees")
  t:expect_sent{ topic = "feed", text = "weather: 13 degrees", within = "11m" }
  t:source("weather", "14 degrees")
  t:expect_silence("45m")
  t:source("weather", "15 degrees")
  t:expect_sent{ topic = "feed", text = "weather: 15 degrees", within = "30m" }
end)

test("a restart repeats nothing", function(t)
  weather(t)
  t:source("weather", "12 degrees")
  t:expect_sent{ topic = "feed", within = "11m" }
  t:stop()
  t:start()
  t:expect_silence("1d")
end)

test("a feed is read on demand, in private and on its channel", function(t)
  t:config{ feeds = { weather = "text", news = "titles" } }
  t:source("weather", "12 degrees")
  t:equal(ask(t, "!feed"), "there are: news, weather")
  t:equal(ask(t, "!feed weather"), "weather: 12 degrees")
  t:equal(ask(t, "!feed sports"), "there is no feed sports; there are: news, weather")
  t:receive{ from = "anna", topic = "feed", text = "!feed weather" }
  t:expect_sent{ topic = "feed", text = "weather: 12 degrees" }
end)

test("without feeds it says so and is silent", function(t)
  t:equal(ask(t, "!feed"), "no feed is set up")
  t:expect_silence("1d")
end)

test("what fails is told to who asks, logged once, and published once it works", function(t)
  weather(t)
  t:source("weather", nil, "source-failed")
  t:equal(ask(t, "!feed"), "weather: its source can't be read now")
  t:expect_silence("1h")
  local failures = 0
  for _, line in ipairs(t:log()) do
    failures = failures + (line:find("can't be read", 1, true) and 1 or 0)
  end
  t:equal(failures, 1)
  t:source("weather", "12 degrees")
  t:expect_sent{ topic = "feed", text = "weather: 12 degrees", within = "11m" }
end)

test("a long text is cut between characters", function(t)
  weather(t)
  t:source("weather", ("ä"):rep(2000))
  local text = ask(t, "!feed")
  t:ok(#text <= 400 and #text > 390 and utf8.len(text), "cut badly")
end)

test("titles are read from RSS and Atom, and from no more than there is", function(t)
  weather(t, "titles")
  t:source("weather", [=[<rss><channel><title>Valley news</title>
    <item><title>Bread &amp; butter</title></item><item><link>x</link></item>
    <item><title type="html"><![CDATA[A <b>bold</b> &#228;nd]]></title></item></channel></rss>]=])
  t:equal(ask(t, "!feed"), "weather:\n- Bread & butter\n- A bold änd")
  t:source("weather", "<feed><title>x</title><entry><title>One</title></entry><entry><title>Two</title></entry></feed>")
  t:equal(ask(t, "!feed"), "weather:\n- One\n- Two")
  t:source("weather", "12 degrees")
  t:equal(ask(t, "!feed"), "weather: no titles of RSS or Atom in it")
end)

test("a value is read from JSON by its path", function(t)
  weather(t, "json:stations.2.level")
  t:source("weather", '{"stations": [{"level": 1}, {"level": 2.5}]}')
  t:equal(ask(t, "!feed"), "weather: 2.5")
  t:source("weather", '{"stations": []}')
  t:equal(ask(t, "!feed"), "weather: nothing at stations.2.level")
  t:source("weather", "<html>")
  t:equal(ask(t, "!feed"), "weather: it is no JSON")
end)

-- Of 250 KiB each: what would keep a careless reader busy for minutes.
test("a hostile source doesn't stop the bot", function(t)
  for _, piece in ipairs{ "<item>", "<item><title", "<item></item>", "<item><title></item>", "&#1" } do
    weather(t, "titles")
    t:source("weather", piece:rep(math.floor(250000 / #piece)))
    t:matches(ask(t, "!feed"), "^weather: no titles")
    t:advance("1h")
  end
  weather(t, "json:a")
  t:reload()
  t:source("weather", ("["):rep(250000))
  t:equal(ask(t, "!feed"), "weather: it is no JSON")
  weather(t)
  t:reload()
  t:source("weather", "12 degrees" .. (" "):rep(249000) .. ".")
  t:equal(ask(t, "!feed"), "weather: 12 degrees")
  t:source("weather", (" "):rep(250000))
  t:equal(ask(t, "!feed"), "weather: its source is empty")
  t:equal((t:bot_state()), "running")
end)

for setting, value in { check = "often", feeds = { weather = "title" } } do
  test("a value of '" .. setting .. "' that makes no sense is said at once", function(t)
    t:config{ [setting] = value }
    t:run()
    t:expect_error(setting .. ".* must be ")
  end)
end
