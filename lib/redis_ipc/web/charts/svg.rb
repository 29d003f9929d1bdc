# frozen_string_literal: true

module RedisIPC
  class Web
    # Elements of SVG. Colours are in the style sheet, because the page allows no style attributes.
    # @api private
    module Svg
      module_function

      # @param element [Symbol]
      # @param attributes [Hash{Symbol => Object}]
      # @param inside [Array<Markup, String>]
      # @return [Markup]
      def shape(element, attributes, inside = [])
        names = attributes.map { |name, value| " #{name}=\"#{Markup.of(value)}\"" }.join
        Markup.new("<#{element}#{names}>#{inside.map { |one| Markup.of(one) }.join}</#{element}>")
      end

      # @param name [String] the CSS class
      # @param size [Array(Numeric, Numeric)] width and height
      # @param label [String] what a screen reader says in place of the image
      # @param shapes [Array<Markup>]
      # @return [Markup]
      def image(name, size, label, shapes, **attributes)
        width, height = size
        shape(:svg, { class: "chart #{name}", role: "img", "aria-label": label, viewBox: "0 0 #{width} #{height}",
                      width: width, height: height, **attributes }, shapes)
      end

      # @param text [String] what the browser shows beside the pointer
      # @return [Markup]
      def title(text)
        shape(:title, {}, [text])
      end

      # @return [Markup] a text in the middle of a place
      def tick(text, left, top)
        shape(:text, { class: "tick", x: left, y: top }, [text])
      end
    end
  end
end
