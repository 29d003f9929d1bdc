# frozen_string_literal: true

module RedisIPC
  module CLI
    module Completions
      # Makes the completions of fish.
      # @api private
      module Fish
        class << self
          # @param verbs [Array<Class>]
          # @return [String]
          def script(verbs)
            <<~SH
              # Completes redis_ipc in fish. Made by: redis_ipc completion fish
              function __redis_ipc_at
                  test (commandline -opc | string join " ") = (string join " " redis_ipc $argv)
              end
              function __redis_ipc_verb
                  string match -q -- (string join " " redis_ipc $argv)" *" (commandline -opc | string join " ")" "
              end
              complete -c redis_ipc -f
              #{[*groups(verbs), *verbs.flat_map { |verb| lines(verb) }].join("\n")}
            SH
          end

          private

          def groups(verbs)
            verbs.map(&:verb).grep(/ /).map { |name| name[/\S+/] }.uniq.map do |name|
              "complete -c redis_ipc -n '__redis_ipc_at' -a #{name} -d '#{name} ...'"
            end
          end

          def lines(verb)
            *before, word = verb.verb.split
            [
              "complete -c redis_ipc -n '#{["__redis_ipc_at",
                                            *before].join(" ")}' -a #{word} -d #{quoted(verb.summary)}",
              *verb.options.map { |option| line(verb, option) },
              *verb.arguments.filter_map { |argument| positional(verb, argument) }
            ]
          end

          def line(verb, option)
            flags = option.switches.map { |flag| flag.start_with?("--") ? "-l #{flag[2..]}" : "-s #{flag[1..]}" }
            flags << "-x" if option.takes && !option.value_optional? && option.takes != "FILE"
            flags << "-r -F" if option.takes == "FILE"
            flags << "-a #{quoted(option.choices.join(" "))}" if option.choices
            "#{condition(verb)} #{flags.join(" ")} -d #{quoted(option.text)}"
          end

          def positional(verb, argument)
            return "#{condition(verb)} -F" if argument.files?

            "#{condition(verb)} -a #{quoted(argument.choices.join(" "))}" if argument.choices
          end

          def condition(verb)
            "complete -c redis_ipc -n '__redis_ipc_verb #{verb.verb}'"
          end

          def quoted(text)
            "'#{text.gsub(/[\\']/) { |character| "\\#{character}" }}'"
          end
        end
      end
    end
  end
end
