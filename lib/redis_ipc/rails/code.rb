# frozen_string_literal: true

module RedisIPC
  module OnRails
    # Surrounds the user's code with Rails's executor (database connections, CurrentAttributes, query cache), code
    # reloading and log tags.
    # @api private
    class Code < Framework
      EVENT_TAGS = { destination_group: :source, id: :position }.freeze
      private_constant :EVENT_TAGS

      # @param app [Rails::Application]
      # @param log_tags [Array<String, Symbol, Proc>]
      # @param channels [Channels]
      # @param consumers [Consumers]
      def initialize(app, log_tags, channels, consumers)
        super()
        @app = app
        @log_tags = log_tags
        @channels = channels
        @consumers = consumers
        # In this case Rails never loads or unloads code, and uses no lock.
        @locked_for_good = app.config.cache_classes && app.config.eager_load
        ProcessHooks.on_fork { renew_interlock if ProcessHooks.worker? }
      end

      def handlers?
        true
      end

      def correlations?
        true
      end

      def correlation_id
        Current.request_id
      end

      def logger
        ::Rails.logger
      end

      def shutdown_timeout
        5
      end

      def clean_backtrace(lines)
        ::Rails.backtrace_cleaner.clean(lines)
      end

      def connect(channel)
        @channels.connect_to_ask(channel)
      end

      # Reloads code that has changed, and runs the handler. The exception bypasses the executor, which would report it
      # (Rails 7): the subscriber of `:error` reports it, with the id of the request.
      def around_handler(entry, &handler)
        failure = nil
        result = @app.reloader.wrap do
          (event?(entry) ? @consumers : @channels).catch_up
          within(entry, &handler)
        rescue Exception => e # rubocop:disable Lint/RescueException -- raised again below
          failure = e
        end
        failure ? raise(failure) : result
      end

      def around_callback(entry = nil, &callback)
        return @app.executor.wrap(&callback) if entry.nil?

        @app.executor.wrap { within(entry, &callback) }
      end

      # Releases the lock of code reloading while the thread waits for an answer. All threads inside the executor share
      # that lock. A reload waits until all have released it, and threads that come later wait for the reload. The
      # handler that gives the answer may be one of those, here or in another process.
      def around_wait(&wait)
        @locked_for_good ? yield : outside_interlock(&wait)
      end

      private

      # A consumer with batches gets an Array of events, and one of transactions a transaction.
      def event?(entry)
        [ChangeEvent, CommittedTransaction, Array].any? { |kind| entry.is_a?(kind) }
      end

      def outside_interlock
        released = 0
        shares_of_interlock.times do
          interlock.done_running
          released += 1
        end
        yield
      ensure
        # It takes as many shares as it released, because it may have been interrupted in between.
        released.times { interlock.start_running }
      end

      def interlock
        ActiveSupport::Dependencies.interlock
      end

      # A worker process is forked whenever its consumer starts, also by a reload. Nobody gives back in the child what
      # threads of the parent held of the lock then, and its handlers would wait for that for ever.
      def renew_interlock
        ActiveSupport::Dependencies.interlock = ActiveSupport::Dependencies::Interlock.new
      end

      def shares_of_interlock
        interlock.raw_state do |threads|
          mine = threads[Thread.current]
          mine.nil? || mine[:exclusive] ? 0 : mine[:sharing].to_i
        end
      end

      # Sets the id for the log and for requests that the handler sends.
      def within(entry, &code)
        # An event has no such id.
        Current.request_id = entry.respond_to?(:correlation_id) ? entry.correlation_id : nil
        tagged(entry, &code)
      end

      def tagged(entry, &handler)
        logger = ::Rails.logger
        return yield if @log_tags.empty? || !logger.respond_to?(:tagged)

        logger.tagged(*@log_tags.filter_map { |tag| tag_text(tag, entry) }, &handler)
      end

      # Tags name the methods of requests. An event has another place and another id.
      def tagged_value(tag, entry)
        tag = EVENT_TAGS.fetch(tag, tag) if entry.is_a?(ChangeEvent)
        entry.public_send(tag) if entry.respond_to?(tag)
      end

      def tag_text(tag, entry)
        case tag
        when Symbol then tagged_value(tag, entry)&.then { |text| LogText.of(text.to_s) }
        when Proc then tag.call(entry)
        else tag
        end
      end
    end
  end
end
