# frozen_string_literal: true

require "open3"
require "rbconfig"

# The public methods of the gem by path (`RedisIPC::Stream#connect`), each with its parameters: as Ruby reports them,
# and as sig/ declares them. Parameters have the form of Method#parameters; a block has no name.
module PublicMethods
  # This runs in a process of its own, because redis_ipc/rspec would set up this suite.
  REFLECTION = <<~'RUBY'
    %w[rails redis_ipc redis_ipc/open_telemetry redis_ipc/testing redis_ipc/rspec redis_ipc/minitest].each { |name| require name }

    def modules_in(outer)
      inner = outer.constants(false).map { |name| outer.const_get(name) }.grep(Module)
      [outer, *inner.select { |one| one.name.start_with?(outer.name + "::") }.flat_map { |one| modules_in(one) }]
    end

    # The class's own method, not that of a prepended module.
    def own(owner, name)
      method = owner.instance_method(name)
      method = method.super_method until method.nil? || method.owner == owner
      method && named(method.parameters, name) + (takes_block?(method) ? [[:block]] : [])
    end

    # A method of attr_writer has a parameter without a name. So does `*`, for which newer Rubies report that name.
    def named(parameters, method)
      parameters.reject { |kind, _| kind == :block }.map do |kind, name|
        [kind, method.end_with?("=") ? method[/\w+/].to_sym : name&.[](/\w+/)&.to_sym]
      end
    end

    def takes_block?(method)
      code = RubyVM::InstructionSequence.of(method)
      method.parameters.any? { |kind, _| kind == :block } || code&.disasm.to_s.include?("invokeblock")
    end

    methods = modules_in(RedisIPC).flat_map do |one|
      names = one.public_instance_methods(false) + one.private_instance_methods(false).grep(:initialize)
      names.map { |name| [one.name + "#" + name.to_s, own(one, name)] } +
        one.singleton_methods(false).map { |name| [one.name + "." + name.to_s, own(one.singleton_class, name)] }
    end
    print Marshal.dump(methods.to_h.compact)
  RUBY

  class << self
    # @return [Hash{String => Array}]
    def defined(library)
      output, status = Open3.capture2(RbConfig.ruby, "-I#{library}", "-e", REFLECTION, binmode: true)
      raise "the library did not load" unless status.success?

      Marshal.load(output) # rubocop:disable Security/MarshalLoad -- a process of our own wrote it
    end

    # @return [Hash{String => Array}] the parameters of each overload, by method
    def declared(builder)
      names = builder.env.class_decls.keys.select { |name| name.to_s.start_with?("::RedisIPC") }
      methods = names.flat_map do |name|
        [*own_methods(builder.build_instance(name), "#"), *own_methods(builder.build_singleton(name), ".")]
      end
      # RBS derives `new` from `initialize`.
      methods.to_h.reject { |path, _| path.end_with?(".new") }
    end

    private

    def own_methods(definition, separator)
      owner = definition.type_name
      own = definition.methods.select do |name, method|
        method.defined_in == owner && (method.public? || name == :initialize)
      end
      own.to_h do |name, method|
        block = method.defs.any? { |overload| overload.type.block } ? [[:block]] : []
        shapes = method.defs.map { |overload| parameters(overload.type.type) + block }
        ["#{owner.to_s.delete_prefix("::")}#{separator}#{name}", shapes.uniq]
      end.to_a
    end

    def parameters(function)
      positional(:req, function.required_positionals) + positional(:opt, function.optional_positionals) +
        positional(:rest, [function.rest_positionals].compact) + positional(:req, function.trailing_positionals) +
        function.required_keywords.keys.map { |name| [:keyreq, name] } +
        function.optional_keywords.keys.map { |name| [:key, name] } +
        positional(:keyrest, [function.rest_keywords].compact)
    end

    def positional(kind, list)
      list.map { |parameter| [kind, parameter.name] }
    end
  end
end
