# frozen_string_literal: true

module RedisIPC
  module Metrics
    # Finds the figures of this process. What ended sessions have counted stays: a counter that falls means to a
    # monitoring system that the process was restarted.
    # @api private
    module Sources
      @ended = {}

      class << self
        # @return [Array<Source>] those of open sessions, and those of ended ones
        def all
          open, ended = ProcessHooks.look { |streams| [streams.keys, @ended.values] }
          open.select { |session| ours?(session) }.map { |session| Source.open(session) } + ended
        end

        # Adds what a session has counted to that of those which ended before.
        # @param session [EngineSession]
        def add(session)
          return unless ours?(session)

          source = Source.ended(session)
          before = @ended[source.labels]
          @ended[source.labels] = before ? before.merge(source) : source
        end

        # Forgets what the parent's sessions have counted.
        def after_fork
          @ended = {}
        end

        private

        # A fork has the sessions of its parent until it is connected itself.
        def ours?(session)
          session.pid == Process.pid && !session.labels.empty?
        end
      end

      ProcessHooks.on_end { |session, _| add(session) }
      ProcessHooks.on_fork { after_fork }
    end
  end
end
