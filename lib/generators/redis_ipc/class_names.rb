# frozen_string_literal: true

require_relative "names"

module RedisIPC
  # For `rails generate`.
  module Generators
    # What the generators of channels and consumers have in common: the name of the class, and the kind of its test.
    #
    # An includer defines `what` ("channel"), `suffix` ("ipc"), and `base_word` ("application_ipc").
    # @api private
    module ClassNames
      # Words joined by `/`: the path of a file whose class Rails can load.
      NAME = %r{\A[a-z][a-z0-9_]*(/[a-z][a-z0-9_]*)*\z}
      private_constant :NAME

      private

      # Accepts kitchen and kitchen_ipc for KitchenIpc.
      def assign_names!(name)
        given = Names.check("the #{what}'s name", name)
        super(given.underscore.delete_suffix("_#{suffix}"))
        return if path_name.match?(NAME) && path_name != suffix

        raise Thor::Error, "#{given.inspect} is no name for a #{what}: letters, digits and _, a letter first, as in " \
                           "kitchen, LivingRoom or pantry/shelf"
      end

      def path_name
        (class_path + [file_name]).join("/")
      end

      # Returns the class's name as the file implies it, whatever inflection the application has for the suffix.
      def generated_class
        (class_path + ["#{file_name}_#{suffix}"]).map(&:camelize).join("::")
      end

      def base_class
        base_word.camelize
      end

      # @return [String] the path of a generated file
      def path_in(folder, ending = ".rb")
        File.join(folder, class_path, "#{file_name}_#{suffix}#{ending}")
      end

      # Returns the kind of test to generate. The application sets a Symbol, the command line a String.
      # @return [String, nil] nil if no test is wanted
      def test_kind
        return folder?("spec") ? "spec" : "test" unless options.key?(:test_framework)

        case options[:test_framework]
        when nil, false then nil
        when :rspec, "rspec" then "spec"
        # `:test_unit` is Rails's default, so it is no choice: specs may run without rspec-rails.
        when :test_unit then folder?("spec") ? "spec" : "test"
        else "test"
        end
      end

      def folder?(name)
        File.directory?(File.join(destination_root, name))
      end
    end
  end
end
