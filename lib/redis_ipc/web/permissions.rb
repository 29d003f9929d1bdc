# frozen_string_literal: true

module RedisIPC
  class Web
    # What a visitor may do, as the options of the mount say. Each option is true, false, or a callable that gets the
    # Rack environment.
    # @api private
    class Permissions
      # Who acted, where neither the mount nor the web server names the visitor.
      NOBODY = "RedisIPC::Web"
      private_constant :NOBODY

      # @param actions [Object]
      # @param content [Object]
      # @param env [Hash]
      def initialize(actions, content, env)
        @actions = actions.respond_to?(:call) ? actions.call(env) : actions
        @content = content.respond_to?(:call) ? content.call(env) : content
        @user = env["REMOTE_USER"]
      end

      # @return [Boolean]
      def act?
        @actions ? true : false
      end

      # @return [Boolean] whether the contents of requests and events may be shown
      def content?
        @content ? true : false
      end

      # @return [String] who acts: what `actions:` returned if that is a String
      def name
        return @actions if @actions.is_a?(String)

        @user.to_s.empty? ? NOBODY : @user
      end

      # @raise [Forbidden]
      def check_act
        raise Forbidden, Strings.text(:read_only) unless act?
      end
    end
  end
end
