# frozen_string_literal: true

module RedisIPC
  class Probes
    # Finds what this process has connected.
    # @api private
    module Sessions
      class << self
        # @return [Array<EngineSession>] those of this process that are neither closed nor being closed, without what
        #   only publishes
        def open
          ProcessHooks.look(&:keys).select { |session| session.open? && !session.labels.empty? }
        end

        # @return [String] its name for people
        def title(session)
          session.labels.values_at(:stream, :group).reject { |text| text.to_s.empty? }.join("/")
        end
      end
    end
    private_constant :Sessions
  end
end
