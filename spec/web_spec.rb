# frozen_string_literal: true

require "open3"

RSpec.describe RedisIPC::Web do
  include WebPages

  let(:options) { { actions: true, content: true } }
  let(:web) do
    described_class.new(streams: %w[house], queues: %w[calculator], consumers: %w[orders],
                        redis_options: redis_options, **options)
  end

  after { web.close }

  # Writes a dead letter, as docs/protocol.md says.
  def bury(content, reason: "it killed its processes", group: "child", from: "parent", **more)
    id = format("%032x", rand(1 << 128))
    redis.xadd("house:dead:#{group}", {
                 dead_id: "1-1", dead_reason: reason, dead_deliveries: 5, dead_at: 1_700_000_000_000,
                 id: id, instance_id: "i", status: "pending", content: content.to_json, source_group: from,
                 destination_group: group, reply_to: "house:replies:#{from}:i", ttl: 60_000, **more
               })
  end

  def letters
    redis.xrange("house:dead:child").map(&:first)
  end

  it "shows streams, groups, queues and consumers on every page, in HTML and as JSON" do
    child = connect("child", &echo)
    connect("parent").send_to_group(content: 1, to: "child", timeout: 5)
    letter = bury({ dish: "pasta" })
    redis.rpush("calculator", '{"jsonrpc":"2.0","method":"add","id":1}')
    consume { |event| event }
    publish(1)
    here = { stream: "house", group: "child" }
    { "" => [{}, "Findings", "child", "orders/ billing", "calculator"],
      "/group" => [here, "house/ child", child.instance_id[0, 8]],
      "/instance" => [{ stream: "house", id: child.instance_id }, child.instance_id],
      "/requests" => [here, "No request waits"],
      "/dead" => [{}, "house/child", "1"],
      "/dead/letter" => [{ **here, id: letter }, "it killed its processes", "pasta"],
      "/queues" => [{}, "calculator"], "/queue" => [{ queue: "calculator" }, "Waiting 1"],
      "/events" => [{}, "billing"], "/event_group" => [{ stream: "orders", group: "billing" }, "Lag"],
      "/redis" => [{}, "noeviction", redis.info["redis_version"]],
      "/try" => [{}, "Content, as JSON"] }.each do |path, (query, *texts)|
      page = get(path, query)
      expect(page.status).to eq(200), "#{path}: #{page.text}"
      texts.each { |text| expect(page.text).to include(text), path }
      expect(page.headers).to include("content-type" => "text/html; charset=utf-8", "x-frame-options" => "DENY",
                                      "content-security-policy" => start_with("default-src 'none'"))
      next if path == "/try"

      facts = get("/api#{path.empty? ? "/overview" : path}.json", query)
      expect(facts.headers["content-type"]).to eq("application/json; charset=utf-8")
      expect(facts.json).to be_a(Hash).and be_any
      # A page takes what is relative to where it is mounted.
      expect(page.body.scan(/(?:href|src|action)="([^"]*)"/).flatten).to all(start_with("/ipc/").or(eq("#main")))
    end
  end

  it "says so where there is nothing to show" do
    expect(get("").text).to include("Nothing to report", "No group is registered now")
    expect(get("/dead").text).to include("There are no dead letters")
    expect(get("/events").text).to include("There are no consumers of events")
    empty = described_class.new(redis_options: redis_options)
    expect(get("", web: empty).text).to include("This page was mounted without a stream")
    expect(get("/requests", web: empty).text).to include("No request waits or runs")
    empty.close
  end

  it "shows who is silent, who only asks, whose entry was deleted, and that Redis evicts" do
    server = start_server(maxmemory: "100mb", maxmemory_policy: "volatile-lru")
    client = server.client
    now = client.time.first * 1_000
    client.zadd("house:instances", [[now - 14_000, "child:abc:vm:7"], [now - 14_000, "child:abc:vm:7:2000"],
                                    [now, "parent:def:vm:8"]])
    client.zadd("house:stats", now * 2, "parent:def")
    client.set("house:stats:parent:def", JSON.generate(kind: "request_reply", written: now, handlers: 0, busy: 0))
    client.xadd("house:inbox:child", { id: "1" }, id: "5-0")
    client.xgroup(:create, "house:inbox:child", "child", "0")
    client.xreadgroup("child", "abc", "house:inbox:child", ">")
    client.xdel("house:inbox:child", "5-0")
    shown = described_class.new(streams: %w[house empty], redis_options: { url: server.url })
    here = { stream: "house", group: "child" }
    expect(get("/group", here, web: shown).body).to match(/state warning">silent for 1[45] s</)
    expect(get("/instance", { stream: "house", id: "abc" }, web: shown).text).to match(/Seen 20\d\d-\S+ \S+ UTC/)
    expect(get("", web: shown).text).to include("asks only", "child pid 7 on vm has given no sign of life for 1")
    expect(get("/requests", here, web: shown).text).to include("entry deleted (withdrawn, or answered and not ack")
    client.set("short", "x" * 100_000, ex: 60)
    client.config(:set, "maxmemory", client.info["used_memory"].to_i - 50_000)
    eventually { client.info["evicted_keys"] == "1" }
    expect(get("/redis", web: shown).body)
      .to include('<strong class="error">volatile-lru<', 'Evicted keys" class="number"><strong class="error">1<')
      .and match(/<strong class="error">[\d.]+ MiB/)
    expect(get("", web: shown).text).to include("No group is registered now", "Redis has deleted keys (1 so far)")
    shown.close
  end

  it "escapes whatever comes from Redis or from the address" do
    evil = %q(<img src=x onerror="alert('1')">)
    connect(evil, &echo)
    bury({ dish: evil }, group: evil, reason: evil, from: evil)
    redis.xadd("house:dead:child", { dead_reason: "\xFF".b, content: "\xFE".b })
    pages = [get(""), get("/group", { stream: "house", group: evil }), get("/dead", { match: evil }),
             get("/dead", { stream: "house", group: evil, match: evil }), get("/nope#{evil}"),
             get("/requests", { id: evil }), get("/dead", { stream: "house", group: "child" }),
             get("/dead", { stream: "house", group: "child", notice: evil, count: evil }),
             post("/try", { stream: "house", group: evil, content: evil })]
    letter = redis.xrange("house:dead:#{escaped(evil)}").dig(0, 0)
    pages << get("/dead/letter", { stream: "house", group: evil, id: letter })
    expect(pages.map(&:body)).to all(satisfy { |body| !body.include?("<img") })
    expect(pages.last.body).to include("&lt;img src=x")
    expect(pages.map(&:body)).to all(be_valid_encoding)
    expect(get("/api/dead.json", { stream: "house", group: "child" }).json[:letters].size).to eq(1)
  end

  # A group's name is encoded in keys.
  def escaped(name)
    redis.keys("house:dead:*").map { |key| key.delete_prefix("house:dead:") }.find { |one| one != "child" } || name
  end

  it "answers 304 while nothing changes, and keeps pages nowhere" do
    connect("child", &echo)
    bury(1)
    first = get("/dead")
    expect(first.headers).to include("cache-control" => "no-store", "etag" => /\A"\h{32}"\z/)
    second = get("/dead", HTTP_IF_NONE_MATCH: first.headers["etag"])
    expect([second.status, second.body]).to eq([304, ""])
    bury(2)
    expect(get("/dead", HTTP_IF_NONE_MATCH: first.headers["etag"]).status).to eq(200)
    style = first_asset(first, "style.css")
    expect(style.headers).to include("cache-control" => /immutable/, "content-type" => /css/)
    expect(get("/style.css").headers["cache-control"]).to eq("no-cache")
    expect(ask(web, "HEAD", "/dead").body).to eq("")
  end

  def first_asset(page, name)
    path, query = page.body[%r{"/ipc(/#{name}[^"]*)"}, 1].split("?")
    get(path, URI.decode_www_form(query))
  end

  describe "without the options" do
    let(:options) { {} }

    it "only reads" do
      bury(1)
      here = { stream: "house", group: "child" }
      [["/dead", here.merge(act: "retry_all", shown: letters.first)], ["/group", here.merge(act: "pause")],
       ["/event_group", here.merge(position: "end")], ["/try", here.merge(content: "1")]].each do |path, form|
        page = post(path, form)
        expect([page.status, page.text]).to match([403, /read-only/]), path
      end
      expect(letters.size).to eq(1)
      expect(redis.keys("house:control:*")).to be_empty
      expect(get("/dead", here).body).not_to match(/<button[^>]*name="act"/)
      expect(get("/try").body).not_to include("<textarea")
    end

    it "shows no content, and finds nothing by it" do
      bury({ secret: "sesame" })
      here = { stream: "house", group: "child" }
      pages = [get("/dead", here), get("/dead/letter", here.merge(id: letters.first)), get("/api/dead.json", here),
               get("/api/dead/letter.json", here.merge(id: letters.first)), get("/requests", { id: letters.first })]
      expect(pages.map(&:status)).to all(eq(200))
      expect(pages.map(&:body)).to all(satisfy { |body| !body.include?("sesame") })
      expect(get("/dead", here.merge(match: "sesame")).text).to include("None of them contains sesame")
      expect(get("/dead", here.merge(match: "killed")).text).to include(letters.first)
    end
  end

  describe "with callables" do
    let(:options) { { actions: ->(env) { env["REMOTE_USER"] }, content: ->(env) { env["REMOTE_USER"] == "eve" } } }

    it "asks them about each visitor" do
      bury({ secret: "sesame" })
      seen = %w[eve bob].map do |user|
        get("/dead/letter", { stream: "house", group: "child", id: letters.first }, REMOTE_USER: user).body
      end
      expect(seen.map { |body| body.include?("sesame") }).to eq([true, false])
      pause = { stream: "house", group: "child", act: "pause" }
      expect(post("/group", pause, **WebPages::SAME_SITE).status).to eq(403)
      expect(post("/group", pause, **WebPages::SAME_SITE, REMOTE_USER: "bob").status).to eq(303)
      expect(JSON.parse(redis.get("house:control:child"))).to include("by" => "bob", "paused" => true)
    end
  end

  it "acts only for its own pages" do
    form = { stream: "house", group: "child", act: "pause" }
    refused = [*%w[cross-site same-site none].map { |site| { HTTP_SEC_FETCH_SITE: site } },
               { HTTP_ORIGIN: "http://evil.example" }, { HTTP_ORIGIN: "null" }, { HTTP_ORIGIN: "http://ipc.example" },
               { HTTP_ORIGIN: "http://ipc.example:3000.evil.example" }, { HTTP_REFERER: "http://ipc.example:3000/" },
               { HTTP_SEC_FETCH_SITE: "cross-site", HTTP_ORIGIN: "http://ipc.example:3000" }]
    expect(refused.map { |headers| post("/group", form, **headers).status }).to all(eq(403))
    expect(redis.keys("house:control:*")).to be_empty
    expect(post("/group", form, HTTP_ORIGIN: "https://ipc.example:3000").status).to eq(303)
    expect(redis.keys("house:control:*")).not_to be_empty
  end

  it "retries and discards dead letters, one or many, and asks before it discards" do
    here = { stream: "house", group: "child" }
    answered = Queue.new
    5.times { |number| bury(number) }
    first, second, third, fourth, fifth = letters
    expect(post("/dead", here.merge(act: "retry")).headers["location"]).to include("notice=nothing_chosen")
    expect(submit("/dead", [*here, [:act, "retry"], [:id, first], [:id, second]]).text).to include("2 put back")
    question = post("/dead", here.merge(act: "discard", id: third))
    expect(question.text).to include("Discard 1 of house/child?")
    expect(letters).to eq([third, fourth, fifth])
    expect(submit("/dead", here.merge(act: "discard", id: third, sure: "yes")).text).to include("1 discarded")
    all = [*here, [:act, "discard_all"], [:shown, fourth], [:shown, fifth]]
    expect(post("/dead", all).body.scan(/name="id" value="([^"]*)"/).flatten).to eq([fourth, fifth])
    # Somebody else discarded one meanwhile.
    redis.xdel("house:dead:child", fourth)
    expect(submit("/dead", [*here, [:act, "discard"], [:sure, 1], [:id, fourth], [:id, fifth]]).text)
      .to include("1 discarded")
    expect(letters).to be_empty
    # The request of a suspect may be in the inbox yet: it is not among those that are retried together.
    holders = [{ instance: "a" * 32, host: "web-7", pid: 15, delivery: 1 }]
    suspect = bury(9, dead_suspect: 1, dead_holders: holders.to_json)
    expect(get("/dead", here).text).to include("suspect", "With all 0 shown")
    expect(get("/dead/letter", here.merge(id: suspect)).text).to include("web-7 15", "do not retry it before")
    submit("/dead", here.merge(act: "discard", id: suspect, sure: 1))
    redis.xadd("house:dead:child", { dead_reason: "it was no request", content: "?" })
    expect(submit("/dead", here.merge(act: "retry", id: letters.first)).text).to include("0 put back", "be discarded")
    connect("child") do |entry|
      answered << entry.content
      fulfill_request(entry, content: nil)
    end
    expect([next_of(answered), next_of(answered)]).to contain_exactly(0, 1)
  end

  it "pauses and resumes a group, and quiets an instance" do
    child = connect("child", &echo)
    here = { stream: "house", group: "child" }
    expect(submit("/group", here.merge(act: "pause")).text).to include("Paused by RedisIPC::Web", "Resume")
    expect(submit("/group", here.merge(act: "resume")).text).not_to include("Paused by")
    expect(submit("/group", here.merge(act: "quiet", id: child.instance_id)).text).to include("quiet", "Take again")
    expect(JSON.parse(redis.get("house:control:child"))).to include("quiet" => [child.instance_id])
    submit("/group", here.merge(act: "unquiet", id: child.instance_id))
    expect(redis.keys("house:control:*")).to be_empty
    expect(submit("/group", { stream: "calculator", kind: "queue", act: "pause" }).text).to include("Paused by")
    expect(redis.keys("calculator:control*")).to eq(["calculator:control:"])
    expect(post("/group", here.merge(act: "explode")).status).to eq(400)
  end

  it "sends a request, and shows the answer or why there is none" do
    connect("child") { |entry| fulfill_request(entry, content: { got: entry.content }) }
    form = { stream: "house", group: "child", content: '{"a": 1}', timeout: "2" }
    expect(post("/try", form).text).to include("fulfilled", "{ &quot;got&quot;: { &quot;a&quot;: 1 } }")
    expect(post("/try", form.merge(group: "nobody", timeout: "0.1")).text).to match(/unclaimed|unknown/)
    expect(post("/try", form.merge(content: "{")).text).to include("The content is not JSON.")
    expect(post("/try", form.merge(timeout: "31")).status).to eq(422)
    server = RedisIPC::JSONRPC::Server.new("calculator", redis_options: redis_options)
    server.on("add") { |a, b| a + b }.connect
    expect(post("/try", { queue: "calculator", method: "add", content: "[1, 2]" }).text).to include("fulfilled", "3")
    server.disconnect
    hidden = described_class.new(streams: %w[house], redis_options: redis_options, actions: true)
    expect(post("/try", form, web: hidden).text).to include("fulfilled", "The answer is hidden").and not_include("got")
    hidden.close
  end

  RSpec::Matchers.define_negated_matcher :not_include, :include

  it "reads with the rights of an observer, and acts with those of an operator" do
    child = connect("child", &echo)
    consume { |event| event }
    publish(1)
    letter = bury(1)
    here = { stream: "house", group: "child" }
    as(:observer) do |reader|
      [["", {}], ["/group", here], ["/instance", { stream: "house", id: child.instance_id }], ["/requests", {}],
       ["/requests", { id: letter }], ["/dead", {}], ["/dead", here.merge(match: "x")],
       ["/dead/letter", here.merge(id: letter)], ["/queues", {}], ["/queue", { queue: "calculator" }],
       ["/dead", { kind: "queue", stream: "calculator" }],
       ["/events", {}], ["/event_group", { stream: "orders", group: "billing" }], ["/redis", {}]].each do |path, query|
        expect(get(path, query, web: reader)).to have_attributes(status: 200), path
      end
      refused = post("/group", here.merge(act: "pause"), web: reader)
      expect(refused).to have_attributes(status: 503, text: /the user needs/)
    end
    as(:operator, name: "web") do |operator|
      submit("/group", here.merge(act: "pause"), web: operator)
      submit("/group", here.merge(act: "resume"), web: operator)
      expect(submit("/dead", here.merge(act: "retry", id: letter), web: operator).text).to include("1 put back")
      submit("/event_group", { stream: "orders", group: "billing", position: "beginning" }, web: operator)
      expect(post("/try", here.merge(content: "1"), web: operator).text).to include("fulfilled")
    end
  end

  # Yields a page whose connection has the rules of a role.
  def as(role, **names)
    rules = RedisIPC::ACL.rules(role, stream: "house", queue: "calculator", events: "orders", **names)
    redis.call("ACL", "SETUSER", role.to_s, "reset", "on", ">secret", *rules)
    page = described_class.new(streams: %w[house], queues: %w[calculator], consumers: %w[orders], **options,
                               redis_options: { **redis_options, username: role.to_s, password: "secret" })
    yield page
  ensure
    page&.close
    redis.call("ACL", "DELUSER", role.to_s)
  end

  it "answers probes, and shows the metrics of its process" do
    connect("child", &echo)
    expect(%w[/livez /readyz].map { |path| get(path) }).to all(have_attributes(status: 200, body: "ok\n"))
    expect(get("/metrics").body).to include("redis_ipc_handlers")
  end

  it "answers what it cannot do with a status and a reason" do
    expect(get("/nope").status).to eq(404)
    expect(get("/instance", { stream: "house", id: "nobody" }).status).to eq(404)
    expect(get("/group", { stream: "house", group: "nobody" }).status).to eq(404)
    expect(get("/group").status).to eq(400)
    expect(get("/dead", { stream: "house", group: "child", kind: "x" }).status).to eq(400)
    expect(ask(web, "DELETE", "/dead").status).to eq(405)
    expect(post("/queues", {}).status).to eq(405)
    expect(ask(web, "GET", "", "QUERY_STRING" => "a=\u00e9").status).to eq(400)
    expect(post("/try", { content: "x" * 1_100_000 }).status).to eq(400)
    expect(ask(web, "POST", "/try", "CONTENT_TYPE" => "text/plain", **WebPages::SAME_SITE).status).to eq(400)
    expect(get("/api/nope.json").json).to eq(error: "There is no /nope.")
    named = described_class.new(streams: [], hosts: %w[localhost])
    expect([get("/style.css", web: named), get("/style.css", web: named, HTTP_HOST: "localhost:9")].map(&:status))
      .to eq([403, 200])
    expect { described_class.new(oops: 1) }.to raise_error(RedisIPC::ConfigurationError, /oops/)
  end

  it "answers also what no browser sends, and shows what no process of ours has written" do
    connect("child", &echo)
    here = { stream: "house", group: "child" }
    odd = [["/requests", { **here, after: "1-1-1" }], ["/dead", { **here, after: "last" }],
           ["/api/dead.json", { **here, after: "last" }]]
    expect(odd.map { |path, query| get(path, query).status }).to all(eq(400))
    # It may be the id of a request.
    expect(get("/dead/letter", { **here, id: "a" }).status).to eq(404)
    expect(post("/dead", { **here, act: "retry", id: "a" }).status).to eq(400)
    expect(ask(web, "GET", "/\xFF\xC3\xBC".b)).to have_attributes(status: 404, body: be_valid_encoding)
    expect(ask(web, "GET", "//evil.example/", "SCRIPT_NAME" => "").body).not_to include('"//evil')
    bury(Array.new(99).reduce(1) { |inside, _| [inside] }, reason: "deep")
    redis.xadd("house:dead:child", { dead_reason: "wide", destination_group: "child", content: '{"a":1e999}' })
    letters.each do |id|
      %w[/dead/letter /api/dead/letter.json].each { |path| expect(get(path, { **here, id: id }).status).to eq(200) }
    end
    named = { HTTP_SEC_FETCH_SITE: "same-origin", REMOTE_USER: "j\xF6rg".b }
    expect(post("/group", { **here, act: "pause" }, **named).status).to eq(303)
    expect(get("/group", here).text).to match(/Paused by j.rg/)
  end

  it "takes a form also if what stands before it has read it" do
    form = URI.encode_www_form(stream: "house", group: "child", act: "pause")
    headers = { "CONTENT_TYPE" => "application/x-www-form-urlencoded", **WebPages::SAME_SITE }
    input = StringIO.new(form).tap(&:read)
    expect(ask(web, "POST", "/group", "rack.input" => input, **headers).status).to eq(303)
    # There are inputs that cannot be rewound.
    gone = Struct.new(:read).new("")
    expect(ask(web, "POST", "/group", "rack.input" => gone, "rack.request.form_input" => gone,
                                      "rack.request.form_vars" => form, **headers).status).to eq(303)
  end

  it "neither shows nor changes what the mount does not name" do
    redis.xadd("other:dead:child", { dead_reason: "theirs", destination_group: "child", content: '"secret"' })
    redis.rpush("wages:dead", '{"method":"raise"}')
    there = { stream: "other", group: "child" }
    asked = [["/dead", there], ["/dead", { kind: "events", **there }], ["/dead", { kind: "queue", stream: "wages" }],
             ["/group", there], ["/requests", { stream: "other", id: "x" }], ["/queue", { queue: "wages" }],
             ["/instance", { stream: "other", id: "x" }], ["/event_group", there], ["/api/dead.json", there]]
    expect(asked.map { |path, query| get(path, query).status }).to all(eq(404))
    acts = [["/group", { **there, act: "pause" }], ["/dead", { **there, act: "discard_all", sure: "yes" }],
            ["/event_group", { **there, position: "new" }], ["/try", { **there, content: "1" }],
            ["/try", { queue: "wages", method: "raise" }]]
    expect(acts.map { |path, form| post(path, form).status }).to all(eq(404))
    expect(redis.keys("other:*") + redis.keys("wages*")).to contain_exactly("other:dead:child", "wages:dead")
    expect(get("/event_group", { stream: "redis_ipc:events", group: "none" }).text).to include("redis_ipc:events/none")
  end

  it "keeps the Admin that it was given, also in a process that was forked" do
    connect("child", &echo)
    admin = RedisIPC::Admin.new(streams: %w[house], redis_options: redis_options)
    page = described_class.new(admin: admin)
    expect(get("", web: page).text).to include("child")
    reader, writer = IO.pipe
    child = fork do
      writer.write(get("", web: page).text)
      exit!
    end
    writer.close
    expect(reader.read).to include("child")
    Process.wait(child)
  ensure
    page&.close
  end

  it "says that Redis is away, and shows the page once it is back" do
    server = start_server
    away = described_class.new(streams: %w[house], redis_options: { url: server.url })
    expect(get("", web: away).status).to eq(200)
    server.kill
    expect(get("", web: away)).to have_attributes(status: 503, text: /Redis does not answer/)
    expect(get("/api/overview.json", web: away)).to have_attributes(status: 503, json: include(:error))
    server.start
    expect(eventually { get("", web: away).status == 200 }).to be(true)
    away.close
  end

  it "serves itself by Puma or WEBrick, says what to install, and answers browsers of this machine only" do
    script = <<~RUBY
      require "net/http"
      found = RedisIPC::Web.serve(port: 0, streams: %w[house], redis_options: { url: ENV.fetch("REDIS_URL") }) do |url|
        Thread.new do
          uri = URI(url)
          puts Net::HTTP.get_response(uri).code
          puts Net::HTTP.get_response(uri, { "Host" => "evil.example" }).code
          puts Net::HTTP.start(uri.host, uri.port) { |http| http.get("/events").body[/<title>([A-Z]+)/i, 1] }
          exit!
        end
      end
    RUBY
    expect(ruby(script).rest).to eq("200\n403\nEvents\n")
    elsewhere = script.sub("port: 0", "port: 0, host: \"127.0.0.2\"")
    expect(ruby("require \"webrick\"\n#{elsewhere}").rest).to eq("200\n403\nEvents\n")
    none = <<~RUBY
      module Kernel
        alias need require
        def require(name) = %w[puma webrick].include?(name) ? raise(LoadError) : need(name)
      end
    RUBY
    failing = ruby("$stderr = $stdout\n#{none}#{script}").rest
    expect(failing).to include("gem install puma", "RedisIPC::ConfigurationError")
  end
end
