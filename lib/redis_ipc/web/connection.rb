# frozen_string_literal: true

module RedisIPC
  class Web
    # The one Admin of this process. Web servers fork after the application is loaded, so each process makes its own.
    # @api private
    class Connection
      # @param admin [Admin, nil] one that exists already
      # @yieldreturn [Admin] a new one
      def initialize(admin, &connect)
        @connect = connect
        @lock = BriefMutex.new
        @admin = admin
        @given = admin
      end

      # Making one only checks its options: it connects when it is asked.
      # @return [Admin]
      def admin
        @lock.synchronize do
          next @admin if @admin && (@admin == @given || @pid == Process.pid)

          @admin = @connect.call
          @pid = Process.pid
          @admin
        end
      end

      # @return [nil]
      def close
        admin = @admin
        @lock.synchronize { @admin = nil }
        admin&.close
        nil
      end
    end
  end
end
