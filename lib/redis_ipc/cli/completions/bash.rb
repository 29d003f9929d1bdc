# frozen_string_literal: true

require "shellwords"

module RedisIPC
  module CLI
    module Completions
      # Makes the completions of bash.
      # @api private
      module Bash
        class << self
          # @param verbs [Array<Class>]
          # @return [String]
          def script(verbs)
            <<~SH
              # Completes redis_ipc in bash. Made by: redis_ipc completion bash
              _redis_ipc() {
                local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]}
                local verb="${COMP_WORDS[1]}" first=2 words="" files=""
                case "${COMP_WORDS[1]} ${COMP_WORDS[2]}" in
                  #{pairs(verbs)}) (( COMP_CWORD > 2 )) && verb="${COMP_WORDS[1]} ${COMP_WORDS[2]}" first=3 ;;
                esac
                if (( COMP_CWORD == 1 )); then verb=""; fi
                case "$verb" in
                  "") words=#{quoted(firsts(verbs) + %w[help --help --version])} ;;
              #{groups(verbs)}
              #{verbs.map { |verb| branch(verb) }.join("\n")}
                esac
                COMPREPLY=($(compgen -W "$words" -- "$current"))
                if [ -n "$files" ]; then COMPREPLY+=($(compgen -f -- "$current")); fi
              }
              complete -o filenames -F _redis_ipc redis_ipc
            SH
          end

          private

          def pairs(verbs)
            verbs.map(&:verb).grep(/ /).map(&:inspect).join("|")
          end

          def firsts(verbs)
            verbs.map { |verb| verb.verb[/\S+/] }.uniq
          end

          def groups(verbs)
            two = verbs.map(&:verb).grep(/ /).group_by { |name| name[/\S+/] }
            two.map do |first, names|
              "    #{first}) words=#{quoted(names.map do |name|
                                              name.split.last
                                            end)} ;;"
            end.join("\n")
          end

          def branch(verb)
            lines = ["    #{verb.verb.inspect})", "      words=#{quoted(words(verb))}", "      files=#{if files?(verb)
                                                                                                         "yes"
                                                                                                       end}",
                     *values(verb), "      ;;"]
            lines.join("\n")
          end

          # What follows an option with a value is that value.
          def values(verb)
            taking = verb.options.select { |option| option.takes && !option.value_optional? }
            return [] if taking.empty?

            rows = taking.map do |option|
              files = "yes" if option.takes == "FILE"
              "        #{option.switches.join("|")}) words=#{quoted(option.choices || [])} files=#{files} ;;"
            end
            ["      case \"$previous\" in", *rows, "      esac"]
          end

          def words(verb)
            verb.options.flat_map(&:switches) + verb.arguments.flat_map { |argument| argument.choices || [] }
          end

          def files?(verb)
            verb.arguments.any?(&:files?)
          end

          def quoted(words)
            Shellwords.escape(words.join(" "))
          end
        end
      end
    end
  end
end
