# frozen_string_literal: true

module RedisIPC
  class Admin
    # Processes that count as alive, and have shown no sign of life for a while.
    # @api private
    class SilenceFindings < Findings
      # Processes whose last signs of life are so many seconds apart at most are told together.
      TOGETHER = 2.0
      # So many processes and groups are named.
      NAMED = 5
      MEANS = "cut off from Redis, frozen or dead"
      private_constant :TOGETHER, :NAMED, :MEANS

      # What is told of a process: its instances that are silent, and the groups of these.
      Silent = Struct.new(:subjects, :instances) do
        # @return [Float]
        def age
          instances.map(&:silent).min
        end

        # @return [String] such as "web pid 29001 on vm"
        def name
          one = instances.first
          parts = instances.map { |instance| instance.group.empty? ? instance.stream : instance.group }.uniq.join(", ")
          one.host ? "#{parts} pid #{one.pid} on #{one.host}" : "#{parts} #{one.id}"
        end
      end
      private_constant :Silent

      private

      def look
        sorted = processes.sort_by(&:age)
        sorted.slice_when { |one, following| following.age - one.age > TOGETHER }.each { |some| tell(some) }
      end

      def processes
        rows = members.flat_map { |subject, instances| silent(instances).map { |one| [subject, one] } }
        by_process = rows.group_by { |_, one| one.name }
        by_process.each_value.map { |same| Silent.new(same.map(&:first).uniq, same.map(&:last)) }
      end

      def silent(instances)
        instances.select { |one| one.alive? && one.silent }
      end

      def tell(some)
        subject = listed(some.flat_map(&:subjects).uniq, NAMED)
        return tell_one(subject, some.first) if some.one?

        names = listed(some.map(&:name), NAMED)
        warning(:silent, subject,
                "#{some.size} processes fell silent together, #{whole(some.first.age)} ago: #{names}; the same host " \
                "or network?",
                "they are #{MEANS}: their own calls fail now; take them out of the load balancer; others take over " \
                "their requests")
      end

      def tell_one(subject, process)
        warning(:silent, subject, "#{process.name} has given no sign of life for #{whole(process.age)}",
                "it is #{MEANS}: its own calls fail now; take it out of the load balancer; others take over its " \
                "requests")
      end
    end
    private_constant :SilenceFindings
  end
end
