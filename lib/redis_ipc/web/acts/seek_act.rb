# frozen_string_literal: true

module RedisIPC
  class Web
    # Sets a group of consumers of events to another position.
    # @api private
    class SeekAct < Act
      # @return [Response]
      def call
        admin.seek(stream, group, request.fetch(:position))
        see("/event_group", stream: stream, group: group, notice: :sought)
      end
    end
  end
end
