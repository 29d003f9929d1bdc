# frozen_string_literal: true

module RedisIPC
  module Events
    module Executors
      # Stands for workers where the core does the work itself, and none of it is in Ruby.
      # @api private
      class Core
        # (see Executors)
        def start; end

        # (see Executors)
        def retire; end

        # (see Executors)
        def join(_deadline); end

        # (see Executors)
        def kill; end

        # (see Executors)
        def current?
          false
        end

        # Returns true: the core has the only thread that it needs.
        def alive?
          true
        end
      end
    end
  end
end
