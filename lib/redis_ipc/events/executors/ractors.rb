# frozen_string_literal: true

require "forwardable"

module RedisIPC
  module Events
    module Executors
      # Runs handlers in Ractors, in the place of an {Invoker}. Each worker thread has a Ractor of its own, and waits
      # while the handler runs there. So only the handler runs in the Ractor: rules, middleware and notifications stay
      # in the main one, where Procs and connections belong.
      # @api private
      class Ractors
        NEEDED = Gem::Version.new("3.4")
        # The thread variable that holds a worker's Ractor.
        KEY = :redis_ipc_ractor
        private_constant :NEEDED, :KEY

        # @param who [String] the class
        # @raise [ConfigurationError] if this Ruby's Ractors are not good enough
        def self.check(who)
          return if Gem::Version.new(RUBY_VERSION) >= NEEDED

          Check.refuse("concurrency ractors: of #{who} needs Ruby #{NEEDED} or later, and this is Ruby " \
                       "#{RUBY_VERSION}: processes: run handlers beside each other, too")
        end

        # @param name [String] the class
        # @param consumer_class [Class]
        # @param procs [Array<String>] what it says with a Proc, and to say instead
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

        # The current thread begins to work.
        def enter; end

        # The current thread ends, and its Ractor with it.
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
          # If this thread was killed meanwhile, the next handler would be given this one's reply.
          ractor.release if ractor && (ended.nil? || ended)
        end

        # Data is decoded here, because only the main Ractor may call the library in Rust.
        def portable(events)
          Ractor.make_shareable(events.map do |event|
            values, format = event.marshal_dump
            [values, Decoded.new(format, event.data, event.old)]
          end)
        end

        # The format of an event whose data is decoded.
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
              # It holds what cannot be dumped, such as a Proc.
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

        # A Ractor that runs handlers. It replies by a pipe, because two threads of the main Ractor cannot both wait in
        # `Ractor#take` (Ruby 3.4 then loses a reply, seen).
        class HandlerRactor
          # @param consumer_class [Class]
          def initialize(consumer_class)
            @reader, writer = IO.pipe(binmode: true)
            # The Ractor closes it.
            writer.autoclose = false
            @ractor = Ractor.new(consumer_class, writer.fileno) { |handled, number| Inside.new(handled, number).run }
          end

          # @param events [Array] what `portable` made
          # @param batch [Boolean]
          # @return [Array(Array, Hash{Integer => Array}, Boolean)] what the handler raised, what it marked events with
          #   by their place, and whether the Ractor has ended
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

          # Lets it end when its handler has, and listens to it no more.
          def release
            @reader.close
            @ractor.send(nil)
          rescue Ractor::ClosedError
            # It has ended.
          end

          private

          def receive
            size = @reader.read(4).unpack1("N")
            Marshal.load(@reader.read(size)) # rubocop:disable Security/MarshalLoad -- Inside has written it
          end
        end

        # What runs in the Ractor. It stands in for {Resources} there.
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
            # By `Thread.exit`, say.
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
            # The thread was killed that would have read it.
          end
        end
        private_constant :Decoded, :Failure, :HandlerRactor, :Inside
      end
    end
  end
end
