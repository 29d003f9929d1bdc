# frozen_string_literal: true

RSpec.describe "a pool of threads" do
  # Names are not to be had: it is no part of the API.
  let(:pool_class) { RedisIPC.const_get(:ThreadPool) }

  # What looks at all objects (a profiler, a test) asks their classes for their names.
  it "has a class that says its name, as all of ours do" do
    ours = ObjectSpace.each_object(Module).to_h { |one| [one, Module.instance_method(:name).bind_call(one)] }
    ours = ours.select { |_, name| name.to_s.start_with?("RedisIPC") }
    expect(ours).to include(pool_class)
    expect(ours.to_h { |one, _| [one, one.name] }).to eq(ours)
  end
end
