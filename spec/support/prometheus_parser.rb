# frozen_string_literal: true

require "json"
require "open3"

# Reads metrics with Prometheus's own parsers for Python (Debian's python3-prometheus-client).
module PrometheusParser
  PYTHON = "/usr/bin/python3"
  PROGRAM = <<~PYTHON
    import json, sys
    from prometheus_client.parser import text_string_to_metric_families as text
    from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
    read = open_metrics if sys.argv[1] == "open" else text
    print(json.dumps([[f.name, f.type, f.unit, [[s.name, s.labels, s.value] for s in f.samples]]
                      for f in read(sys.stdin.read())]))
  PYTHON

  class << self
    def there?
      @there = system(PYTHON, "-c", "import prometheus_client", out: File::NULL, err: File::NULL) if @there.nil?
      @there
    end

    # @return [Hash{String => Array}] by name: the type, the unit, and the samples (name, labels, value)
    # @raise [RuntimeError] if the text is not of the format
    def parse(text, open: false)
      out, error, status = Open3.capture3(PYTHON, "-c", PROGRAM, open ? "open" : "text", stdin_data: text)
      raise error unless status.success?

      JSON.parse(out).to_h { |name, type, unit, samples| [name, [type, unit, samples]] }
    end
  end
end
