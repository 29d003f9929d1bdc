# frozen_string_literal: true

require "erb"

module RedisIPC
  class Web
    # A text that is HTML already. Everything else that a template inserts is escaped.
    # @api private
    class Markup
      # @return [String]
      attr_reader :to_s

      # @param html [String]
      def initialize(html)
        @to_s = html.frozen? ? html : html.dup.freeze
        freeze
      end

      # @param value [Object]
      # @return [String] HTML
      def self.of(value)
        value.is_a?(Markup) ? value.to_s : ERB::Util.html_escape(value.to_s.scrub)
      end
    end

    # What a template has written so far.
    # @api private
    class Output
      def initialize
        @html = +""
      end

      # @param text [String] a part of the template itself
      def raw(text)
        @html << text
      end

      # @param value [Object] what `<%= %>` inserts
      def insert(value)
        @html << Markup.of(value)
      end

      # @return [Markup]
      def markup
        Markup.new(@html)
      end
    end

    # A file in ERB becomes a method. Its first line says which arguments the method takes:
    #
    #     <%# (group:, short: false) -%>
    # @api private
    class Template
      # Has `<%= %>` insert the object itself, not its text: only that tells whether it is Markup.
      class Compiler < ERB::Compiler
        private

        def add_insert_cmd(out, content)
          out.push("#{@insert_cmd}((#{content}))")
        end
      end

      FOLDER = File.expand_path("views", __dir__)
      private_constant :Compiler, :FOLDER

      class << self
        # Defines a method for each file in views/: `render_NAME`.
        # @param view [Class]
        def define_on(view)
          Dir.glob("*.erb", base: FOLDER).sort.each { |file| new(file).define_on(view) }
        end
      end

      # @param file [String]
      def initialize(file)
        @path = File.join(FOLDER, file)
        @name = file.delete_suffix(".erb")
      end

      # @param view [Class]
      def define_on(view)
        text = File.read(@path, encoding: Encoding::UTF_8)
        arguments = text[/\A<%# \((.*)\) -%>$/, 1]
        # The line of the definition stands before the first one, so that backtraces name lines of the file.
        view.class_eval(<<~RUBY, @path, 0) # rubocop:disable Style/EvalWithLocation -- it is where the code is
          def render_#{@name}(#{arguments}) # def render_page(group:)
          #{code(text)} # the code that ERB made
          end
        RUBY
      end

      private

      def code(text)
        compiler = Compiler.new("-")
        compiler.put_cmd = "_out.raw"
        compiler.insert_cmd = "_out.insert"
        compiler.pre_cmd = ["_out = Output.new"]
        compiler.post_cmd = ["_out.markup"]
        compiler.compile(text).first.force_encoding(Encoding::UTF_8).sub(/\A#coding:.*\n/, "")
      end
    end
  end
end
