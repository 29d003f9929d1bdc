# frozen_string_literal: true

# Looks at every page in Chromium: that it fits, works by keyboard and without JavaScript, and refreshes itself.
RSpec.describe "RedisIPC::Web in a browser", browser: true do
  include WebPages

  before(:context) do
    skip "there is no Chromium with its driver" unless Browser.available?
    @browser = Browser.new
  end

  after(:context) { @browser&.stop }

  let(:browser) { @browser }
  let(:here) { { stream: "house", group: "child" } }
  let(:pages) do
    id = redis.xrange("house:dead:child").dig(0, 0)
    ["/", path("/group", **here), path("/requests"), path("/dead"), path("/dead", **here),
     path("/dead/letter", **here, id: id), path("/queues"), path("/queue", queue: "calculator"), path("/events"),
     path("/event_group", stream: "orders", group: "billing"), path("/redis"), path("/try"), "/nope"]
  end

  before do
    @started = Queue.new
    @gate = Queue.new
    child = connect("child", &held(@started, @gate))
    parent = connect("parent")
    2.times { parent.async_send_to_group(content: { dish: "pasta" }, to: "child", timeout: 60) }
    2.times { next_of(@started) }
    3.times { |number| bury(number, id: child.instance_id) }
    redis.rpush("calculator", '{"jsonrpc":"2.0","method":"add","id":1}')
    consume { |event| event }
    serve
  end

  after do
    10.times { @gate << true }
    browser.javascript = true
    @server.kill.join
  end

  def serve
    listening = Queue.new
    @server = Thread.new do
      RedisIPC::Web.serve(port: 0, streams: %w[house], queues: %w[calculator], consumers: %w[orders], actions: true,
                          redis_options: redis_options) { |url| listening << url }
    end
    @base = next_of(listening).chomp("/")
  end

  def bury(number, id:)
    redis.xadd("house:dead:child", {
                 dead_id: "1-#{number}", dead_reason: "it killed #{"its holder " * 12}", dead_deliveries: 5,
                 dead_at: 1_700_000_000_000, id: format("%032x", number), instance_id: id, status: "pending",
                 content: "{}", source_group: "parent", destination_group: "child", ttl: 60_000,
                 reply_to: "house:replies:parent:#{id}"
               })
  end

  def path(path, **query)
    query.empty? ? path : "#{path}?#{URI.encode_www_form(query)}"
  end

  def look_at(path)
    browser.visit(@base + path)
  end

  def letters
    redis.xlen("house:dead:child")
  end

  it "fits on a wide and a narrow screen, light and dark, without a complaint of the browser" do
    browser.complaints
    colours = Hash.new { |all, scheme| all[scheme] = [] }
    [["light", 1280], ["dark", 375]].each do |scheme, width|
      browser.scheme(scheme)
      browser.size(width, 800)
      pages.each do |page|
        look_at(page)
        facts = browser.run(<<~JS)
          const body = getComputedStyle(document.body);
          return { wide: document.documentElement.scrollWidth, heading: document.querySelectorAll("h1").length,
                   colours: [body.backgroundColor, body.color] };
        JS
        expect(facts).to include("wide" => be <= width, "heading" => 1), "#{page} at #{width}"
        colours[scheme] << facts["colours"]
      end
    end
    expect(colours.values.map(&:uniq).map(&:size)).to eq([1, 1])
    expect(colours["light"].first).not_to eq(colours["dark"].first)
    # The page that is not there is one on purpose.
    expect(browser.complaints.grep_v(/404/)).to eq([])
  end

  it "has nothing that a screen reader or a keyboard cannot use, as axe-core says" do
    views = [["dark", 1280], ["light", 375]].cycle
    pages.zip(views.first(pages.size)).each do |page, (scheme, width)|
      browser.scheme(scheme)
      browser.size(width, 800)
      look_at(page)
      browser.run(PeerPackages.axe)
      found = browser.await("const told = await axe.run(); return [told.passes.length > 5, " \
                            "told.violations.map((one) => [one.id, one.nodes.map((node) => node.html)])]")
      expect(found).to eq([true, []]), "#{page} at #{width}: #{found}"
    end
  end

  it "asks for itself again, and keeps what the visitor has chosen, until it is paused" do
    look_at(path("/dead", **here))
    browser.click("input[value='#{redis.xrange("house:dead:child").dig(1, 0)}']")
    bury(4, id: "x")
    eventually { browser.all("tbody tr").size == 4 }
    chosen = "return Array.from(document.querySelectorAll('input:checked'), (box) => box.value)"
    expect(browser.run(chosen)).to eq([redis.xrange("house:dead:child").dig(1, 0)])
    while_paused { bury(5, id: "x") }
    eventually { browser.all("tbody tr").size == 5 }
    while_paused { @server.kill.join }
    eventually { browser.text("#freshness") == "No answer" }
  end

  it "does what a button says, also if another visitor has acted meanwhile" do
    look_at(path("/group", **here))
    expect(browser.text(".acts button")).to eq("Pause")
    redis.set("house:control:child", JSON.generate(v: 1, paused: true, at: 1_700_000_000_000, by: "another"))
    eventually { browser.text(".acts button") == "Resume" }
    browser.click(".acts button")
    eventually { notice&.start_with?("Resumed") }
    expect(redis.get("house:control:child")).to be_nil
  end

  # Afterwards the page asks at once.
  def while_paused
    browser.click("#pause")
    expect(browser.text("#freshness")).to eq("paused")
    yield
    browser.click("#pause")
  end

  it "retries and discards by keyboard alone" do
    look_at(path("/dead", **here))
    # The first stop skips the navigation.
    browser.press(:tab)
    expect(browser.run("return document.activeElement.hash")).to eq("#main")
    browser.press(:enter)
    tab_to("input[type=checkbox]")
    browser.press(:space)
    tab_to("button[value=retry]")
    browser.press(:enter)
    eventually { notice == "1 put back, to run again." }
    expect(letters).to eq(2)
    tab_to("button[value=discard_all]")
    browser.press(:enter)
    eventually { shown("h1").to_s.start_with?("Discard 2") }
    tab_to("button.danger")
    browser.press(:enter)
    eventually { notice == "2 discarded." }
    expect(letters).to eq(0)
  end

  def notice
    shown("[role=status]")
  end

  # Returns nil until the page is there.
  def shown(selector)
    browser.text(selector)
  rescue Browser::Refused
    nil
  end

  def tab_to(selector)
    60.times do
      return if browser.run("return document.activeElement.matches(arguments[0])", selector)

      browser.press(:tab)
    end
    raise "the keyboard does not reach #{selector}"
  end

  it "works without JavaScript" do
    browser.javascript = false
    look_at("/")
    expect(browser.text("noscript")).to eq("Reload")
    browser.click("a.name")
    eventually { browser.title.start_with?("house/child") }
    look_at(path("/dead", **here))
    browser.click("button[value=discard_all]")
    eventually { shown("h1").to_s.start_with?("Discard 3") }
    browser.click("button.danger")
    eventually { notice == "3 discarded." }
    expect(letters).to eq(0)
  end

  it "acts for no other site, and runs no script of others" do
    look_at("/")
    form = { **here, act: "discard", sure: 1, id: redis.xrange("house:dead:child").dig(0, 0) }
    inputs = form.map { |name, value| "<input name=#{name} value=#{value}>" }
    browser.visit("data:text/html,<form method=post action=#{@base}/dead>#{inputs.join}<button>go</button></form>")
    browser.click("button")
    eventually { shown("body").to_s.include?("was not sent by a page of this site") }
    expect(letters).to eq(3)
    look_at("/")
    browser.run("const script = document.createElement('script'); script.textContent = 'window.evil = 1'; " \
                "document.body.append(script); document.body.setAttribute('style', 'color: red')")
    effects = browser.run("return [window.evil, getComputedStyle(document.body).color]")
    expect(effects).not_to include(1, "rgb(255, 0, 0)")
    expect(browser.complaints.grep(/Content Security Policy/).size).to be >= 1
  end
end
