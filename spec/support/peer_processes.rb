# frozen_string_literal: true

# Processes that run the examples in other languages, and their Ruby counterparts, spoken to by lines of JSON.
module PeerProcesses
  # Starts a demo in one of the languages; returns when it is ready.
  def peer(language, demo, *arguments, interpreter: nil, **environment)
    command = case language
              when "ruby" then ["ruby", "-I#{Processes::LIBRARY}", File.join(__dir__, "peers/#{demo}.rb")]
              when "python"
                [interpreter || PeerPackages.python, PeerPackages.example("python", "#{demo}.py")]
              when "node" then ["node", File.join(PeerPackages.node, "#{demo}.mjs")]
              end
    # Unbuffered, Python loses what a stopped process had left to write.
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

  # A way to the shared server that loses replies.
  def lossy
    LossyProxy.new(RedisServer.shared.path).tap { |proxy| servers << proxy }
  end
end
