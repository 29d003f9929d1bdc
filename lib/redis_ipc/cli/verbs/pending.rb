# frozen_string_literal: true

require_relative "../admin_verb"

module RedisIPC
  module CLI
    module Verbs
      # Lists the requests of a group that are not answered.
      # @api private
      class Pending < AdminVerb
        verb "pending"
        summary "list the requests of a group that wait or run"
        about <<~TEXT
          Lists the requests in the inbox of GROUP, the oldest first: those that nobody has taken, those that were taken
          and by whom, and those that were taken and are not wanted any more.
        TEXT
        argument :group, "the group that is asked"
        option :limit, "-n", "--limit NUMBER", "at most so many (100)", type: Integer, default: 100, least: 1
        shares :stream, :redis, :watch, :json
        example "redis_ipc pending kitchen -s house", "shows what waits, and who holds the rest"

        TITLES = ["request", "from", "state", "age", "delivery", "held by", "idle", "expires in"].freeze
        SPARE = %w[idle delivery from].freeze
        private_constant :TITLES, :SPARE

        def run
          requests = admin.requests(stream_name, given[:group], limit: given[:limit])
          holders = requests.any?(&:holder) ? names_of_holders : {}
          show(requests, TITLES, spare: SPARE, none: "nothing waits for #{stream_name}/#{given[:group]}") do |request|
            cells(request, holders)
          end
        end

        private

        def names_of_holders
          admin.instances(stream_name, group: given[:group]).to_h { |instance| [instance.id, instance.name] }
        end

        def cells(request, holders)
          state = request.state
          expired = request.expires_in.to_f.negative?
          [request.id || request.redis_id, request.from, cell(state, { waiting: :yellow, withdrawn: :gray }[state]),
           Units.duration(request.age), request.delivery, holders.fetch(request.holder, request.holder),
           Units.duration(request.idle), cell(Units.duration(request.expires_in), (:gray if expired))]
        end
      end
    end
  end
end
