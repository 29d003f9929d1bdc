# frozen_string_literal: true

require "json"
require "time"
require_relative "admin/value"
require_relative "admin/numbers"
require_relative "admin/histogram"
require_relative "admin/series"
require_relative "admin/running"
require_relative "admin/incident"
require_relative "admin/loss"
require_relative "admin/silence"
require_relative "admin/instance"
require_relative "admin/group"
require_relative "admin/request"
require_relative "admin/tap"
require_relative "admin/dead_letter"
require_relative "admin/answer"
require_relative "admin/trace"
require_relative "admin/queue"
require_relative "admin/event_group"
require_relative "admin/node"
require_relative "admin/finding"
require_relative "admin/overview"
require_relative "admin/link"
require_relative "admin/rounds"
require_relative "admin/record"
require_relative "admin/control"
require_relative "admin/members"
require_relative "admin/stream_reading"
require_relative "admin/request_reading"
require_relative "admin/letter_reading"
require_relative "admin/letter_summary"
require_relative "admin/queue_reading"
require_relative "admin/queue_letters"
require_relative "admin/position"
require_relative "admin/event_facts"
require_relative "admin/event_reading"
require_relative "admin/node_reading"
require_relative "admin/test_request"
require_relative "admin/tracing"
require_relative "admin/keys"
require_relative "admin/cleaning"
require_relative "admin/role_rights"
require_relative "admin/rights_reading"
require_relative "admin/findings"
require_relative "admin/node_findings"
require_relative "admin/group_findings"
require_relative "admin/queue_findings"
require_relative "admin/event_findings"
require_relative "admin/silence_findings"
require_relative "admin/member_findings"
require_relative "admin/incident_findings"
require_relative "admin/inspection"
require_relative "admin/overview_reading"

module RedisIPC
  # Shows what streams, queues and consumers of events are doing, and acts on them. It is for those who operate a
  # system: the command `redis_ipc`, the page and the metrics stand on it. It is a member of nothing, and leaves nothing
  # in Redis.
  #
  # Reading needs the rights of `RedisIPC::ACL.rules(:observer, ...)`, acting those of `:operator`. It may be used from
  # several threads.
  #
  # @example
  #   admin = RedisIPC::Admin.new(streams: ["house"])
  #   admin.findings.each { |finding| puts "#{finding.level}: #{finding.subject}: #{finding.text}. #{finding.advice}" }
  #   admin.groups("house").each { |group| puts "#{group.name}: #{group.busy} of #{group.handlers} busy" }
  #   admin.close
  # @see file:docs/admin.md
  class Admin
    # @return [Array<String>] the streams of requests
    attr_reader :streams
    # @return [Array<String>] the queues of JSON-RPC
    attr_reader :queue_names
    # @return [Array<String>] the streams whose events are handled
    attr_reader :consumers
    # @return [String]
    attr_reader :name

    # Nothing is sent before the first question.
    # @param streams [Array<String>, String] of request and reply
    # @param queues [Array<String>, String] of JSON-RPC
    # @param consumers [Array<String>, String] streams whose events are handled. Consumers of channels, keys and of
    #   PostgreSQL's log are found by themselves
    # @param redis_options [Hash] as for {Stream#connect}
    # @param postgres [Array<String, Hash, Symbol>] databases of PostgreSQL whose slots {#findings} looks at, each as
    #   for {Events::Consumer.wal}
    # @param name [String] how it names its connections, and the group that a test request comes from
    # @raise [ConfigurationError]
    # @raise [ArgumentError] if a name is blank
    def initialize(streams: [], queues: [], consumers: [], redis_options: {}, postgres: [], name: "admin") # rubocop:disable Metrics/ParameterLists
      @streams = names("a stream's name", streams)
      @queue_names = names("a queue's name", queues)
      @consumers = names("a stream's name", consumers)
      @postgres = postgres.is_a?(Array) ? postgres : [postgres]
      @name = Names.check("the name", name)
      @link = Link.new(redis_options, @name)
    end

    # @return [String] the address of Redis, without credentials
    def address
      @link.address
    end

    # @param stream [String]
    # @return [Array<Group>] those that have instances or had some last week
    # @raise [CallError] if Redis cannot be reached or refuses. The same holds for every other method
    def groups(stream)
      reading(StreamReading.new(stream)).groups
    end

    # @return [Group] also of a group that is not known
    def group(stream, name)
      reading(StreamReading.new(stream, groups: [name])).groups.first
    end

    # @param group [String, nil] only those of this group
    # @return [Array<Instance>] those that are alive, or have died in the last ten minutes
    def instances(stream, group: nil)
      reading(StreamReading.new(stream, groups: group && [group], counts: false)).instances
    end

    # @return [Instance, nil]
    def instance(stream, id)
      instances(stream).find { |instance| instance.id == id }
    end

    # @param limit [Integer]
    # @param after [String, nil] the Redis id of the last one of the page before
    # @return [Array<Request>] the oldest first, those that wait and those that were taken
    def requests(stream, group, limit: 100, after: nil)
      reading(RequestReading.new(stream, group, limit, after))
    end

    # Waits for requests that are added to the inbox of a group, and takes none of them. What is taken and answered at
    # once may be missed.
    # @param after [String, nil] the Redis id to go on from: {Tap#after} of the call before; nil means from now on
    # @param wait [Numeric] the most seconds to wait for the first one
    # @return [Tap]
    def tap(stream, group, after: nil, wait: 1)
      rows, last = @link.call(:tap, stream, group, after, wait.to_f)
      Tap.new(requests: RequestReading.tapped(stream, group, rows, @link.now), after: last)
    end

    # @param id [String] the request's id, or Redis's id of it
    # @return [Trace] where it is
    def trace(stream, id)
      Tracing.new(self, stream, id).call
    end

    # @param limit [Integer]
    # @param after [String, nil] the id of the last letter of the page before
    # @param match [String, nil] only letters with this text in one of their fields
    # @param match_content [Boolean] whether that may be the content
    # @return [Array<DeadLetter>] the newest first
    def dead_letters(stream, group, limit: 50, after: nil, match: nil, match_content: true) # rubocop:disable Metrics/ParameterLists
      LetterReading.new(@link, stream, group).page(limit, after, match, match_content)
    end

    # @param id [String] the letter's id, or one of those that its request had
    # @return [DeadLetter, nil]
    def dead_letter(stream, group, id)
      LetterReading.new(@link, stream, group).find(id)
    end

    # Puts a dead letter into the inbox of its group again.
    # @return [Boolean] true; false if somebody retried or discarded it before
    # @raise [MalformedEntryError] if it never was a request
    def retry_dead_letter(stream, group, id)
      @link.call(:retry_letter, stream, group, id)
    end

    # Deletes a dead letter.
    # @return [Boolean] true; false if somebody retried or discarded it before
    def discard_dead_letter(stream, group, id)
      @link.call(:discard_letter, stream, group, id)
    end

    # Tells all instances of a group, and those that join later, to take nothing new. What runs goes on.
    # @param by [String] who does it, for those who ask why
    # @return [Boolean] whether it was not paused before
    def pause(stream, group, by:)
      change(stream, group) { |told| told["paused"] == true ? told : told.merge("paused" => true, **signed(by)) }
    end

    # @return [Boolean] whether it was paused
    def resume(stream, group)
      change(stream, group) { |told| told.except("paused") }
    end

    # Tells one instance to take nothing new, before it is stopped.
    # @return [Boolean] whether it was not told before
    def quiet(stream, group, instance, by:)
      change(stream, group) do |told|
        quiet = Array(told["quiet"])
        quiet.include?(instance) ? told : told.merge("quiet" => [*quiet, instance], **signed(by))
      end
    end

    # Takes back {#quiet}.
    # @return [Boolean] whether it was told
    def unquiet(stream, group, instance)
      change(stream, group) { |told| told.merge("quiet" => Array(told["quiet"]) - [instance]) }
    end

    # Sends a request, as a member does that joins for it.
    # @param content [Object] anything JSON can hold; with an event its params
    # @param event [String, nil] the event of a {Channel}
    # @param timeout [Numeric] seconds
    # @return [Answer]
    def request(stream, group, content, event: nil, timeout: 5)
      content = { event: event, params: content } if event
      TestRequest.to_group(Stream.new(stream, name), @link, group, content, timeout)
    end

    # @return [Array<Queue>]
    def queues
      Rounds.run(@link, queue_names.map { |queue| QueueReading.new(queue) })
    end

    # @return [Queue]
    def queue(name)
      reading(QueueReading.new(name))
    end

    # Returns the requests of a queue that were given up on. Redis keeps no reason for them.
    # @param (see #dead_letters)
    # @return [Array<DeadLetter>] the newest first
    def queue_dead(queue, limit: 50, after: nil, match: nil)
      QueueLetters.new(@link, queue).page(limit, after, match)
    end

    # @return [DeadLetter, nil]
    def queue_dead_letter(queue, id)
      QueueLetters.new(@link, queue).find(id)
    end

    # Puts a dead request into its queue again, where it is taken next.
    # @return [Boolean] true; false if somebody retried or discarded it before
    def queue_retry_dead_letter(queue, id)
      QueueLetters.new(@link, queue).act(:retry_request, id)
    end

    # Deletes a dead request.
    # @return [Boolean] true; false if somebody retried or discarded it before
    def queue_discard_dead_letter(queue, id)
      QueueLetters.new(@link, queue).act(:discard_request, id)
    end

    # Calls a method of JSON-RPC.
    # @param method [String]
    # @param params [Array, Hash, nil]
    # @param timeout [Numeric] seconds
    # @return [Answer]
    def call(queue, method, params = nil, timeout: 5)
      TestRequest.to_queue(@link, queue, method, params, timeout)
    end

    # @param stream [String, nil] all that are known unless given
    # @return [Array<EventGroup>]
    def event_groups(stream = nil)
      streams = stream ? [stream] : event_streams
      Rounds.run(@link, streams.map { |one| EventReading.new(one) }).flatten(1)
    end

    # Returns the events that a group gave up on.
    # @param page [Hash] as for {#dead_letters}
    # @return [Array<DeadLetter>] the newest first
    def event_dead_letters(stream, group, **page)
      dead_letters(stream, group, **page)
    end

    # @return [DeadLetter, nil]
    def event_dead_letter(stream, group, id)
      dead_letter(stream, group, id)
    end

    # Has the event of a dead letter handled again, as {Events::DeadLetter#retry} does. With an order by anything else
    # than the field `key`, an event that does not stop its key may go to another lane than its key.
    # @return [Boolean] true; false if somebody retried or discarded it before
    # @raise [MalformedEntryError] if the letter has only a part of the event, and the stream no longer has it
    def event_retry_dead_letter(stream, group, id)
      @link.call(:retry_event, stream, group, id)
    end

    # Deletes the dead letter of an event. If it stops the events of its key, they go on.
    # @return [Boolean] true; false if somebody retried or discarded it before
    def event_discard_dead_letter(stream, group, id)
      @link.call(:discard_event, stream, group, id)
    end

    # Lets a group go on from another position of its stream.
    # @param position [Symbol, String, Time] `:beginning`, `:new`, a Time, or an id such as "1700000000000-0"
    # @return [String] the new position
    # @raise [ArgumentError] if it is none
    def seek(stream, group, position)
      @link.call(:seek, stream, group, Position.read(position))
    end

    # @return [Array<Node>] the servers of Redis
    def redis
      reading(NodeReading.new(@link))
    end

    # Looks for more than {#overview} does: also for rights that users of Redis lack (if its own user may `ACL DRYRUN`),
    # keys that nobody owns, and slots of PostgreSQL that keep its log.
    # @return [Array<Finding>] what is wrong, the worst first
    def findings
      Findings.sorted(Inspection.new(@link, streams, @postgres, overview).all)
    end

    # @return [Overview] everything at a glance, with what is wrong
    def overview
      OverviewReading.new(@link, streams: streams, queues: queue_names, events: event_streams).call
    end

    # Looks whether a user of Redis has all rights of a role. It needs the right to `ACL DRYRUN`.
    # @param role [Symbol] as for {ACL.rules}
    # @param user [String, nil] its own user unless given
    # @param names [Hash] as for {ACL.rules}
    # @return [Array<Finding>] one for each right that the user lacks
    # @raise [ArgumentError] as {ACL.rules} does
    def rights(role, user: nil, **names)
      RoleRights.new(@link).findings(user, RoleRights.of(ACL.rules(role, **names)), RoleRights.printing(role, **names))
    end

    # Looks for streams that somebody is alive on. It needs the right to `SCAN`, and takes as long as Redis has keys.
    # @return [Array<String>]
    def known_streams
      Cleaning.streams(@link)
    end

    # Returns keys of a stream that nobody owns, and that do not expire soon.
    # @param dry [Boolean] whether to leave them; else they are deleted
    # @return [Array<String>]
    def clean(stream, dry: true)
      Cleaning.new(@link, stream).call(dry)
    end

    # Closes the connections.
    # @return [nil]
    def close
      @link.close
      nil
    end

    # Shows no passwords.
    # @param name [String]
    # @return [Boolean] whether it is a stream or a queue that was named when this was made, or what consumers of
    #   channels, keys and PostgreSQL's log share
    # @api private
    def looks_at?(name)
      [*streams, *queue_names, *event_streams].include?(name)
    end

    # @return [String]
    def inspect
      "#<#{self.class} #{name} of #{[*streams, *queue_names, *consumers].join(", ")}>"
    end

    private

    def names(what, names)
      Array(names).map { |name| Names.check(what, name) }.freeze
    end

    def reading(reading)
      Rounds.run(@link, [reading]).first
    end

    def event_streams
      [*consumers, EventReading::ELSEWHERE]
    end

    def change(stream, group, &)
      Control.change(@link, stream, group, &)
    end

    def signed(by)
      { "v" => 1, "at" => (@link.now * 1_000).to_i, "by" => ErrorText.utf8(by) }
    end
  end
end
