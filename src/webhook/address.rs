//! Which addresses a webhook may be sent to: those of the open internet.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::Host;

/// Ports that may be named. Others belong to services that speak something else.
pub const PORTS: [u16; 3] = [443, 8443, 80];

/// Characters of a URL.
const MAX_URL: usize = 2_048;

/// Whether callbacks may stay on this machine, for trials: then `http` may be used for it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Reach {
    #[default]
    Internet,
    AlsoLoopback,
}

/// Why nothing is sent to a URL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Forbidden {
    #[error("`{0}` is not a URL such as https://example.com/hooks/rivulet")]
    NoUrl(String),
    #[error("a URL of a webhook has {MAX_URL} characters at most, and this one has {0}")]
    TooLong(usize),
    #[error("`{0}` is not used for webhooks; use https")]
    Scheme(String),
    #[error("a URL of a webhook has no user name or password; sign in by the signature")]
    Credentials,
    #[error("port {0} is not used for webhooks; use 443, 8443 or 80")]
    Port(u16),
    #[error("`{0}` is not an address of the open internet")]
    Address(String),
}

/// Reads a URL that webhooks may be sent to. Names are looked up when something is sent.
pub fn checked(text: &str, reach: Reach) -> Result<Url, Forbidden> {
    let length = text.chars().count();
    if length > MAX_URL {
        return Err(Forbidden::TooLong(length));
    }
    let url = Url::parse(text).map_err(|_| Forbidden::NoUrl(shortened(text)))?;
    let host = url
        .host()
        .ok_or_else(|| Forbidden::NoUrl(shortened(text)))?;
    let is_here = reach == Reach::AlsoLoopback && is_loopback(&host);
    if url.scheme() != "https" && !(is_here && url.scheme() == "http") {
        return Err(Forbidden::Scheme(url.scheme().to_owned()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Forbidden::Credentials);
    }
    if is_here {
        return Ok(url);
    }
    match url.port_or_known_default() {
        Some(port) if PORTS.contains(&port) => {}
        port => return Err(Forbidden::Port(port.unwrap_or_default())),
    }
    let is_open = match &host {
        Host::Ipv4(address) => is_public(IpAddr::V4(*address)),
        Host::Ipv6(address) => is_public(IpAddr::V6(*address)),
        Host::Domain(name) => is_public_name(name),
    };
    if is_open {
        Ok(url)
    } else {
        Err(Forbidden::Address(host.to_string()))
    }
}

/// A name that can be somebody's on the internet. What it leads to is seen when it is dialled.
fn is_public_name(name: &str) -> bool {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    let inside = [".localhost", ".local", ".internal", ".home.arpa"];
    name.contains('.') && !inside.iter().any(|ending| name.ends_with(ending))
}

fn is_loopback(host: &Host<&str>) -> bool {
    match host {
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
        Host::Domain(name) => *name == "localhost",
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(200).collect()
}

/// Whether an address is one of the open internet: not of this machine, a local network, a
/// transition to one of these, or of no single receiver.
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

/// Without the special-purpose addresses of RFC 6890 and its successors.
fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    !(a == 0
        || address.is_loopback()
        || address.is_private()
        || address.is_link_local()
        || address.is_multicast()
        || a >= 240
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && (c == 0 || c == 2))
        || (a == 192 && b == 88 && c == 99)
        || (a == 198 && (b == 18 || b == 19))
        || (a == 198 && b == 51 && c == 100)
        || (a == 203 && b == 0 && c == 113))
}

/// Global unicast (2000::/3) only, and there neither documentation nor what carries an IPv4
/// address or a peer chosen by others.
fn is_public_v6(address: Ipv6Addr) -> bool {
    let [first, second, ..] = address.segments();
    let is_global = first & 0xe000 == 0x2000;
    let is_tunnel = first == 0x2002 || (first == 0x2001 && second < 0x0200);
    let is_documentation = (first == 0x2001 && second == 0x0db8) || first & 0xfff0 == 0x3ff0;
    is_global && !is_tunnel && !is_documentation
}

/// Gives the addresses of a name.
pub type Lookup = Arc<dyn Fn(String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> + Send + Sync>;

/// As the system does it.
pub(super) fn of_system() -> Lookup {
    Arc::new(|name| {
        async move {
            let found = tokio::net::lookup_host((name, 0)).await?;
            Ok(found.map(|address| address.ip()).collect())
        }
        .boxed()
    })
}

/// Looks names up and keeps to itself what leads elsewhere than to the open internet. The
/// connection is made to what was looked up here, so a name cannot lead elsewhere in between.
pub(super) struct OpenInternet {
    pub(super) reach: Reach,
    pub(super) lookup: Lookup,
}

impl Resolve for OpenInternet {
    fn resolve(&self, name: Name) -> Resolving {
        let (reach, name) = (self.reach, name.as_str().to_owned());
        let looked_up = (self.lookup)(name.clone());
        Box::pin(async move {
            let found = looked_up.await?;
            let is_allowed = |address: &IpAddr| {
                is_public(*address) || (reach == Reach::AlsoLoopback && address.is_loopback())
            };
            // One that is not open taints them all: who answers like that means no good.
            if found.is_empty() || !found.iter().all(is_allowed) {
                return Err(Forbidden::Address(name).into());
            }
            // Port 0 stands for the port of the URL.
            let found = found.into_iter().map(|address| SocketAddr::new(address, 0));
            Ok(Box::new(found) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_the_open_internet_are_dialled() {
        let closed = [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.8.8.8",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.9.9",
            "192.0.0.8",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.1",
            "198.51.100.7",
            "203.0.113.9",
            "224.0.0.1",
            "239.1.1.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:8.8.8.8",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:10::1",
            "2001:db8::1",
            "2002:7f00:1::1",
            "3fff::1",
            "fc00::1",
            "fd12:3456::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ];
        for address in closed {
            assert!(!is_public(address.parse().unwrap()), "{address}");
        }
        for address in [
            "8.8.8.8",
            "100.63.0.1",
            "100.128.0.1",
            "172.32.0.1",
            "2606:4700::1",
            "2a00:1450:4001::1",
        ] {
            assert!(is_public(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn spellings_that_lead_home_are_seen_through() {
        let forbidden = [
            "",
            "example.com/hook",
            "ftp://example.com/",
            "http://example.com/",
            "https://user:pw@example.com/",
            "https://example.com:22/",
            "https://example.com:8080/",
            "https://localhost/",
            "https://localhost./",
            "https://intranet/",
            "https://printer.local/",
            "https://metadata.google.internal/",
            "https://127.0.0.1/",
            "https://127.1/",
            "https://2130706433/",
            "https://0x7f.1/",
            "https://0177.0.0.1/",
            "https://[::1]/",
            "https://[::ffff:127.0.0.1]/",
            "https://[::ffff:7f00:1]/",
            "https://[64:ff9b::7f00:1]/",
            "https://169.254.169.254/latest",
            "https://0/",
            "https://10.1.2.3/",
            "https://192.168.0.1/",
            "https://100.64.1.1/",
            "https://[fe80::1]/",
            "https://[fd00::1]/",
            "https://①②⑦.⓪.⓪.①/",
            "https://api.localhost/",
            "file:///etc/passwd",
            "https:///x",
            "https://[2002:7f00:1::]/",
        ];
        for text in forbidden {
            assert!(checked(text, Reach::Internet).is_err(), "{text}");
        }
        for text in [
            "https://example.com/hooks?a=b",
            "https://example.com:8443/",
            "https://8.8.8.8/",
        ] {
            assert!(checked(text, Reach::Internet).is_ok(), "{text}");
        }
        let trial = "http://127.0.0.1:9999/hook";
        assert!(checked(trial, Reach::AlsoLoopback).is_ok());
        assert_eq!(
            checked(trial, Reach::Internet),
            Err(Forbidden::Scheme("http".into()))
        );
        assert!(checked("http://10.0.0.1/", Reach::AlsoLoopback).is_err());
    }
}
