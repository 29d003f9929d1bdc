# frozen_string_literal: true

module RedisIPC
  module CLI
    # The option --probes of `redis_ipc work`: where it answers what watches the process.
    # @api private
    class ProbesPort
      ADDRESS = /\A(?:\[?(?<host>[^\[\]]+)\]?:)?(?<port>\d{1,5})\z/
      # Other machines are not answered unless they are named.
      HERE = "127.0.0.1"
      private_constant :ADDRESS, :HERE

      # @param address [String] such as "9394", "0.0.0.0:9394" or "[::]:9394"
      # @param stuck_after [Float] for {Probes}
      # @raise [UsageError]
      def initialize(address, stuck_after)
        found = ADDRESS.match(address)
        raise UsageError, "--probes needs a port, such as 9394 or 0.0.0.0:9394" unless found

        @host = found[:host] || HERE
        @port = found[:port].to_i
        @stuck_after = stuck_after
      end

      # @return [String] where it answers from now on
      # @raise [SystemCallError] if that is not possible
      # @raise [SocketError] if there is no such host
      def open
        listener = Probes.listen(host: @host, port: @port, stuck_after: @stuck_after)
        "http://#{@host.include?(":") ? "[#{@host}]" : @host}:#{listener.port}"
      end
    end
  end
end
