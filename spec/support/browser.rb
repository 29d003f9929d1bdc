# frozen_string_literal: true

require "json"
require "net/http"
require "timeout"
require "tmpdir"

# Chromium without a window, driven by the WebDriver protocol.
class Browser
  # What the driver refuses, in its words.
  class Refused < StandardError
  end

  # The key by which WebDriver names an element.
  ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
  KEYS = { tab: "\uE004", enter: "\uE007", space: " ", escape: "\uE00C" }.freeze
  # Chromium's sandbox does not work for root. A container has little shared memory. Grey letters make small pictures.
  ARGUMENTS = %w[--headless=new --no-sandbox --disable-dev-shm-usage --disable-gpu --hide-scrollbars
                 --disable-extensions --no-first-run --disable-background-networking
                 --force-device-scale-factor=1 --disable-lcd-text].freeze

  class << self
    def available?
      %w[chromedriver chromium].all? do |name|
        ENV["PATH"].split(":").any? { |folder| File.executable?(File.join(folder, name)) }
      end
    end
  end

  def initialize
    read, write = IO.pipe
    # The driver leaves folders behind when it is killed.
    @folder = Dir.mktmpdir("redis_ipc_browser")
    @pid = Process.spawn({ "TMPDIR" => @folder }, "chromedriver", "--port=0", in: :close, out: write, err: File::NULL,
                                                                              pgroup: true)
    write.close
    @http = Net::HTTP.new("127.0.0.1", port_of(read))
    @http.read_timeout = 30
    @http.start
    @session = open_session
  end

  def visit(url)
    post("url", url: url)
  end

  def url
    get("url")
  end

  def title
    get("title")
  end

  # Runs the body of a function. Returns what it returns; elements as such.
  def run(script, *arguments)
    post("execute/sync", script: script, args: arguments)
  end

  # Returns what the function's promise holds in the end.
  def await(script, *arguments)
    post("execute/async", script: "const done = arguments[arguments.length - 1]; (async () => { #{script} })()" \
                                  ".then(done, (error) => done({ error: String(error) }))", args: arguments)
  end

  def text(selector = "body")
    get("element/#{find(selector)}/text")
  end

  def all(selector)
    post("elements", using: "css selector", value: selector).map { |element| element.fetch(ELEMENT) }
  end

  def find(selector)
    post("element", using: "css selector", value: selector).fetch(ELEMENT)
  end

  # Clicks the first element that matches.
  def click(selector)
    post("element/#{find(selector)}/click")
  end

  def fill(selector, text)
    element = find(selector)
    post("element/#{element}/clear")
    post("element/#{element}/value", text: text)
  end

  # Presses keys one after the other: names of KEYS, or text.
  def press(*keys)
    strokes = keys.flat_map { |key| key.is_a?(Symbol) ? [KEYS.fetch(key)] : key.chars }
    actions = strokes.flat_map { |stroke| [{ type: "keyDown", value: stroke }, { type: "keyUp", value: stroke }] }
    post("actions", actions: [{ type: "key", id: "keyboard", actions: actions }])
  end

  # @return [String] a PNG
  def screenshot
    get("screenshot").unpack1("m")
  end

  def size(width, height)
    devtools("Emulation.setDeviceMetricsOverride", width: width, height: height, deviceScaleFactor: 1, mobile: false)
  end

  # @param scheme [String] "dark" or "light"
  def scheme(scheme)
    devtools("Emulation.setEmulatedMedia", features: [{ name: "prefers-color-scheme", value: scheme }])
  end

  def javascript=(wanted)
    devtools("Emulation.setScriptExecutionDisabled", value: !wanted)
  end

  # @return [Array<String>] what the browser complained about since the last time
  def complaints
    post("se/log", type: "browser").map { |entry| entry.fetch("message") }
  end

  def stop
    request(Net::HTTP::Delete, "")
    @http.finish
  ensure
    Process.kill(:KILL, -@pid)
    Process.wait(@pid)
    FileUtils.remove_entry(@folder, true)
  end

  private

  def port_of(output)
    Timeout.timeout(20) do
      output.each_line { |line| return Regexp.last_match(1).to_i if line =~ /started successfully on port (\d+)/ }
    end
    raise "chromedriver ended"
  end

  def open_session
    options = { args: ARGUMENTS, binary: chromium }
    capabilities = { browserName: "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": { browser: "ALL" } }
    call(Net::HTTP::Post, "/session", capabilities: { alwaysMatch: capabilities }).fetch("sessionId")
  end

  def chromium
    ENV["PATH"].split(":").map { |folder| File.join(folder, "chromium") }.find { |file| File.executable?(file) }
  end

  def devtools(command, **parameters)
    post("goog/cdp/execute", cmd: command, params: parameters)
  end

  def get(path)
    request(Net::HTTP::Get, path)
  end

  def post(path, **body)
    request(Net::HTTP::Post, path, **body)
  end

  def request(method, path, **body)
    call(method, "/session/#{@session}#{"/#{path}" unless path.empty?}", **body)
  end

  def call(method, path, **body)
    message = method.new(path, "content-type" => "application/json")
    message.body = JSON.generate(body) if method == Net::HTTP::Post
    response = @http.request(message)
    value = JSON.parse(response.body).fetch("value")
    raise Refused, "#{value["error"]}: #{value["message"]}" unless response.code == "200"

    value
  end
end
