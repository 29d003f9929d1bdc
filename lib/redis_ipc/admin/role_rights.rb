# frozen_string_literal: true

module RedisIPC
  class Admin
    # Asks Redis whether a user has the rights of a role: by `ACL DRYRUN` of a command for each of its rules. That needs
    # the right to `ACL DRYRUN`, which no role has: an administrator has it.
    # @api private
    class RoleRights
      # The arguments of each command; :key stands for the key.
      ARGUMENTS = {
        "xadd" => [:key, "*", "a", "b"], "xdel" => [:key, "0-1"], "xlen" => [:key], "xrange" => [:key, "-", "+"],
        "xrevrange" => [:key, "+", "-"], "xtrim" => [:key, "MAXLEN", "1"], "xack" => [:key, "g", "0-1"],
        "xread" => ["STREAMS", :key, "0"], "xreadgroup" => ["GROUP", "g", "c", "STREAMS", :key, ">"],
        "xclaim" => [:key, "g", "c", "0", "0-1"], "xautoclaim" => [:key, "g", "c", "0", "0"],
        "xpending" => [:key, "g"], "xgroup" => ["CREATE", :key, "g", "0"], "xgroup|create" => [:key, "g", "0"],
        "xgroup|setid" => [:key, "g", "0"], "xinfo" => ["GROUPS", :key], "xinfo|groups" => [:key],
        "xinfo|stream" => [:key], "xinfo|consumers" => [:key, "g"], "memory|usage" => [:key],
        "eval" => ["return 1", "1", :key], "eval_ro" => ["return 1", "1", :key], "exists" => [:key], "del" => [:key],
        "unlink" => [:key], "type" => [:key], "pttl" => [:key], "pexpire" => [:key, "1"], "get" => [:key],
        "mget" => [:key], "set" => [:key, "x"], "zadd" => [:key, "1", "x"], "zrange" => [:key, "0", "1"],
        "zrem" => [:key, "x"], "zscore" => [:key, "x"], "zcard" => [:key], "zremrangebyscore" => [:key, "0", "1"],
        "hget" => [:key, "f"], "hset" => [:key, "f", "x"], "hsetnx" => [:key, "f", "x"], "hdel" => [:key, "f"],
        "hmget" => [:key, "f"], "hgetall" => [:key], "hexists" => [:key, "f"], "hincrby" => [:key, "f", "1"],
        "hlen" => [:key], "lpush" => [:key, "x"], "rpush" => [:key, "x"], "lpop" => [:key], "llen" => [:key],
        "lindex" => [:key, "0"], "lrange" => [:key, "0", "1"], "lrem" => [:key, "1", "x"], "lpos" => [:key, "x"],
        "ltrim" => [:key, "0", "1"], "lmove" => [:key, :key, "LEFT", "RIGHT"], "scard" => [:key],
        "blmove" => [:key, :key, "LEFT", "RIGHT", "1"], "blmpop" => ["1", "1", :key, "LEFT"], "smembers" => [:key],
        "time" => [], "select" => ["0"], "ping" => [], "hello" => [], "multi" => [], "exec" => [], "info" => [],
        "scan" => ["0"], "role" => [], "asking" => [], "client|setname" => ["x"], "client|list" => [],
        "client|id" => [], "client|unblock" => ["1"], "client|tracking" => ["ON"], "cluster|slots" => [],
        "cluster|info" => [], "acl|whoami" => [], "config|get" => ["x"]
      }.freeze
      # A rule in brackets, and the patterns of keys in it.
      SELECTOR = /\A\((.*)\)\z/
      KEY = /\A(?:%(?:R|W|RW))?~(.+)\z/
      private_constant :ARGUMENTS, :SELECTOR, :KEY

      # One right of a role: a command, on a key if it is about one.
      Right = Struct.new(:command, :key, :words) do
        # @return [String] the rule to add
        def rule
          key ? "(~#{key} +#{command})" : "+#{command}"
        end

        # @return [String] for people
        def to_s
          [command.tr("|", " ").upcase, key].compact.join(" ")
        end
      end

      # @param rules [Array<String>] as {ACL.rules} makes them
      # @return [Array<Right>]
      def self.of(rules)
        rules.flat_map do |rule|
          selector = SELECTOR.match(rule)
          selector ? of_selector(selector[1].split) : of_words([rule], [nil])
        end
      end

      # @param words [Array<String>] of a rule
      def self.of_selector(words)
        keys = words.filter_map { |word| KEY.match(word)&.[](1) }
        of_words(words, keys)
      end
      private_class_method :of_selector

      # A name that the pattern matches stands for all of them.
      def self.of_words(words, keys)
        commands = words.grep(/\A\+/).map { |word| word.delete_prefix("+") }
        keys.product(commands & ARGUMENTS.keys).map do |key, command|
          name = key && example(key)
          arguments = ARGUMENTS.fetch(command).map { |argument| argument == :key ? name : argument }
          Right.new(command, key, [*command.split("|").map(&:upcase), *arguments])
        end
      end
      private_class_method :of_words

      def self.example(pattern)
        pattern.gsub("[0-9]", "0").gsub(/(?<!\\)\*/, "x").gsub(/\\(.)/, "\\1")
      end
      private_class_method :example

      # @param printing [String] what prints all rules of the role
      # @return [Array(String, String)] what is wrong, and what to do
      def self.told(user, right, printing)
        ["the user #{user} may not #{right}", "ACL SETUSER #{user} #{right.rule}; all rules: #{printing}"]
      end

      # @param names [Hash] as for {ACL.rules}
      # @return [String] the command that prints the rules of a role
      def self.printing(role, **names)
        words = names.compact.flat_map do |name, value|
          option = "--#{name.to_s.tr("_", "-")}"
          case value
          when true then [option]
          when false then []
          else [option, Array(value).join(",")]
          end
        end
        Findings.command("acl", "print", role, *words)
      end

      # @param link [Link]
      def initialize(link)
        @link = link
      end

      # @param user [String, nil]
      # @param rights [Array<Right>]
      # @param printing [String] as for {RoleRights.told}
      # @return [Array<Finding>] one for each right that the user lacks on a node
      # @raise (see #missing)
      def findings(user, rights, printing)
        rows = @link.call(:nodes).flat_map do |node|
          name = user || whoami(node)
          missing(node, name, rights).map { |right| [name, right] }
        end
        rows.uniq.map do |name, right|
          text, advice = RoleRights.told(name, right, printing)
          Finding.new(level: :error, kind: :missing_right, subject: name, text: text, advice: advice)
        end
      end

      # @param user [String]
      # @param rights [Array<Right>]
      # @param node [String]
      # @return [Array<Right>] those that the user lacks
      # @raise [CommandError] if this user may not ask, or there is no such user
      def missing(node, user, rights)
        answers = @link.read(rights.map { |right| [:is_allowed, node, user, right.words] })
        refusal = answers.find { |answer| answer.is_a?(Exception) }
        raise refusal if refusal

        rights.zip(answers).filter_map { |right, answer| right unless answer == "OK" }
      end

      private

      def whoami(node)
        user = @link.read([[:user, node]]).first
        user.is_a?(Exception) ? raise(user) : user
      end
    end
    private_constant :RoleRights
  end
end
