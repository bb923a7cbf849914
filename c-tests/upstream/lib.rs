//! Nothing: cargo wants a target, and build.sh only asks it where openssl-src lies.
