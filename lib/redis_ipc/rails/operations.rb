# frozen_string_literal: true

module RedisIPC
  module OnRails
    # Does the work of the rake tasks. They connect as a group of their own, so that `instances` tells them from the
    # application's.
    # @api private
    class Operations
      GROUP = "redis_ipc.tasks"
      DONE = { retry: "tried again", discard: "discarded" }.freeze
      private_constant :GROUP, :DONE

      # @param configuration [Configuration]
      # @param files [ClassFiles]
      def initialize(configuration, files)
        @configuration = configuration
        @files = files
      end

      # Prints who is alive on each stream.
      # @return [void]
      def instances
        each_stream do |stream, _|
          rows = stream.instances.reject { |row| row[:instance_id] == stream.instance_id }
          puts "#{stream.stream_name}: #{rows.empty? ? "nobody" : "#{rows.size} alive"}"
          rows.sort_by { |row| row.values_at(:group, :host, :pid) }.each do |row|
            puts "  #{shown(row[:group])} pid #{row[:pid]} on #{shown(row[:host])}, seen #{time(row[:seen_at])}, " \
                 "instance #{shown(row[:instance_id])}"
          end
        end
      end

      # Prints the dead letters of each channel, without their content.
      # @return [void]
      def dead_letters
        each_channel do |channel, letters|
          puts "#{channel} (#{channel.stream_name}/#{channel.group_name}): #{count(letters.size)}"
          letters.each do |letter|
            puts "  #{letter.id} from #{shown(letter.source_group)}, delivered #{letter.deliveries.to_i} times, died " \
                 "#{letter.died_at ? time(letter.died_at) : "at an unknown time"}: #{shown(letter.reason)}"
          end
        end
      end

      # Tries dead letters again, or discards them, and prints their number.
      # @param action [Symbol] `:retry` or `:discard`
      # @param channel [String] the name of a channel class
      # @param id [String, nil] the id of the dead letter; nil means all of the channel
      # @return [void]
      # @raise [ConfigurationError] if there is no such channel or dead letter
      def settle(action, channel, id)
        each_channel([find(channel)]) do |_, letters|
          # The letters are listed first, because one that is retried may die again meanwhile.
          chosen = letters.select { |letter| id.nil? || letter.id == id }
          raise ConfigurationError, "#{channel} has no dead letter #{id}" if id && chosen.empty?

          settled = chosen.count { |letter| settled?(letter, action) }
          puts "#{channel}: #{count(settled)} #{DONE.fetch(action)}"
        end
      end

      private

      def find(channel)
        @files.all.find { |one| one.name == channel } ||
          raise(ConfigurationError, "name a channel, one of: #{@files.all.map(&:name).sort.join(", ")}")
      end

      def settled?(letter, action)
        letter.public_send(action)
      rescue MalformedEntryError => e
        puts "  #{letter.id}: #{e.message}"
        false
      end

      def each_channel(channels = @files.all)
        each_stream(channels) do |stream, members|
          members.each { |channel| yield channel, stream.dead_letters(group: channel.group_name) }
        end
      end

      # Connects to each stream once.
      def each_stream(channels = @files.all)
        places = channels.group_by { |channel| [channel.stream_name, @configuration.connect_options(channel)] }
        places.each do |(name, options), members|
          stream = Stream.new(name, GROUP).connect(**options)
          yield stream, members
        ensure
          stream&.disconnect
        end
      end

      def count(number)
        "#{number} dead #{number == 1 ? "letter" : "letters"}"
      end

      def time(time)
        time.utc.strftime("%Y-%m-%d %H:%M:%S UTC")
      end

      # Any process may have written the text.
      def shown(text)
        LogText.of(text.to_s)
      end

      def puts(line)
        $stdout.puts(line)
      end
    end
  end
end
