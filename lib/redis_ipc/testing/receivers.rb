# frozen_string_literal: true

module RedisIPC
  module Testing
    # Who answers in inline mode: what a test has connected, and channels, which need not be.
    # @api private
    module Receivers
      @connected = []
      @nameless = []
      @lock = Monitor.new

      class << self
        # Notes that a stream or an end of JSON-RPC was connected: it may be asked.
        def join(receiver)
          @lock.synchronize { @connected << receiver unless @connected.include?(receiver) }
        end

        def leave(receiver)
          @lock.synchronize { @connected.delete(receiver) }
        end

        def joined?(receiver)
          @lock.synchronize { @connected.include?(receiver) }
        end

        def forget
          @lock.synchronize { @connected.clear }
        end

        # Who answers for a group.
        # @return [Stream, nil]
        def stream(name, group)
          connected = last(Stream) { |one| [one.stream_name, one.group_name] == [name, group] && one.handler? }
          connected || channel(name, group)
        end

        # Who answers on a queue.
        # @return [JSONRPC::Server, nil]
        def server(queue)
          last(JSONRPC::Server) { |one| one.queue == queue }
        end

        # Keeps a channel from the garbage collector, which would take one without a name from the test that has made
        # it: Ruby's list of subclasses is weak. A constant keeps the others.
        def keep(channel)
          @lock.synchronize { @nameless = [*@nameless.reject(&:name), channel] }
        end

        # All channels, by inheritance.
        # @return [Array<Class>]
        def channels(of = Channel)
          of.subclasses.flat_map { |one| [one, *channels(one)] }
        end

        # A channel answers no more.
        def retire(channel)
          ChannelState.of(channel).retired = true
          @lock.synchronize { @nameless -= [channel] }
        end

        private

        def last(kind, &wanted)
          @lock.synchronize { @connected.grep(kind).reverse.find(&wanted) }
        end

        # A class with the name of another that is no longer there (reloaded, or of an earlier test) does not count; of
        # several, the one defined last does.
        def channel(stream, group)
          RedisIPC.channels&.load_all
          found = channels.find { |one| one.stream_name == stream && one.group_name == group && present?(one) }
          found && stream_of(found)
        end

        def stream_of(channel)
          stream = ChannelState.of(channel).build_stream
          stream.counted_by = Testing.stream_of(channel)
          stream
        end

        def present?(channel)
          return !ChannelState.of(channel).retired if channel.name.nil?

          Object.const_defined?(channel.name) && Object.const_get(channel.name).equal?(channel)
        end
      end
    end
    private_constant :Receivers
  end
end
