# frozen_string_literal: true

# Runs verbs of the command in a terminal, beside the busy house of bin/demo --web, and writes what they print as the
# pictures (SVG) of docs/command.md.
require "cgi"
require "pty"
require "rbconfig"
require "redis_ipc"
require "socket"
require "tmpdir"

# Draws a terminal as SVG.
class Picture
  COLORS = { "31" => "#ff7b72", "32" => "#7ee787", "33" => "#e3b341", "34" => "#79c0ff", "90" => "#8b949e" }.freeze
  PLAIN = "#e6edf3"
  WIDTH = 7.8
  HEIGHT = 18
  MARGIN = 16

  def initialize(columns, lines)
    @columns = columns
    @lines = lines
  end

  def to_s
    width = (@columns * WIDTH).ceil + (2 * MARGIN)
    height = (@lines.size * HEIGHT) + (2 * MARGIN)
    <<~SVG
      <svg xmlns="http://www.w3.org/2000/svg" width="#{width}" height="#{height}" viewBox="0 0 #{width} #{height}" font-family="ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace" font-size="13" fill="#{PLAIN}">
      <rect width="100%" height="100%" rx="8" fill="#0d1117"/>
      #{@lines.each_with_index.map { |line, index| text(line, index) }.join("\n")}
      </svg>
    SVG
  end

  private

  # Each part is put at its column, because fonts differ in width.
  def text(line, index)
    column = 0
    style = nil
    line.scan(/\e\[([\d;]*)m|([^\e]+)/).filter_map do |code, part|
      if part
        column += part.size
        element(part, column - part.size, index, style)
      else
        style = code
        nil
      end
    end.join
  end

  def element(part, column, index, style)
    return if part.strip.empty?

    place = "x=\"#{(MARGIN + (column * WIDTH)).round(1)}\" y=\"#{MARGIN + (index * HEIGHT) + 13}\""
    length = "textLength=\"#{(part.size * WIDTH).round(1)}\" lengthAdjust=\"spacingAndGlyphs\""
    "<text #{place} #{length} xml:space=\"preserve\"#{look(style)}>#{CGI.escapeHTML(part)}</text>"
  end

  def look(style)
    style == "1" ? " font-weight=\"bold\"" : COLORS[style].then { |color| color && " fill=\"#{color}\"" }
  end
end

COLUMNS = 112
ROOT = File.expand_path("../..", __dir__)
# The house has so many seconds to get into trouble.
WARM_UP = Integer(ENV.fetch("WARM_UP", 60))

def with_redis
  port = TCPServer.open("127.0.0.1", 0) { |server| server.addr[1] }
  Dir.mktmpdir("redis_ipc_recordings") do |folder|
    server = Process.spawn("redis-server", "--port", port.to_s, "--bind", "127.0.0.1", "--save", "", "--dir", folder,
                           out: File::NULL)
    yield "redis://127.0.0.1:#{port}"
  ensure
    Process.kill(:TERM, server)
    Process.wait(server)
  end
end

def with_house(url)
  output, input = IO.pipe
  pid = Process.spawn({ "REDIS_URL" => url }, RbConfig.ruby, "-I#{ROOT}/lib", "#{ROOT}/examples/busy_house/house.rb",
                      out: input)
  input.close
  output.gets
  sleep WARM_UP
  yield
ensure
  Process.kill(:INT, pid)
  Process.wait(pid)
end

def printed(environment, arguments)
  output, _, pid = PTY.spawn(environment, RbConfig.ruby, "-I#{ROOT}/lib", "#{ROOT}/exe/redis_ipc", *arguments)
  text = +""
  begin
    loop { text << output.readpartial(4096) }
  rescue EOFError, Errno::EIO
    Process.wait(pid)
  end
  text.force_encoding(Encoding::UTF_8).lines.map(&:chomp)
end

def record(name, url, *arguments)
  environment = { "COLUMNS" => COLUMNS.to_s, "TERM" => "xterm", "REDIS_URL" => url, "REDIS_IPC_STREAM" => "house",
                  "REDIS_IPC_QUEUE" => "calculator", "REDIS_IPC_EVENTS" => "orders" }
  lines = ["\e[32m$\e[0m redis_ipc #{arguments.join(" ")}", *printed(environment, arguments)]
  file = "docs/images/#{name}.svg"
  File.write(File.join(ROOT, file), Picture.new(COLUMNS, lines).to_s)
  puts "#{file}: #{lines.size} lines"
end

with_redis do |url|
  with_house(url) do
    record("command_doctor", url, "doctor")
    record("command_top", url, "top", "--once")
  end
end
