# frozen_string_literal: true

require "etc"
require "fileutils"
require "open3"
require "tmpdir"

module Databases
  # A cluster in a folder of its own, with a socket there and no port. The first example that needs it starts it.
  # PostgreSQL does not run as root.
  class Cluster
    PROGRAMS = %w[initdb postgres pg_basebackup].freeze
    private_constant :PROGRAMS

    class << self
      # Returns why there is no cluster. Returns nil if there is one.
      def missing
        return @missing if defined?(@missing)

        @missing = why_missing
      end

      def shared
        @shared ||= new
      end

      def stop_shared
        @shared&.stop
        @shared = nil
      end

      # Returns the newest installed version.
      def binaries
        found = ENV.fetch("PATH").split(":") + Dir["/usr/lib/postgresql/*/bin"].sort_by { |path| -path[/\d+/].to_i }
        found.reverse.uniq.reverse.find { |folder| PROGRAMS.all? { |name| own?(File.join(folder, name)) } }
      end

      private

      # Whether it is the real program. A distribution's wrapper may do something else.
      def own?(file)
        File.executable?(file) && File.realpath(file).include?("postgresql")
      end

      def why_missing
        gem "pg"
        return "PostgreSQL is not installed (apt-get install postgresql)" unless binaries

        "no user postgres to run PostgreSQL as" if Process.uid.zero? && !user?
      rescue LoadError
        "the gem pg is not installed (apt-get install ruby-pg)"
      end

      def user?
        Etc.getpwnam("postgres")
        true
      rescue ArgumentError
        false
      end
    end

    attr_reader :folder

    # @param config [Hash{String => String}] the server's settings
    # @param folder [String, nil] an empty one for its data and its socket
    # @param primary [Cluster, nil] it is a standby of this one
    def initialize(config = {}, folder: nil, primary: nil)
      @config = { "listen_addresses" => "", "fsync" => "off", **config }
      @folder = folder || Dir.mktmpdir("redis_ipc_pg")
      FileUtils.chown("postgres", nil, @folder) if Process.uid.zero?
      @data = File.join(@folder, "data")
      primary ? copy(primary) : create
      start
    end

    # Returns the options of a connection to it, as libpq has them.
    def address
      "host=#{folder} port=#{port} user=spec dbname=postgres"
    end

    # Makes a standby the primary.
    def promote
      query("SELECT pg_promote()")
    end

    def port
      @config.fetch("port", "5432")
    end

    # Returns the major version of the server.
    def self.version
      @version ||= Open3.capture2(File.join(binaries, "postgres"), "--version").first[/\d+/].to_i
    end

    def start
      words = @config.flat_map { |name, value| ["-c", "#{name}=#{value}"] }
      @pid = Process.spawn(*as_user(program("postgres")), "-D", @data, "-k", @folder, *words,
                           in: :close, %i[out err] => File.join(@folder, "log"))
      wait_until_ready
    end

    # Stops the server, and keeps its data.
    def stop_serving
      Process.kill(:INT, @pid)
      Process.wait(@pid)
    end

    # Kills all of its processes at once, as a machine that fails would. They are gone when this returns.
    def kill
      children = File.read("/proc/#{@pid}/task/#{@pid}/children").split.map(&:to_i)
      [@pid, *children].each { |pid| signal(:KILL, pid) }
      Process.wait(@pid)
      sleep 0.01 while children.any? { |pid| signal(0, pid) }
    end

    # Returns whether it has ended by itself.
    def gone?
      !Process.wait(@pid, Process::WNOHANG).nil?
    rescue Errno::ECHILD
      true
    end

    # Changes its settings from the next start on.
    def configure(config)
      @config = @config.merge(config)
    end

    # Writes a file into the data folder.
    def write(name, text)
      path = File.join(@data, name)
      File.write(path, text)
      File.chmod(0o600, path)
      FileUtils.chown("postgres", nil, path) if Process.uid.zero?
    end

    # Copies files into the data folder, under their names there.
    def install(files)
      files.each { |name, file| write(name, File.read(file)) }
    end

    def query(sql)
      connection = PG.connect(host: @folder, port: port, user: "spec", dbname: "postgres")
      connection.exec(sql)
    ensure
      connection&.close
    end

    def settings
      { adapter: "postgresql", host: @folder, username: "spec", database: "postgres" }
    end

    def stop
      stop_serving unless gone?
    ensure
      FileUtils.remove_entry(@folder, true)
    end

    private

    def create
      run("initdb", "--pgdata", @data, "--username", "spec", "--auth", "trust", "--no-sync", "--encoding", "UTF8",
          "--no-locale")
    end

    # It keeps what the primary must keep for it in a slot of its own.
    def copy(primary)
      run("pg_basebackup", "--pgdata", @data, "--dbname", primary.address, "--write-recovery-conf", "--no-sync",
          "--checkpoint", "fast", "--create-slot", "--slot", "standby")
    end

    def signal(name, pid)
      Process.kill(name, pid)
    rescue Errno::ESRCH
      nil
    end

    def program(name)
      File.join(self.class.binaries, name)
    end

    def run(name, *arguments)
      output, status = Open3.capture2e(*as_user(program(name)), *arguments, chdir: @folder)
      raise output unless status.success?
    end

    def as_user(*command)
      Process.uid.zero? ? ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", *command] : command
    end

    def wait_until_ready
      require "pg"
      deadline = Process.clock_gettime(Process::CLOCK_MONOTONIC) + 20
      begin
        query("SELECT 1")
      rescue PG::ConnectionBad
        raise File.read(File.join(@folder, "log")) if Process.clock_gettime(Process::CLOCK_MONOTONIC) > deadline

        sleep 0.05
        retry
      end
    end
  end
end
