# frozen_string_literal: true

require "puma/plugin"

# `plugin :redis_ipc` in config/puma.rb: requests to this process are answered when Puma stops or restarts.
Puma::Plugin.create do
  # The application may be loaded later than this, in this process or in its workers: the blocks are called in whichever
  # process the event happens.
  def start(launcher)
    pid = Process.pid
    launcher.events.register(:state) { |state| quiet if stopping?(state, Process.pid == pid) }
    # It will exec itself, without at_exit; HTTP requests, which may ask, have ended. Puma 7 changed the event's name.
    restart = launcher.events.respond_to?(:before_restart) ? :before_restart : :on_restart
    launcher.events.register(restart) { disconnect }
  end

  private

  # In a worker, a restart is a pause: Puma's fork_worker makes new workers of it, and goes on.
  def stopping?(state, in_launcher)
    state == :stop || (state == :restart && in_launcher)
  end

  # Others get what comes in while HTTP requests, which may still ask, end.
  def quiet
    RedisIPC.quiet if loaded?
  end

  def disconnect
    RedisIPC.disconnect if loaded?
  end

  # Bundler loads the version, and so defines the module, for a gem that comes from a folder or from git.
  def loaded?
    defined?(RedisIPC) && RedisIPC.respond_to?(:disconnect)
  end
end
