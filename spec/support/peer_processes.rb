# frozen_string_literal: true

# Runs the examples in other languages and their Ruby counterparts, and exchanges lines of JSON with them.
module PeerProcesses
  # Starts a demo in one of the languages. Returns when it is ready.
  def peer(language, demo, *arguments, interpreter: nil, **environment)
    command = case language
              when "ruby" then ["ruby", "-I#{Processes::LIBRARY}", File.join(__dir__, "peers/#{demo}.rb")]
              when "python"
                [interpreter || PeerPackages.python, PeerPackages.example("python", "#{demo}.py")]
              when "node" then ["node", File.join(PeerPackages.node, "#{demo}.mjs")]
              end
    # With PYTHONUNBUFFERED, a process that is stopped would lose the output that it still had to write. So this unsets
    # it.
    run_process(*command, *arguments, PYTHONUNBUFFERED: nil, **environment)
      .tap { |process| expect(process.line).to eq("ready") }
  end

  def ask(process, **request)
    process.puts(JSON.generate(request))
    answer(process)
  end

  def answer(process)
    JSON.parse(process.line(timeout: 30))
  end

  # Returns a proxy to the shared server that loses replies.
  def lossy
    LossyProxy.new(RedisServer.shared.path).tap { |proxy| servers << proxy }
  end
end
