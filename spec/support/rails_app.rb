# frozen_string_literal: true

require "fileutils"
require "json"
require "net/http"
require "tmpdir"

# A copy of the Rails application in spec/rails/app, its processes, and requests to it over HTTP.
class RailsApp
  SOURCE = File.expand_path("../rails/app", __dir__)
  LIBRARY = File.expand_path("../../lib", __dir__)
  COMMAND = File.expand_path("../../exe/redis_ipc", __dir__)
  PUMA = %w[puma -C config/puma.rb].freeze

  class << self
    def available?
      Gem::Specification.find_all_by_name("railties").any? && Gem::Specification.find_all_by_name("puma").any?
    end

    def passenger?
      ENV["PATH"].split(":").any? { |folder| File.executable?(File.join(folder, "passenger")) }
    end

    # Returns the database that every copy begins with. The first copy migrates it.
    def database(app)
      @database ||= begin
        app.migrate
        File.binread(app.database)
      end
    end
  end

  attr_reader :folder, :port

  def initialize(environment: "production", **variables)
    @folder = Dir.mktmpdir("redis_ipc_rails")
    FileUtils.cp_r("#{SOURCE}/.", @folder)
    %w[log tmp].each { |name| FileUtils.mkdir_p(File.join(@folder, name)) }
    @port = RedisServer.free_port
    @variables = { "RAILS_ENV" => environment, "REDIS_URL" => RedisServer.shared.url, "RUBYLIB" => LIBRARY,
                   "PORT" => @port.to_s, **variables.transform_keys(&:to_s) }
    @pids = []
    @edits = 0
    Dir["#{@folder}/**/*.rb"].each { |file| touch(file) }
    File.binwrite(database, RailsApp.database(self))
  end

  def database
    File.join(@folder, "tmp", "shop.sqlite3")
  end

  # Migrates as `bin/rails db:migrate` does: the application's migrations and those of its engine.
  def migrate
    # With WAL, a reader whose process holds the GVL (see Visit) does not block the writers of all other processes.
    run(<<~RUBY, RAILS_ENV: "production")
      ActiveRecord::Base.connection.execute("PRAGMA journal_mode=WAL")
      Rails.application.load_tasks
      Rake::Task["db:migrate"].invoke
      # Moves everything into the one file that is copied, because not every adapter closes the database when the
      # process ends.
      ActiveRecord::Base.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    RUBY
  end

  # Starts Puma with the application. Returns its pid when it has booted.
  def serve(workers: 2, preload: true, fork_worker: false)
    variables = { WORKERS: workers, PRELOAD: preload, FORK_WORKER: fork_worker }
    spawn(*PUMA, **variables).tap { wait_until_served(workers) }
  end

  # Starts Puma by `rails server`, which has no `Puma.cli_config`.
  def serve_by_rails(workers: 2, **variables)
    server = "APP_PATH = File.expand_path(\"config/application\"); require APP_PATH; require \"rails/command\"; " \
             "Rails::Command.invoke(:server, %w[--port #{port}])"
    spawn(RbConfig.ruby, "-e", server, WORKERS: workers, PRELOAD: true, **variables).tap { wait_until_served(workers) }
  end

  # Starts Phusion Passenger Standalone. Returns when it answers HTTP requests, which is when its processes have booted.
  def serve_by_passenger(spawn_method: "smart", processes: 2)
    FileUtils.mkdir_p(passenger_registry)
    spawn("passenger", "start", "--engine", "builtin", "--address", "127.0.0.1", "--port", port.to_s,
          "--environment", @variables.fetch("RAILS_ENV"), "--spawn-method", spawn_method,
          "--min-instances", processes.to_s, "--max-pool-size", processes.to_s,
          "--instance-registry-dir", passenger_registry, "--log-file", File.join(@folder, "log", "passenger.log"),
          "--pid-file", File.join(@folder, "tmp", "passenger.pid"),
          "--disable-security-update-check", "--disable-anonymous-telemetry")
    await_boot { listening? && members.fetch("web", []).size >= processes }
  end

  # Replaces Passenger's processes. Returns when the old ones are told to end.
  def restart_by_passenger
    output, status = Open3.capture2e({ "PASSENGER_INSTANCE_REGISTRY_DIR" => passenger_registry },
                                     "passenger-config", "restart-app", "--ignore-app-not-running", @folder)
    raise "passenger-config: #{output}" unless status.success?
  end

  # Starts Puma while Redis is down. Returns when it accepts HTTP requests.
  def serve_alone
    spawn(*PUMA, WORKERS: 0, PRELOAD: false).tap { await_boot { listening? } }
  end

  # Starts Sidekiq with the application.
  def work_by_sidekiq(channel = "WebIpc")
    spawn("sidekiq", "-r", ".", "-c", "1", REDIS_IPC_CHANNELS: channel)
  end

  # Starts a process that answers one channel.
  def work(channel = "WorkerIpc")
    work_by_command("--only", channel)
  end

  # Starts `redis_ipc work`. Returns its pid.
  def work_by_command(*arguments, **variables)
    spawn(RbConfig.ruby, COMMAND, "work", *arguments, **variables)
  end

  # Returns what the code prints in a process that has booted the application, as with `rails runner`.
  def run(code, **variables)
    script("require \"./config/environment\"; #{code}", **variables)
  end

  # Returns what the code prints in a process that has loaded nothing yet.
  def script(code, **variables)
    output, status = Open3.capture2e(environment(variables), RbConfig.ruby, "-Ku", "-e", code, chdir: @folder)
    # The output is UTF-8 (-Ku) in every locale.
    output.force_encoding(Encoding::UTF_8)
    raise "#{code}: #{output}" unless status.success?

    output
  end

  def get(path)
    response = Net::HTTP.start("127.0.0.1", port, open_timeout: 20, read_timeout: 40) { |http| http.get(path) }
    raise "#{path}: #{response.code} #{response.body[0, 300]}" unless response.code == "200"

    JSON.parse(response.body, symbolize_names: true)
  end

  # Asks for each number, from several threads at once, until no number is left or `enough` returns true. Returns the
  # results, exceptions included.
  def get_all(numbers, enough: -> { false }, threads: 6, &block)
    queue = Queue.new
    numbers.each { |number| queue << number }
    queue.close
    Array.new(threads) { Thread.new { drain(queue, enough, &block) } }.flat_map(&:value)
  end

  # Calls the block again and again, until the returned proc is called. That returns the results.
  def keep_asking(&block)
    stop = false
    thread = Thread.new { get_all(1..1_000_000, enough: -> { stop }, threads: 2, &block) }
    -> { (stop = true) && thread.value }
  end

  def edit(file, from, to)
    path = File.join(@folder, file)
    text = File.read(path)
    raise "#{file} does not say #{from}" unless text.include?(from)

    # The new file appears together with its time. If a request saw it with the time of writing, it would ignore later
    # edits as older ones.
    File.write("#{path}.new", text.sub(from, to))
    touch("#{path}.new", seconds: @edits += 1)
    File.rename("#{path}.new", path)
  end

  def write(file, text)
    path = File.join(@folder, file)
    FileUtils.mkdir_p(File.dirname(path))
    File.write(path, text)
  end

  # Returns what the processes have printed.
  def printed
    File.exist?(output) ? File.read(output) : ""
  end

  def log
    [*Dir[File.join(@folder, "log", "*.log")], *Dir[output]].map { |file| File.read(file) }.join
  end

  # Returns the pids on the stream, by group.
  def members
    rows = RedisServer.shared.client.zrange("shop:instances", 0, -1).map { |member| member.split(":") }
    # An answering instance writes its lease into a second row.
    rows = rows.select { |row| row.size == 4 }
    rows.group_by(&:first).transform_values { |list| list.map { |row| Integer(row.last) } }
  end

  def kill(pid, signal)
    Process.kill(signal, pid)
  end

  # Returns its exit status.
  def ended(pid)
    @pids.delete(pid)
    Timeout.timeout(30) { Process.wait2(pid).last }
  end

  # Returns a channel of this process, which asks the application from outside.
  def outside
    @outside ||= Class.new(RedisIPC::Channel) do
      stream "shop"
      channel "outside"
    end.connect(redis_options: { path: RedisServer.shared.path })
  end

  def stop
    @outside&.disconnect
    @pids.dup.each do |pid|
      kill(pid, :TERM)
      ended(pid)
    rescue Timeout::Error
      kill(pid, :KILL)
      Process.wait(pid)
    end
    FileUtils.remove_entry(@folder, true)
  end

  private

  def environment(variables)
    @variables.merge(variables.to_h { |name, value| [name.to_s, value.to_s] })
  end

  def spawn(*command, **variables)
    pid = Process.spawn(environment(variables), *command, chdir: @folder, %i[out err] => [output, "a"], in: :close)
    @pids << pid
    pid
  end

  def passenger_registry
    File.join(@folder, "tmp", "passenger")
  end

  def output
    File.join(@folder, "output")
  end

  # Waits until Puma reports that it serves. Before that it ignores signals.
  def wait_until_served(workers)
    await_boot do
      members.fetch("web", []).size >= [workers, 1].max && listening? && log.include?("Use Ctrl-C to stop")
    end
  end

  def await_boot
    Timeout.timeout(90) { sleep 0.02 until yield }
  rescue Timeout::Error
    raise "it did not boot: #{log}"
  end

  # Sets the time of a file. Rails compares the times of files, and ignores times in the future.
  def touch(file, seconds: 0)
    time = Time.now - 3600 + seconds
    File.utime(time, time, file)
  end

  def listening?
    TCPSocket.new("127.0.0.1", port).close
    true
  rescue SystemCallError
    false
  end

  def drain(queue, enough)
    results = []
    while !enough.call && (number = queue.pop)
      results << begin
        yield number
      rescue StandardError => e
        e
      end
    end
    results
  end
end
