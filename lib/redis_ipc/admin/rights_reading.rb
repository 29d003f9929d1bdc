# frozen_string_literal: true

module RedisIPC
  class Admin
    # Asks Redis whether the users of the processes have the rights of what they do. The names of their connections say
    # what that is.
    # @api private
    class RightsReading
      # The names of this gem's connections, and their users.
      CLIENT = /\bname=redis_ipc:(?<stream>\S+):(?<group>[^:\s]*):(?<purpose>\w+)\s.*?\buser=(?<user>\S+)/
      # The most users in groups that are asked about.
      MOST = 40
      private_constant :CLIENT, :MOST

      # A right that a user lacks in a group, and what prints all rules that it needs.
      Missing = Struct.new(:user, :path, :right, :rules)

      # A user of a group on a node.
      Member = Struct.new(:node, :user, :stream, :group, :serves)
      private_constant :Member

      # @param link [Link]
      # @param streams [Array<String>]
      # @param overview [Overview]
      def initialize(link, streams, overview)
        @link = link
        @streams = streams
        @overview = overview
      end

      # @return [Array<Missing>]
      # @raise [CommandError] if Redis may not be asked
      def call
        rights = RoleRights.new(@link)
        members.flat_map do |member|
          missing = rights.missing(member.node, member.user, rights_of(member))
          printing = roles_of(member).map { |role, names| RoleRights.printing(role, **names) }.join("; ")
          missing.map { |right| Missing.new(member.user, "#{member.stream}/#{member.group}", right, printing) }
        end.uniq
      end

      private

      def members
        nodes = @link.call(:nodes)
        clients = @link.read(nodes.map { |node| [:clients, node] })
        rows = nodes.zip(clients).flat_map { |node, text| text.is_a?(String) ? rows_of(node, text) : [] }
        rows.group_by { |row| row.to_a.first(4) }.map { |_, same| same.find(&:serves) || same.first }.first(MOST)
      end

      def rows_of(node, text)
        text.each_line.filter_map do |line|
          client = CLIENT.match(line)
          next unless client && @streams.include?(client[:stream])

          Member.new(node, client[:user], client[:stream], Keys.decode(client[:group]), client[:purpose] == "reader")
        end
      end

      def rights_of(member)
        RoleRights.of(roles_of(member).flat_map { |role, names| ACL.rules(role, **names) }.uniq)
      rescue ArgumentError
        # No rule can hold such a name.
        []
      end

      def roles_of(member)
        names = { stream: member.stream, group: member.group }
        asked = asked(member)
        { answerer: (names if member.serves), asker: ({ **names, to: asked } unless asked.empty?) }.compact
      end

      # The groups that a group asks are in the records of its instances.
      def asked(member)
        own = @overview.instances.select { |one| one.stream == member.stream && one.group == member.group }
        own.flat_map { |one| (one.outcomes || {}).keys }.uniq - ["*"]
      end
    end
    private_constant :RightsReading
  end
end
