# frozen_string_literal: true

require "uri"

module RedisIPC
  class Web
    # What the templates in views/ call: each is a method of this class (see {Template}).
    # @api private
    class View
      # From this share of maxmemory on Redis is nearly full.
      FULL = 0.9
      private_constant :FULL

      # @param context [Context]
      # @param page [Page]
      def initialize(context, page)
        @context = context
        @page = page
      end

      # @return [String] a whole document
      def document
        render_layout(body: public_send(:"render_#{page.template}")).to_s
      end

      private

      attr_reader :page

      def permissions
        @context.permissions
      end

      # @return [Boolean] false if no instance of the page has written a record
      def recorded?
        !page.respond_to?(:recorded?) || page.recorded?
      end

      def text(name, **values)
        Strings.text(name, **values)
      end

      # @param to [String] the path of a page of this application, and its parameters
      # @return [String]
      def path(to, **parameters)
        query = URI.encode_www_form(parameters.compact)
        "#{@context.request.base}#{to}#{"?#{query}" unless query.empty?}"
      end

      def asset(name)
        path("/#{name}", v: Assets.version(name))
      end

      # @param attributes [Hash{Symbol => Object}] nil leaves an attribute out, true is one without a value
      # @return [Markup]
      def tag(name, inside = nil, **attributes)
        given = attributes.compact.map { |key, value| value == true ? " #{key}" : " #{key}=\"#{Markup.of(value)}\"" }
        opening = "<#{name}#{given.join}>"
        inside.nil? ? Markup.new(opening) : Markup.new("#{opening}#{Markup.of(inside)}</#{name}>")
      end

      def join(parts, separator = " ")
        Markup.new(parts.compact.map { |part| Markup.of(part) }.join(Markup.of(separator)))
      end

      def link(label, to, parameters = {}, **attributes)
        tag(:a, label, href: path(to, **parameters), **attributes)
      end

      def group_link(stream, group, label = group)
        link(label, "/group", { stream: stream, group: group }, class: "name")
      end

      def instance_link(stream, id, label = id[0, 8])
        link(label, "/instance", { stream: stream, id: id }, class: "id", title: id)
      end

      # The head of a table. On a narrow screen each row becomes a card, so the roles are given: without them the
      # style would take them away.
      # @param columns [Array<Symbol>] names of texts; :none is a column without a heading
      def head(*columns)
        cells = columns.map do |column|
          label = column == :none ? tag(:span, text(:actions), class: "unseen") : text(column)
          tag(:th, label, scope: "col", role: "columnheader", class: ("number" if Strings.number?(column)))
        end
        tag(:thead, tag(:tr, join(cells, ""), role: "row"), role: "rowgroup")
      end

      # @param column [Symbol] that of the head
      def cell(column, value, **attributes)
        classes = [attributes.delete(:class), ("number" if Strings.number?(column))].compact.join(" ")
        label = column == :none ? nil : text(column)
        tag(:td, value, role: "cell", "data-label": label, class: (classes unless classes.empty?), **attributes)
      end

      # The first cell of a row, which names it.
      def row_name(value)
        tag(:th, value, scope: "row", role: "rowheader")
      end

      # A finding is about a group of a stream or of events, or about something that has no page.
      # @param finding [Admin::Finding]
      def subject(finding)
        to = page.subjects[finding.subject]
        to ? link(finding.subject, to.first, to.last, class: "name") : tag(:strong, finding.subject)
      end

      # @param text [String, nil]
      def known(text)
        text.to_s.empty? ? Format::UNKNOWN : text
      end

      # A number that wants to be seen if it is not 0.
      def alarming(number, level = "error")
        shown = Format.count(number)
        number.to_i.positive? ? tag(:strong, shown, class: level) : shown
      end

      def failures(rate)
        rate.to_f.positive? ? tag(:strong, Format.rate(rate), class: "error") : Format.rate(rate)
      end

      def state(name, level)
        tag(:span, text(name), class: "state #{level}")
      end

      def instance_state(instance)
        return silent(instance) if instance.silent
        return state(:gone, "error") unless instance.alive?
        return state(:told_quiet, "warning") if page.quiet?(instance)

        instance.paused? ? state(:paused, "warning") : state(:alive, "fine")
      end

      # Whether it has ended is not known.
      def silent(instance)
        level = instance.alive? ? "warning" : "error"
        tag(:span, text(:silent_for, age: Format.age(instance.silent)), class: "state #{level}")
      end

      # @param subject [Admin::Group, Admin::EventGroup, Admin::Queue]
      # @return [Markup, nil] who paused it
      def paused_note(subject)
        return unless subject.paused?

        age = Format.age(subject.paused_at && (Time.now - subject.paused_at))
        tag(:p, text(:paused_by, name: subject.paused_by || Format::UNKNOWN, age: age), class: "notice")
      end

      # Tells an instance to take nothing new, or takes that back.
      def quiet_button(instance, kind)
        return "" unless instance.alive?

        act = page.quiet?(instance) ? "unquiet" : "quiet"
        button(text(:"#{act}_instance"), "/group",
               { stream: instance.stream, group: instance.group, id: instance.id, act: act, kind: kind })
      end

      # @param taken [Integer, nil] shown as long as no instance says how many handlers it has
      def busy(busy, handlers, taken = nil)
        return Format.count(taken) if handlers.nil?
        return tag(:span, text(:asks_only), class: "dim") if handlers.zero?

        label = text(:busy_of, busy: busy.to_i, handlers: handlers)
        bar = UsageBar.new(busy.to_i, handlers, label: label)
        join([tag(:span, "#{busy.to_i}/#{handlers}", class: "of"), bar.draw])
      end

      # @param histogram [Admin::Histogram, nil]
      def percentiles(histogram)
        return Format::UNKNOWN if histogram.nil? || histogram.count.zero?

        values = [0.5, 0.95, 0.99].map { |share| Format.duration(histogram.p(share)) }
        tag(:span, join(values, " · "), class: "percentiles")
      end

      # @param series [Admin::Series, nil]
      def rates_chart(series)
        return Format::UNKNOWN if series.nil? || series.answered.empty?

        label = text(:chart_rates, most: Format.rate(series.answered.max / series.every),
                                   last: Format.rate(series.answered.last / series.every))
        failed = series.failed.any?(&:positive?) ? { "failed" => series.failed } : {}
        Sparkline.new({ "answered" => series.answered, **failed }, label: label).draw
      end

      def time(time)
        return Format::UNKNOWN if time.nil?

        tag(:time, Format.time(time), datetime: time.getutc.strftime("%Y-%m-%dT%H:%M:%SZ"))
      end

      def json(value)
        JSONText.pretty(value)
      end

      # A form with one button.
      # @param fields [Hash{Symbol => Object}]
      def button(label, to, fields, **attributes)
        inputs = fields.compact.map { |name, value| tag(:input, type: "hidden", name: name, value: value) }
        pressed = tag(:button, label, type: "submit", **attributes)
        tag(:form, join([*inputs, pressed], ""), method: "post", action: path(to), class: "act")
      end

      # @return [String] where an instance runs
      def place(instance)
        [instance.host, instance.pid].compact.join(" ")
      end

      # @param group [Admin::EventGroup]
      def lanes(group)
        return Format::UNKNOWN if group.lanes.nil?

        shown = "#{group.lanes_owned.to_i}/#{group.lanes}"
        group.lanes_owned.to_i < group.lanes ? tag(:strong, shown, class: "error") : shown
      end

      # @param instances [Array<Admin::Instance>, Integer]
      def living(instances)
        count = instances.is_a?(Array) ? instances.count(&:alive?) : instances
        count.to_i.zero? ? tag(:strong, "0", class: "error") : count
      end

      def memory(node)
        return Format.size(node.used_memory) unless node.memory_share

        label = "#{Format.size(node.used_memory)} / #{Format.size(node.maxmemory)}"
        shown = node.memory_share >= FULL ? tag(:strong, label, class: "error") : label
        join([shown, UsageBar.new(node.used_memory, node.maxmemory, label: label).draw])
      end

      # @param policy [String, nil] one that deletes keys is an error
      def policy(policy)
        return known(policy) if [nil, "noeviction"].include?(policy)

        tag(:strong, policy, class: "error")
      end

      # @param nodes [Array<Admin::Node>]
      # @return [Markup, nil] that keys are missing which Redis has deleted
      def evicted_note(nodes)
        count = nodes.sum { |node| node.evicted.to_i }
        tag(:p, text(:evicted_note, count: Format.count(count)), class: "notice") if count.positive?
      end

      def latency_chart(name, histogram, range)
        shown = { p50: histogram.p(0.5), p95: histogram.p(0.95), p99: histogram.p(0.99) }.compact
        label = text(:chart_histogram, name: text(name), count: Format.count(histogram.count),
                                       p50: Format.duration(shown[:p50]), p99: Format.duration(shown[:p99]))
        LatencyChart.new(histogram, range: range, marks: shown, label: label).draw
      end

      # @param subject [Admin::Group, Admin::EventGroup, Admin::Queue]
      # @param kind [String, nil] "events" or "queue"
      def pause_button(subject, kind = nil)
        act = subject.paused? ? "resume" : "pause"
        named = kind == "queue" ? { stream: subject.name } : { stream: subject.stream, group: subject.name }
        button(text(:"#{act}_group"), "/group", { **named, act: act, kind: kind })
      end

      # @param instance [Admin::Instance]
      # @return [Markup] a link to the group, queue or consumer that it is part of
      def home_of(instance)
        return link(instance.stream, "/queue", { queue: instance.stream }) if instance.kind == :json_rpc

        page = instance.kind == :events ? "/event_group" : "/group"
        link("#{instance.stream}/#{instance.group}", page, { stream: instance.stream, group: instance.group })
      end

      # Only a request of a stream can be searched for.
      def running_link(holder, running)
        id = running.id or return Format::UNKNOWN
        return tag(:span, id, class: "id") unless [nil, :request_reply].include?(holder.kind)

        link(id[0, 20], "/requests", { stream: holder.stream, id: id }, class: "id", title: id)
      end

      def hidden_inputs(fields)
        join(fields.compact.map { |name, value| tag(:input, type: "hidden", name: name, value: value) }, "")
      end

      Template.define_on(self)
    end
  end
end
