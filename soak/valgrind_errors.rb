# frozen_string_literal: true

# Prints the errors of this gem's own code in valgrind's report (XML): ruby soak/valgrind_errors.rb report.xml
#
# Ruby's garbage collector reads uninitialised stack on purpose. valgrind reports that by the thousand, also where our
# code called Ruby. An error is ours if the innermost frame outside of the C library and valgrind lies in redis_ipc.so.
class ValgrindErrors
  LIBRARY = /redis_ipc\.so/
  HELPERS = %r{/(libc|ld-linux[^/]*|libpthread|libm|vgpreload[^/]*|libgcc_s)[.-][^/]*so|/ld-linux|valgrind}

  def initialize(path)
    # The report is parsed by hand in 1 s; REXML takes 20 s.
    @errors = File.read(path).scan(%r{<error>.*?</error>}m)
  end

  def report
    ours, others = @errors.partition { |error| ours?(error) }
    puts "valgrind: #{ours.size} errors in redis_ipc.so, #{others.size} elsewhere (Ruby's garbage collector)"
    ours.each { |error| describe(error) }
    ours.empty?
  end

  private

  # The first stack shows where the error happened, or where lost memory was allocated.
  def ours?(error)
    innermost = frames(error).find { |frame| !frame[:object].match?(HELPERS) }
    !innermost.nil? && innermost[:object].match?(LIBRARY)
  end

  def frames(error)
    stack = error[%r{<stack>.*?</stack>}m].to_s
    stack.scan(%r{<frame>.*?</frame>}m).map do |frame|
      { object: text(frame, "obj").to_s, function: text(frame, "fn") || text(frame, "ip") }
    end
  end

  def text(xml, tag)
    xml[%r{<#{tag}>(.*?)</#{tag}>}m, 1]
  end

  def describe(error)
    puts "#{text(error, "kind")}: #{text(error, "what") || text(error, "text")}"
    frames(error).each { |frame| puts "    #{frame[:function]} (#{File.basename(frame[:object])})" }
  end
end

exit(ValgrindErrors.new(ARGV.fetch(0)).report)
