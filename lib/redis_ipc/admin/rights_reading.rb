# frozen_string_literal: true

module RedisIPC
  class Admin
    # Asks Redis whether the users of the processes may do all that a member does. That needs the right to `ACL DRYRUN`,
    # which no role has: an administrator has it.
    # @api private
    class RightsReading
      # The names of this gem's connections, and their users.
      CLIENT = /\bname=redis_ipc:(?<stream>\S+):(?<group>[^:\s]*):(?<purpose>\w+)\s.*?\buser=(?<user>\S+)/
      # The most users in groups that are asked about.
      MOST = 40
      private_constant :CLIENT, :MOST

      # One right that a user lacks.
      Missing = Struct.new(:user, :path, :command, :key)

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

      # @return [Array<Missing>] empty also if Redis may not be asked
      # @raise [ConnectionError] if Redis cannot be reached
      def call
        queries = members.flat_map { |member| commands(member).map { |words| [member, words] } }
        answers = @link.read(queries.map { |member, words| [:is_allowed, member.node, member.user, words] })
        missing = queries.zip(answers).reject { |_, answer| answer.is_a?(Exception) || answer == "OK" }
        missing.map { |(member, words), _| missing_of(member, words) }.uniq
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

      def commands(member)
        [*present(member), *asking(member), *(answering(member) if member.serves)]
      end

      def present(member)
        stream, group = member.stream, Keys.encode(member.group) # rubocop:disable Style/ParallelAssignment
        [["ZADD", "#{stream}:instances", "1", "x"], ["SET", "#{stream}:stats:#{group}:x", "x"],
         ["ZADD", "#{stream}:stats", "1", "x"], ["GET", "#{stream}:control:#{group}"]]
      end

      # The groups that a group asks are in the records of its instances.
      def asking(member)
        asked = @overview.instances.select { |one| one.stream == member.stream && one.group == member.group }
                         .flat_map { |one| (one.outcomes || {}).keys }.uniq - ["*"]
        return [] if asked.empty?

        replies = "#{member.stream}:replies:#{Keys.encode(member.group)}:x"
        asked.flat_map { |name| asking_group(member.stream, name) } +
          [["XREAD", "STREAMS", replies, "0"], ["XGROUP", "CREATE", replies, "x", "0"], ["PEXPIRE", replies, "1"]]
      end

      def asking_group(stream, name)
        inbox = "#{stream}:inbox:#{Keys.encode(name)}"
        [["XADD", inbox, "*", "a", "b"], ["XDEL", inbox, "1-1"], ["XPENDING", inbox, name], ["XINFO", "GROUPS", inbox]]
      end

      def answering(member)
        group = member.group
        inbox = "#{member.stream}:inbox:#{Keys.encode(group)}"
        dead = "#{member.stream}:dead:#{Keys.encode(group)}"
        [["XREADGROUP", "GROUP", group, "x", "STREAMS", inbox, ">"], ["XACK", inbox, group, "1-1"],
         ["XDEL", inbox, "1-1"], ["XCLAIM", inbox, group, "x", "0", "1-1"], ["XPENDING", inbox, group],
         ["XINFO", "GROUPS", inbox], ["XGROUP", "CREATE", inbox, group, "0"], ["PEXPIRE", inbox, "1"],
         ["EVAL", "return 1", "1", inbox], ["XADD", dead, "*", "a", "b"], ["XTRIM", dead, "MAXLEN", "1"],
         *answers(member)]
      end

      def answers(member)
        askers = @overview.groups.select { |one| one.stream == member.stream }.map(&:name)
        askers.map { |name| ["XADD", "#{member.stream}:replies:#{Keys.encode(name)}:x", "*", "a", "b"] }
      end

      def missing_of(member, words)
        key = words.find { |word| word.start_with?("#{member.stream}:") }
        command = %w[XGROUP XINFO].include?(words.first) ? words.first(2).join("|") : words.first
        Missing.new(member.user, "#{member.stream}/#{member.group}", command, key)
      end
    end
    private_constant :RightsReading
  end
end
