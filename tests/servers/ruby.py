"""Ruby from Debian's package, with OpenSSL::SSL::SSLServer and a session_new_cb, which Ruby answers
with 0: stock libssl keeps the session nevertheless. One process.

On stock and preloaded:
- OpenSSL's own cache: all.
- A reload makes a new context: none.

With a store, every session that resumes at all resumes always.
"""

import signal

from harness.packages import need

from .server import Server, has_no_line, print_version
from .ways import Row, run_rows

ROWS = (
    Row("ruby", "1 process", "all all all", "none none all"),
)

PROGRAM = """\
require 'io/wait'
require 'openssl'
require 'socket'

port, certificate, key = ARGV
$stdout.sync = true

def make_context(certificate, key)
  context = OpenSSL::SSL::SSLContext.new
  context.cert = OpenSSL::X509::Certificate.new(File.read(certificate))
  context.key = OpenSSL::PKey.read(File.read(key))
  context.session_id_context = 'service'
  context.session_cache_mode = OpenSSL::SSL::SSLContext::SESSION_CACHE_SERVER
  context.session_new_cb = proc { |_, session| session.id }
  context
end

context = make_context(certificate, key)
again = false
trap('HUP') { again = true }
trap('TERM') { exit }
listener = TCPServer.new('127.0.0.1', port)
loop do
  waiting = listener.wait_readable(0.02)
  if again
    again = false
    context = make_context(certificate, key)
    puts 'again'
  end
  next unless waiting
  socket = OpenSSL::SSL::SSLSocket.new(listener.accept, context)
  socket.sync_close = true
  begin
    socket.accept
    while (line = socket.gets) && line != "\\r\\n"
    end
    socket.write("HTTP/1.0 200 OK\\r\\n\\r\\nok\\n")
  rescue OpenSSL::SSL::SSLError => error
    puts "error: #{error.message}"
  end
  socket.close
end
"""


class Ruby(Server):
    workers_wanted = 1

    def configure(self):
        (self.dir / "server.rb").write_text(PROGRAM)

    def launch(self):
        self.start_ticketless("ruby", self.dir / "server.rb", self.ports[self.rows[0]],
                              self.work / "certificate.pem", self.work / "key.pem")

    def serving(self):
        return self.mains

    def reload(self):
        self.until_logged(1, "^again$", self.signal_mains, signal.SIGHUP)

    def log_is_clean(self):
        return has_no_line("(?i)error|segfault|BUG", self.output)


def test(prepared, work):
    need("ruby", "ruby")
    print_version("ruby", "-v")
    run_rows(Ruby, ROWS, prepared, work)
