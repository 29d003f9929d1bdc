# frozen_string_literal: true

module RedisIPC
  class Web
    # Pauses or resumes a group or a queue, or tells one of its instances to take nothing new.
    # @api private
    class GroupAct < Act
      ACTS = { "pause" => :pause, "resume" => :resume, "quiet" => :quiet, "unquiet" => :unquiet }.freeze
      private_constant :ACTS

      # @return [Response]
      def call
        act = ACTS.fetch(request.fetch(:act)) { raise BadRequest, Strings.text(:unknown_act) }
        __send__(act)
        path, parameters = page
        see(path, **parameters, notice: act)
      end

      private

      def pause
        admin.pause(stream, group, by: permissions.name)
      end

      def resume
        admin.resume(stream, group)
      end

      def quiet
        admin.quiet(stream, group, request.fetch(:id), by: permissions.name)
      end

      def unquiet
        admin.unquiet(stream, group, request.fetch(:id))
      end

      # The servers of a queue have no group.
      def group
        queue? ? "" : super
      end

      def queue?
        request[:kind] == "queue"
      end

      def page
        return ["/queue", { queue: stream }] if queue?

        [request[:kind] == "events" ? "/event_group" : "/group", { stream: stream, group: group }]
      end
    end
  end
end
