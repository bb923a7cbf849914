//! What the unit tests of this folder share: certificates that the openssl command makes, contexts
//! and connections of the libssl that the tests bring in.

use super::handle::{Ctx, Ssl};
use super::library::Library;
use super::libssl::libssl_in_test;
use libc::{c_char, c_int, c_void};
use openssl_sys::{SSL, SSL_CTX, SSL_METHOD};
use std::ffi::CString;
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::ptr::{self, NonNull};
use std::{env, fs};

/// A folder of certificates that the test makes with the openssl command.
pub(super) struct Folder(pub(super) PathBuf);

impl Folder {
    pub(super) fn new(name: &str) -> Folder {
        let path = env::temp_dir().join(format!("sesscache-{name}-{}", process::id()));
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    /// A self-signed one, which may be an authority's.
    pub(super) fn certificate(
        &self,
        file: &str,
        subject: &str,
        kind: &str,
        names: &[&str],
    ) -> PathBuf {
        // OpenSSL 3.5's command makes a certificate of version 3, which is no authority's unasked.
        let mut arguments = Vec::from(["-subj", subject]);
        arguments.extend(["-addext", "basicConstraints=critical,CA:TRUE"]);
        names.iter().for_each(|name| arguments.extend(["-addext", name]));
        self.request(file, kind, &arguments)
    }

    /// A certificate of an authority in this folder.
    pub(super) fn issued(&self, file: &str, ca: &Path, extension: &str) -> PathBuf {
        let key = ca.with_extension("key");
        let (ca, key) = (ca.to_str().unwrap(), key.to_str().unwrap());
        let extension = ["-addext", "basicConstraints=CA:FALSE", "-addext", extension];
        let arguments = ["-CA", ca, "-CAkey", key, "-subj", "/CN=client"];
        self.request(file, EC, &[&arguments[..], &extension].concat())
    }

    fn request(&self, file: &str, kind: &str, arguments: &[&str]) -> PathBuf {
        let path = self.0.join(file);
        let mut command = Command::new("openssl");
        command.args("req -x509 -nodes -days 2 -newkey".split(' ')).args(kind.split(' '));
        command.args(arguments).arg("-out").arg(&path);
        command.arg("-keyout").arg(path.with_extension("key"));
        self.run(&mut command);
        path
    }

    /// The authority's certificate and a new revocation list of it, with this one on it.
    pub(super) fn with_revocations(
        &self,
        file: &str,
        ca: &Path,
        seconds: &str,
        revoked: Option<&Path>,
    ) -> PathBuf {
        let (index, list) = (self.0.join(format!("{file}.index")), self.0.join("list"));
        let text =
            format!("[ca]\ndefault_ca=x\n[x]\ndatabase={}\ndefault_md=sha256\n", index.display());
        let configuration = self.0.join("configuration");
        fs::write(&configuration, text).unwrap();
        fs::write(&index, "").unwrap();
        let ask = || {
            let mut command = Command::new("openssl");
            command.arg("ca").arg("-config").arg(&configuration).arg("-cert").arg(ca);
            command.arg("-keyfile").arg(ca.with_extension("key"));
            command
        };
        if let Some(revoked) = revoked {
            self.run(ask().arg("-revoke").arg(revoked));
        }
        self.run(ask().args(["-gencrl", "-crlsec", seconds, "-out"]).arg(&list));
        let path = self.0.join(file);
        fs::write(&path, [fs::read(ca).unwrap(), fs::read(list).unwrap()].concat()).unwrap();
        path
    }

    fn run(&self, command: &mut Command) {
        // The command goes with the system's libraries, whichever the tests go with.
        command.env("OPENSSL_CONF", "/dev/null").env_remove("LD_LIBRARY_PATH");
        let output = command.current_dir(&self.0).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

pub(super) const EC: &str = "ec -pkeyopt ec_paramgen_curve:P-256";
pub(super) const RSA: &str = "rsa:2048";

/// A context with these certificates.
pub(super) struct Context {
    ctx: NonNull<SSL_CTX>,
}

pub(super) fn found(name: &str) -> NonNull<c_void> {
    libssl_in_test();
    Library::libssl().unwrap().find(&format!("{name}\0")).unwrap()
}

/// A function of libssl or libcrypto that the table lacks, with OpenSSL's own signature.
macro_rules! stock {
    ($name:ident: fn($($arg:ty),*) $(-> $ret:ty)?) => {{
        // SAFETY: the symbol of this name has this signature.
        unsafe {
            std::mem::transmute::<
                std::ptr::NonNull<libc::c_void>,
                unsafe extern "C-unwind" fn($($arg),*) $(-> $ret)?,
            >($crate::openssl::tests::found(stringify!($name)))
        }
    }};
}
pub(super) use stock;

impl Context {
    pub(super) fn new(certificates: &[&Path]) -> Context {
        let method = stock!(TLS_method: fn() -> *const SSL_METHOD);
        // SAFETY: takes nothing and returns a constant.
        Context::of_method(unsafe { method() }, certificates)
    }

    pub(super) fn of_method(method: *const SSL_METHOD, certificates: &[&Path]) -> Context {
        // SAFETY: a valid method.
        let ctx = NonNull::new(unsafe { (libssl_in_test().SSL_CTX_new)(method) }).unwrap();
        let context = Context { ctx };
        certificates.iter().for_each(|path| context.load(path));
        context
    }

    pub(super) fn load(&self, path: &Path) {
        let key = path.with_extension("key");
        type Load = unsafe extern "C-unwind" fn(*mut SSL_CTX, *const c_char, c_int) -> c_int;
        let certificate: Load =
            stock!(SSL_CTX_use_certificate_file: fn(*mut SSL_CTX, *const c_char, c_int) -> c_int);
        let private_key: Load =
            stock!(SSL_CTX_use_PrivateKey_file: fn(*mut SSL_CTX, *const c_char, c_int) -> c_int);
        for (load, path) in [(certificate, path), (private_key, &key)] {
            let path = CString::new(path.to_str().unwrap()).unwrap();
            // SAFETY: a valid context and a path; 1 is PEM.
            assert_eq!(unsafe { load(self.ctx.as_ptr(), path.as_ptr(), 1) }, 1);
        }
    }

    /// Trusts the certificates and revocation lists of this file.
    pub(super) fn trust(&self, path: &Path) {
        let load = stock!(SSL_CTX_load_verify_locations: fn(
            *mut SSL_CTX,
            *const c_char,
            *const c_char
        ) -> c_int);
        let path = CString::new(path.to_str().unwrap()).unwrap();
        // SAFETY: a valid context and a path.
        assert_eq!(unsafe { load(self.ctx.as_ptr(), path.as_ptr(), ptr::null()) }, 1);
    }

    /// A connection of it.
    pub(super) fn connection(&self) -> Connection<'_> {
        let libssl = libssl_in_test();
        // SAFETY: a valid context.
        let ssl = NonNull::new(unsafe { libssl.SSL_new.unwrap()(self.ctx.as_ptr()) }).unwrap();
        Connection { ssl, _ctx: self }
    }

    pub(super) fn ctx(&self) -> Ctx<'_> {
        // SAFETY: valid as long as `self`.
        unsafe { Ctx::borrow(libssl_in_test(), self.ctx.as_ptr()) }.unwrap()
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        let call = stock!(SSL_CTX_free: fn(*mut SSL_CTX));
        // SAFETY: made in `new`, and freed once.
        unsafe { call(self.ctx.as_ptr()) };
    }
}

/// A connection.
pub(super) struct Connection<'a> {
    ssl: NonNull<SSL>,
    _ctx: &'a Context,
}

impl Connection<'_> {
    pub(super) fn ssl(&self) -> Ssl<'_> {
        // SAFETY: valid as long as `self`.
        unsafe { Ssl::borrow(libssl_in_test(), self.ssl.as_ptr()) }.unwrap()
    }

    pub(super) fn as_ptr(&self) -> *mut SSL {
        self.ssl.as_ptr()
    }

    /// The handshake of this server with a client, in memory.
    pub(super) fn accept(&self, client: &Connection<'_>) {
        let memory = stock!(BIO_s_mem: fn() -> *const c_void);
        let new = stock!(BIO_new: fn(*const c_void) -> *mut c_void);
        let share = stock!(BIO_up_ref: fn(*mut c_void) -> c_int);
        // SAFETY: takes nothing and returns a constant.
        let memory = unsafe { memory() };
        // SAFETY: a valid kind.
        let (to_client, to_server) = (unsafe { new(memory) }, unsafe { new(memory) });
        let set = stock!(SSL_set_bio: fn(*mut SSL, *mut c_void, *mut c_void));
        for bio in [to_client, to_server] {
            // SAFETY: just made.
            assert_eq!(unsafe { share(bio) }, 1);
        }
        // SAFETY: a connection and a reference to each.
        unsafe { set(self.as_ptr(), to_server, to_client) };
        // SAFETY: as above.
        unsafe { set(client.as_ptr(), to_client, to_server) };
        let call = stock!(SSL_set_accept_state: fn(*mut SSL));
        // SAFETY: valid connections.
        unsafe { call(self.as_ptr()) };
        let call = stock!(SSL_set_connect_state: fn(*mut SSL));
        // SAFETY: as above.
        unsafe { call(client.as_ptr()) };
        let go = stock!(SSL_do_handshake: fn(*mut SSL) -> c_int);
        // SAFETY: as above.
        let done =
            (0..9).any(|_| [client, self].map(|side| unsafe { go(side.as_ptr()) }) == [1, 1]);
        let error = stock!(ERR_peek_error: fn() -> std::ffi::c_ulong);
        // SAFETY: takes nothing.
        let error = unsafe { error() };
        assert!(done, "the handshake failed, with OpenSSL's error {error:#x}");
    }
}

impl Drop for Connection<'_> {
    fn drop(&mut self) {
        // SAFETY: made for us, and freed once.
        unsafe { (libssl_in_test().SSL_free)(self.ssl.as_ptr()) };
    }
}
