//! Where the database is, and how to get there.

use std::sync::Arc;
use std::time::Duration;

use rustls::{ClientConfig, RootCertStore};
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::engine::ports::StoreError;

/// How long a host gets to answer.
pub const CONNECT: Duration = Duration::from_secs(5);
/// How long the database works on one statement before it gives up.
const STATEMENT_MS: u64 = 5_000;
/// How long a transaction may stand still. A node that is frozen in the middle of one holds the
/// lock of its jobs, and nobody could take them over.
const STANDSTILL_MS: u64 = 5_000;

/// An index serves each of our statements, few rows at a time. So they are planned once a
/// connection, and not by what the tables hold: while they are new, that is unknown, and a plan that
/// reads them whole would be kept until they are analysed.
const PLANS: &str = "-c plan_cache_mode=force_generic_plan -c enable_seqscan=off \
     -c enable_hashjoin=off -c enable_mergejoin=off -c jit=off";

/// An address that was read.
#[derive(Clone)]
pub struct Target {
    pub config: Config,
    pub tls: MakeRustlsConnect,
    /// Safe to show.
    pub shown: String,
}

impl Target {
    /// TLS is used as `sslmode` says, and without one wherever the host is another machine; a
    /// certificate is always checked.
    pub fn parse(url: &str) -> Result<Self, StoreError> {
        let shown = redacted(url);
        let failed = |cause: &dyn std::fmt::Display| {
            StoreError::Failed(format!(
                "`{shown}` is not the address of a database: {cause}. \
                 An address looks like postgres://USER:PASSWORD@HOST:5432/DATABASE?sslmode=require."
            ))
        };
        // The driver has no word for the modes that check certificates, which is what we always do.
        let plain = url
            .replace("sslmode=verify-full", "sslmode=require")
            .replace("sslmode=verify-ca", "sslmode=require");
        let mut config: Config = plain.parse().map_err(|cause| failed(&cause))?;
        if !url.contains("sslmode=") {
            let is_here = config.get_hosts().iter().all(is_this_machine);
            config.ssl_mode(if is_here {
                SslMode::Disable
            } else {
                SslMode::Require
            });
        }
        let ours = format!(
            "-c synchronous_commit=on -c default_transaction_isolation=read\\ committed \
             -c default_transaction_read_only=off -c statement_timeout={STATEMENT_MS} \
             -c lock_timeout={STATEMENT_MS} \
             -c idle_in_transaction_session_timeout={STANDSTILL_MS} -c client_min_messages=warning \
             {PLANS}"
        );
        let options = config
            .get_options()
            .map_or_else(|| ours.clone(), |given| format!("{given} {ours}"));
        config
            .options(options)
            .application_name("rivulet")
            .connect_timeout(CONNECT)
            .tcp_user_timeout(CONNECT)
            .keepalives_idle(Duration::from_secs(5))
            .keepalives_interval(Duration::from_secs(2))
            .keepalives_retries(3);
        let tls = tls(config.get_ssl_mode()).map_err(|cause| failed(&cause))?;
        Ok(Self { config, tls, shown })
    }
}

fn is_this_machine(host: &Host) -> bool {
    match host {
        Host::Tcp(name) => {
            let address = name.parse::<std::net::IpAddr>();
            name == "localhost" || address.is_ok_and(|address| address.is_loopback())
        }
        #[cfg(unix)]
        Host::Unix(_) => true,
    }
}

/// Trusts what the system trusts; reads that only when it is needed.
fn tls(mode: SslMode) -> Result<MakeRustlsConnect, rustls::Error> {
    let mut roots = RootCertStore::empty();
    if mode != SslMode::Disable {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}

/// The address without its password and parameters.
pub fn redacted(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return "…".to_owned();
    };
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    // A password may hold an `@`; a host and a database name do not.
    match rest.rsplit_once('@') {
        Some((account, place)) => {
            let user = account.split(':').next().unwrap_or_default();
            format!("{scheme}://{user}@{place}")
        }
        None => format!("{scheme}://{rest}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_its_password() {
        for (url, shown) in [
            (
                "postgres://u:secret@h:5432/d?x=secret",
                "postgres://u@h:5432/d",
            ),
            ("postgres://u:se@cret@h/d", "postgres://u@h/d"),
            ("postgres://u:se:cr@h/d", "postgres://u@h/d"),
            ("postgres://h/d", "postgres://h/d"),
            ("password=secret", "…"),
        ] {
            assert_eq!(redacted(url), shown);
        }
        let error = Target::parse("postgres://u:secret@h:x/d").err().unwrap();
        let error = error.to_string();
        assert!(error.contains("postgres://u@h:x/d"), "{error}");
        assert!(!error.contains("secret"), "{error}");
    }

    #[test]
    fn another_machine_is_asked_over_tls_unless_the_address_says_otherwise() {
        for (url, mode) in [
            ("postgres://u@127.0.0.1/d", SslMode::Disable),
            ("postgres://u@localhost/d", SslMode::Disable),
            ("postgres://u@%2Frun%2Fpostgresql/d", SslMode::Disable),
            ("postgres://u@db.example/d", SslMode::Require),
            (
                "postgres://u@db.example/d?sslmode=verify-full",
                SslMode::Require,
            ),
            (
                "postgres://u@db.example/d?sslmode=disable",
                SslMode::Disable,
            ),
            ("postgres://u@localhost/d?sslmode=require", SslMode::Require),
        ] {
            let target = Target::parse(url).unwrap();
            assert_eq!(target.config.get_ssl_mode(), mode, "{url}");
        }
    }
}
