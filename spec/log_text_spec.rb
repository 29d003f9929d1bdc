# frozen_string_literal: true

RSpec.describe "a text of others in the log" do
  def logged(text)
    RedisIPC.const_get(:LogText).of(text)
  end

  it "stays as it is where it is short and printable" do
    expect(["cook", "häuser ½", "x" * 100].map { |text| logged(text) }).to eq(["cook", "häuser ½", "x" * 100])
  end

  it "cannot look like lines of the log, or hide a part of itself" do
    expect(logged("a\nb")).to eq('"a\nb"')
    expect(logged("\e[31mred")).to eq('"\e[31mred"')
    expect(logged("user\u202Etxt.exe")).to eq('"user\u{202E}txt.exe"')
    expect(logged("a\u200Bb")).to eq('"a\u{200B}b"')
    expect(logged("x" * 101)).to eq("#{("x" * 100).inspect}...")
  end

  it "may be no text" do
    expect([nil, 7].map { |object| logged(object) }).to eq(%w[nil 7])
  end
end
