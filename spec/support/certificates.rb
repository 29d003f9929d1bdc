# frozen_string_literal: true

require "openssl"
require "tmpdir"

# A certificate authority of one example's own.
class Certificates
  attr_reader :folder

  def initialize
    @folder = Dir.mktmpdir("redis_ipc_certificates")
    @authority, @authority_key = issue("authority", authority: true)
  end

  # Paths of a certificate for `host` and of its key.
  def for(name, host: "localhost", valid: 3600)
    issue(name, host: host, valid: valid)
    [path("#{name}.crt"), path("#{name}.key")]
  end

  # The same, but signed by itself.
  def self_signed(name)
    issue(name, host: "localhost", signed: false)
    [path("#{name}.crt"), path("#{name}.key")]
  end

  def authority_file
    path("authority.crt")
  end

  def path(name)
    File.join(@folder, name)
  end

  def remove
    FileUtils.remove_entry(@folder)
  end

  private

  def issue(name, host: nil, valid: 3600, authority: false, signed: !authority)
    key = OpenSSL::PKey::EC.generate("prime256v1")
    certificate = OpenSSL::X509::Certificate.new
    certificate.version = 2
    certificate.serial = SecureRandom.random_number(2**64)
    certificate.subject = OpenSSL::X509::Name.new([["CN", name]])
    certificate.issuer = signed ? @authority.subject : certificate.subject
    certificate.public_key = key
    certificate.not_before = Time.now - 7200
    certificate.not_after = Time.now + valid
    extend_with(certificate, host, authority)
    certificate.sign(signed ? @authority_key : key, "SHA256")
    File.write(path("#{name}.crt"), certificate.to_pem)
    File.write(path("#{name}.key"), key.to_pem)
    [certificate, key]
  end

  def extend_with(certificate, host, authority)
    factory = OpenSSL::X509::ExtensionFactory.new(@authority || certificate, certificate)
    certificate.add_extension(factory.create_extension("basicConstraints", authority ? "CA:TRUE" : "CA:FALSE", true))
    certificate.add_extension(factory.create_extension("subjectAltName", "DNS:#{host}")) if host
  end
end
