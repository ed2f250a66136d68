//! The roles of a cluster of the tests, and their passwords.

/// The password of every role of a private cluster. A test may look for it, or a piece of it, in output.
pub const PASSWORD: &str = "tide:Ebb/Flow@100% Ж";
/// The same inside a URL.
pub(super) const PASSWORD_IN_URL: &str = "tide%3AEbb%2FFlow%40100%25%20%D0%96";
/// The role that owns the databases.
pub const OWNER: &str = "harbour";
/// The role that owns the cluster.
pub(super) const ADMIN: &str = "admin";
/// A superuser with a password that needs no escapes in a URL.
pub const TESTER: &str = "tester";
/// Its password. A test may look for it in output.
pub const TESTER_PASSWORD: &str = "s3cr3t-pass";
