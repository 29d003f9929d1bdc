# frozen_string_literal: true

module RedisIPC
  module Testing
    # Finds who answers in inline mode: streams and servers that a test has connected, and channels, which need not be
    # connected.
    # @api private
    module Receivers
      @connected = []
      @nameless = []
      @lock = Monitor.new

      class << self
        # Notes that a stream, a server or a client was connected, and so may be asked.
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

        # Returns the stream that answers for a group.
        # @return [Stream, nil]
        def stream(name, group)
          connected = last(Stream) { |one| [one.stream_name, one.group_name] == [name, group] && one.handler? }
          connected || channel(name, group)
        end

        # Returns the server of a queue.
        # @return [JSONRPC::Server, nil]
        def server(queue)
          last(JSONRPC::Server) { |one| one.queue == queue }
        end

        # Returns the consumers of events.
        # @return [Array<Events::Runner>]
        def runners
          @lock.synchronize { @connected.select { |one| one.respond_to?(:setup) } }
        end

        # Keeps a channel without a name from the garbage collector for the test that has made it: Ruby's list of
        # subclasses is weak. A constant keeps the others.
        def keep(channel)
          @lock.synchronize { @nameless = [*@nameless.reject(&:name), channel] }
        end

        # Returns all channels, by inheritance.
        # @return [Array<Class>]
        def channels(of = Channel)
          of.subclasses.flat_map { |one| [one, *channels(one)] }
        end

        # Makes a channel answer no more.
        def retire(channel)
          ChannelState.of(channel).retired = true
          @lock.synchronize { @nameless -= [channel] }
        end

        private

        def last(kind, &wanted)
          @lock.synchronize { @connected.grep(kind).reverse.find(&wanted) }
        end

        # Finds the channel of a group. A class whose name another class has by now (reloaded, or of an earlier test)
        # does not count. Of several channels, the one defined last counts.
        def channel(stream, group)
          RedisIPC.channels&.load_all
          found = channels.find { |one| one.stream_name == stream && one.group_name == group && present?(one) }
          found && ChannelState.of(found).build_stream
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
