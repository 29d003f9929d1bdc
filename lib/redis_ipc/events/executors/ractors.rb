# frozen_string_literal: true

require "forwardable"

module RedisIPC
  module Events
    module Executors
      # Runs handlers in Ractors, in the place of an {Invoker}. Each worker thread has a Ractor of its own, and waits
      # while the handler runs there. So only the handler runs in the Ractor. Rules, middleware and notifications stay
      # in the main Ractor, where Procs and connections belong.
      # @api private
      class Ractors
        NEEDED = Gem::Version.new("3.4")
        # The thread variable that holds a worker's Ractor.
        KEY = :redis_ipc_ractor
        private_constant :NEEDED, :KEY

        # @param who [String] the class
        # @raise [ConfigurationError] if this Ruby lacks usable Ractors
        def self.check(who)
          return if Gem::Version.new(RUBY_VERSION) >= NEEDED

          Check.refuse("concurrency ractors: of #{who} needs Ruby #{NEEDED} or later, and this is Ruby " \
                       "#{RUBY_VERSION}: processes: run handlers beside each other, too")
        end

        # @param name [String] the class
        # @param consumer_class [Class]
        # @param procs [Array<String>] the declarations that use a Proc, with what to use instead
        # @raise [ConfigurationError]
        def initialize(name, consumer_class, procs)
          Check.refuse("ractors of #{name} cannot run #{procs.first}; a Proc belongs to one Ractor") if procs.any?

          @name = name
          @consumer_class = consumer_class
          freeze
        end

        # @param event [ChangeEvent]
        # @return [void]
        def event(event)
          call([event], false)
        end

        # @param events [Array<ChangeEvent>]
        # @return [void]
        def batch(events)
          call(events, true)
        end

        # Called when the current thread begins to work. The Ractor is created later, on first use.
        def enter; end

        # Called when the current thread ends. Ends its Ractor, too.
        def leave
          Thread.current.thread_variable_get(KEY)&.close
        rescue StandardError => e
          ErrorReport.warning("redis_ipc: a resource of #{@name} could not be closed: #{LogText.error(e)}")
        ensure
          Thread.current.thread_variable_set(KEY, nil)
        end

        private

        def call(events, batch)
          thread = Thread.current
          ractor = thread.thread_variable_get(KEY) || HandlerRactor.new(@consumer_class)
          thread.thread_variable_set(KEY, nil)
          error, failures, ended = ractor.call(portable(events), batch)
          thread.thread_variable_set(KEY, ractor) unless ended
          failures.each { |place, failure| events[place].fail!(Failure.load(failure)) }
          raise Failure.load(error) if error
        ensure
          # If this thread was killed while it waited, the next handler would get this one's reply.
          ractor.release if ractor && (ended.nil? || ended)
        end

        # Decodes the data of events here, because only the main Ractor may call the Rust library.
        def portable(events)
          Ractor.make_shareable(events.map do |event|
            values, format = event.marshal_dump
            [values, Decoded.new(format, event.data, event.old)]
          end)
        end

        # The format of an event whose data is decoded already.
        class Decoded
          extend Forwardable

          def_delegators :@format, :source_of, :kind, :operation, :guarantee, :position, :type, :key, :metadata,
                         :traceparent, :place, :transaction

          def initialize(format, data, old)
            @format = format
            @data = data
            @old = old
            freeze
          end

          def data(_entry)
            @data
          end

          def old(_entry)
            @old
          end
        end

        # An exception on its way to the main Ractor.
        module Failure
          class << self
            # @param error [Exception]
            # @return [Array(Symbol, String)]
            def dump(error)
              [:dumped, Marshal.dump(error)]
            rescue TypeError
              # The exception holds something that cannot be dumped, such as a Proc.
              [:text, "#{error.class}: #{error.message}"]
            end

            # @param failure [Array(Symbol, String)]
            # @return [Exception]
            def load(failure)
              kind, text = failure
              kind == :dumped ? Marshal.load(text) : EventFailedError.new(text) # rubocop:disable Security/MarshalLoad
            end
          end
        end

        # A Ractor that runs handlers. It replies through a pipe, because two threads of the main Ractor cannot both
        # wait in `Ractor#take`: Ruby 3.4 then loses a reply (seen).
        class HandlerRactor
          # @param consumer_class [Class]
          def initialize(consumer_class)
            @reader, writer = IO.pipe(binmode: true)
            # The Ractor closes it.
            writer.autoclose = false
            @ractor = Ractor.new(consumer_class, writer.fileno) { |handled, number| Inside.new(handled, number).run }
          end

          # @param events [Array] what `portable` returned
          # @param batch [Boolean]
          # @return [Array(Array, Hash{Integer => Array}, Boolean)] the exception of the handler, the exceptions of
          #   events that it marked by their places, and whether the Ractor has ended
          def call(events, batch)
            @ractor.send([events, batch])
            receive
          rescue Ractor::ClosedError
            [[:text, "the Ractor has ended"], {}, true]
          end

          # Ends it. Its resource is closed then.
          # @raise [Exception] what closing that raised
          def close
            error, = call(nil, false)
            raise Failure.load(error) if error
          ensure
            @reader.close
          end

          # Lets it end after its handler, and ignores its reply.
          def release
            @reader.close
            @ractor.send(nil)
          rescue Ractor::ClosedError
            # The Ractor has ended.
          end

          private

          def receive
            size = @reader.read(4).unpack1("N")
            Marshal.load(@reader.read(size)) # rubocop:disable Security/MarshalLoad -- Inside has written it
          end
        end

        # The code that runs in the Ractor. There it replaces {Resources}.
        class Inside
          # @param consumer_class [Class]
          # @param number [Integer] the descriptor that replies are written to
          def initialize(consumer_class, number)
            @consumer_class = consumer_class
            @replies = IO.for_fd(number, "wb")
            @replies.sync = true
          end

          # Runs handlers until it is told to end.
          def run
            Thread.current.thread_variable_set(Resources::KEY, self)
            loop do
              events, batch = Ractor.receive
              break unless events

              reply(*handle(events, batch), false)
            end
            finished = true
            reply(closed, {}, true)
          ensure
            # The handler left the block without returning, for example by `Thread.exit`.
            reply([:text, "the handler has ended its Ractor"], {}, true) unless finished
            @replies.close
          end

          # @return [Object] the resource of this Ractor
          def fetch
            @fetch ||= open
          end

          private

          def open
            return @consumer_class.open_resource if @consumer_class.respond_to?(:open_resource)

            raise Error, "#{@consumer_class} makes no resource for a Ractor: define self.open_resource"
          end

          def handle(portable, batch)
            events = portable.map { |values| ChangeEvent.allocate.tap { |event| event.marshal_load(values) } }
            @consumer_class.new.__send__(:call, batch ? events : events.first)
            result(events, nil)
          rescue Exception => e # rubocop:disable Lint/RescueException -- any exception is a failure of the event
            result(events, e)
          end

          def result(events, error)
            failures = events.to_a.each_with_index.filter_map do |event, place|
              [place, Failure.dump(event.failure)] if event.failure
            end
            [error && Failure.dump(error), failures.to_h]
          end

          def closed
            @fetch.close if @fetch.respond_to?(:close)
            nil
          rescue StandardError => e
            Failure.dump(e)
          end

          def reply(*reply)
            message = Marshal.dump(reply)
            @replies.write([message.bytesize].pack("N"), message)
          rescue Errno::EPIPE
            # The thread that would have read the reply was killed.
          end
        end
        private_constant :Decoded, :Failure, :HandlerRactor, :Inside
      end
    end
  end
end
