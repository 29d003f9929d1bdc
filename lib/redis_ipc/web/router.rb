# frozen_string_literal: true

module RedisIPC
  class Web
    # Finds what answers a request. Names of streams and groups are parameters, not parts of the path: they may contain
    # any character, and web servers differ in how they decode a path.
    # @api private
    class Router
      PAGES = {
        "" => OverviewPage, "/group" => GroupPage, "/instance" => InstancePage, "/requests" => RequestsPage,
        "/dead" => DeadPage, "/dead/letter" => DeadLetterPage, "/queues" => QueuesPage, "/queue" => QueuePage,
        "/events" => EventsPage, "/event_group" => EventGroupPage, "/redis" => RedisPage, "/try" => TryPage
      }.freeze
      ACTS = { "/dead" => DeadLettersAct, "/group" => GroupAct, "/event_group" => SeekAct }.freeze
      API = %r{\A/api(/.+)\.json\z}
      private_constant :PAGES, :ACTS, :API

      # @param context [Context]
      def initialize(context)
        @context = context
      end

      # @return [Response]
      # @raise [Refusal]
      def call
        check_scope
        return act if request.post? && request.path != "/try"
        raise WrongMethod, Strings.text(:wrong_method) unless request.read? || request.post?

        api = request.path[API, 1]
        api ? facts(api) : page
      end

      private

      def request
        @context.request
      end

      # A mount is for the streams and queues that it names. Redis may hold others, which these visitors should not see.
      def check_scope
        [request[:stream], request[:queue]].compact.each do |name|
          raise NotFound, Strings.text(:not_found, name: name) unless @context.admin.looks_at?(name)
        end
      end

      def act
        check_act
        raise WrongMethod, Strings.text(:wrong_method) unless ACTS.key?(request.path)

        reading { ACTS.fetch(request.path).new(@context).call }
      end

      def page
        check_act if request.post?
        page = read(request.path)
        Response.html(View.new(@context, page).document, status: page.status)
      end

      def facts(path)
        path = "" if path == "/overview"
        raise NotFound, Strings.text(:not_found, name: request.path) if path == "/try"

        Response.json(read(path).to_h)
      end

      def read(path)
        page = find(path)
        reading { page.new(@context) }
      end

      # A visitor may name what nothing can be called: an id that is none, a name without end.
      def reading
        yield
      rescue ArgumentError => e
        raise BadRequest, e.message
      end

      def check_act
        Origin.check(request)
        @context.permissions.check_act
      end

      def find(path)
        PAGES[path] || raise(NotFound, Strings.text(:not_found, name: path))
      end
    end
  end
end
