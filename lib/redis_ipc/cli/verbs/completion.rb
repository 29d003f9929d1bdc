# frozen_string_literal: true

require_relative "../completions/bash"
require_relative "../completions/fish"
require_relative "../completions/zsh"

module RedisIPC
  module CLI
    module Verbs
      # Prints the completions of a shell.
      # @api private
      class Completion < Verb
        SHELLS = { "bash" => Completions::Bash, "zsh" => Completions::Zsh, "fish" => Completions::Fish }.freeze
        private_constant :SHELLS

        verb "completion"
        summary "print the completions of a shell"
        about <<~TEXT
          Prints a script that completes the verbs, options and choices of redis_ipc. To have it always:

              bash  redis_ipc completion bash > ~/.local/share/bash-completion/completions/redis_ipc
              zsh   redis_ipc completion zsh > "${fpath[1]}/_redis_ipc"
              fish  redis_ipc completion fish > ~/.config/fish/completions/redis_ipc.fish
        TEXT
        argument :shell, "the shell", choices: SHELLS.keys
        example "source <(redis_ipc completion bash)", "completes in this shell"

        def run
          terminal.say(SHELLS.fetch(given[:shell]).script(Catalog.verbs))
        end
      end
    end
  end
end
