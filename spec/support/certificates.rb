# frozen_string_literal: true

require "openssl"
require "tmpdir"

# A certificate authority for one example.
class Certificates
  attr_reader :folder

  def initialize
    @folder = Dir.mktmpdir("redis_ipc_certificates")
    @authority, @authority_key = issue("authority", authority: true)
  end

  # Returns the paths of a certificate for `host` and of its key.
  def for(name, host: "localhost", **options)
    issue(name, host: host, **options)
    [path("#{name}.crt"), path("#{name}.key")]
  end

  # Returns the paths of a certificate that is signed by itself.
  def self_signed(name, **options)
    issue(name, host: "localhost", signed: false, **options)
    [path("#{name}.crt"), path("#{name}.key")]
  end

  # Returns the paths of a certificate of X.509 version 1. It has no extensions, so it names no host.
  def version_one(name)
    issue(name, version: 1)
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

  def issue(name, host: nil, authority: false, signed: !authority, **form)
    form = { valid: 3600, curve: "prime256v1", version: 3, rsa: false, **form }
    key = form[:rsa] ? OpenSSL::PKey::RSA.new(2048) : OpenSSL::PKey::EC.generate(form[:curve])
    certificate = OpenSSL::X509::Certificate.new
    certificate.version = form[:version] - 1
    certificate.serial = SecureRandom.random_number(2**64)
    certificate.subject = OpenSSL::X509::Name.new([["CN", name]])
    certificate.issuer = signed ? @authority.subject : certificate.subject
    certificate.public_key = form[:rsa] ? key.public_key : key
    certificate.not_before = Time.now - 7200
    certificate.not_after = Time.now + form[:valid]
    extend_with(certificate, signed ? @authority : certificate, host, authority) if form[:version] == 3
    certificate.sign(signed ? @authority_key : key, "SHA256")
    File.write(path("#{name}.crt"), certificate.to_pem)
    File.write(path("#{name}.key"), key.to_pem)
    [certificate, key]
  end

  # Adds the extensions of RFC 5280, which Python 3.13 checks.
  def extend_with(certificate, issuer, host, authority)
    factory = OpenSSL::X509::ExtensionFactory.new(issuer, certificate)
    extensions = [["basicConstraints", authority ? "CA:TRUE" : "CA:FALSE", true], %w[subjectKeyIdentifier hash]]
    extensions << ["keyUsage", "keyCertSign,cRLSign", true] if authority
    extensions << ["subjectAltName", "DNS:#{host}"] if host
    extensions.each { |extension| certificate.add_extension(factory.create_extension(*extension)) }
    # The issuer must have its own identifier at this point.
    certificate.add_extension(factory.create_extension("authorityKeyIdentifier", "keyid:always"))
  end
end
