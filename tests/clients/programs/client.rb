# client.rb URL COUNT CA: one Net::HTTP object, started again and again.
require 'net/http'

uri, count, authority = URI(ARGV[0]), ARGV[1].to_i, ARGV[2]
http = Net::HTTP.new(uri.host, uri.port)
http.use_ssl = true
http.ca_file = authority
count.times { http.start { http.get(uri.path).value } }
