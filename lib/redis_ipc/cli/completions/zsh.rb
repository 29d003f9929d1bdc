# frozen_string_literal: true

module RedisIPC
  module CLI
    module Completions
      # Makes the completions of zsh.
      # @api private
      module Zsh
        class << self
          # @param verbs [Array<Class>]
          # @return [String]
          def script(verbs)
            two, one = verbs.partition { |verb| verb.verb.include?(" ") }
            groups = two.group_by { |verb| verb.verb[/\S+/] }
            <<~SH
              #compdef redis_ipc
              # Completes redis_ipc in zsh. Made by: redis_ipc completion zsh
              _redis_ipc() {
                local -a verbs
                if (( CURRENT == 2 )); then
                  verbs=(#{[*one.map { |verb| described(verb) }, *groups.keys.map { |name| quoted("#{name}:#{name} ...") }].join(" ")})
                  _describe verb verbs
                  return
                fi
                case "$words[2]" in
              #{groups.map { |name, all| group(name, all) }.join("\n")}
                esac
                case "$words[2]" in
              #{one.map { |verb| branch(verb.verb, verb, 1) }.join("\n")}
                esac
              }
              if [ "$funcstack[1]" = "_redis_ipc" ]; then _redis_ipc "$@"; else compdef _redis_ipc redis_ipc; fi
            SH
          end

          private

          def described(verb, name = verb.verb)
            quoted("#{name}:#{verb.summary}")
          end

          def group(name, verbs)
            <<~SH.chomp
                  #{name})
                    if (( CURRENT == 3 )); then
                      verbs=(#{verbs.map { |verb| described(verb, verb.verb.split.last) }.join(" ")})
                      _describe verb verbs
                      return
                    fi
                    case "$words[3]" in
              #{verbs.map { |verb| branch(verb.verb.split.last, verb, 2) }.join("\n")}
                    esac
                    ;;
            SH
          end

          # _arguments takes the first word for the command.
          def branch(word, verb, size)
            rows = [*verb.options.map { |option| specification(option) }, *verb.arguments.map { |one| positional(one) }]
            "    #{word}) shift #{size} words; (( CURRENT -= #{size} )); _arguments -s #{rows.join(" ")}; return ;;"
          end

          def specification(option)
            switches = option.switches
            value = option.takes && ":#{option.takes.downcase}:#{values(option.choices, option.takes == "FILE")}"
            value = ":#{value}" if option.value_optional?
            text = quoted("[#{escaped(option.text)}]#{value}")
            repeated = option.repeated? ? "\\*" : quoted("(#{switches.join(" ")})")
            equals = option.takes && option.flags.last.include?("[=") ? "=-" : ""
            return "#{repeated}#{switches.last}#{equals}#{text}" if switches.size == 1

            "#{repeated}{#{switches.first},#{switches.last}#{equals}}#{text}"
          end

          def positional(argument)
            quoted("#{"*" if argument.many?}:#{argument.title.downcase}:#{values(argument.choices, argument.files?)}")
          end

          def values(choices, files)
            return "(#{choices.join(" ")})" if choices

            files ? "_files" : " "
          end

          def escaped(text)
            text.gsub(/[\[\]:\\]/) { |character| "\\#{character}" }
          end

          def quoted(text)
            "'#{text.gsub("'", "'\\\\''")}'"
          end
        end
      end
    end
  end
end
