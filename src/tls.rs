//! The one cryptography of all connections to elsewhere.

/// Makes clients of HTTP use it. To be called before the first of them is made; again does no harm.
pub fn install() {
    // An error says that it is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
