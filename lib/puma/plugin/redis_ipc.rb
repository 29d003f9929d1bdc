# frozen_string_literal: true

require "puma/plugin"

# `plugin :redis_ipc` in config/puma.rb: running requests are answered when Puma stops or restarts.
Puma::Plugin.create do
  # The application may be loaded later than the plugin, in this process or in its workers. The blocks run in the
  # process in which the event happens.
  def start(launcher)
    pid = Process.pid
    launcher.events.register(:state) { |state| quiet if stopping?(state, Process.pid == pid) }
    # Puma will exec itself, without `at_exit`; HTTP requests, which may ask, have ended. Puma 7 renamed the event.
    restart = launcher.events.respond_to?(:before_restart) ? :before_restart : :on_restart
    launcher.events.register(restart) { disconnect }
  end

  private

  # In a worker a restart is only a pause: Puma's fork_worker forks new workers from it, and goes on.
  def stopping?(state, in_launcher)
    state == :stop || (state == :restart && in_launcher)
  end

  # Stops the intake, so that other processes get new requests while HTTP requests, which may still ask, end.
  def quiet
    RedisIPC.quiet if loaded?
  end

  def disconnect
    RedisIPC.disconnect if loaded?
  end

  # Bundler loads the version, which defines the module, for a gem from a folder or from git.
  def loaded?
    defined?(RedisIPC) && RedisIPC.respond_to?(:disconnect)
  end
end
