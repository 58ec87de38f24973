//! Addresses that nothing is sent to.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::FutureExt as _;
use rivulet::engine::ports::{Message, Sender, Sent};
use rivulet::webhook::{HttpSender, Lookup, Reach};
use serde_json::json;
use tokio::net::TcpListener;

use crate::support::app::{TestApp, wide_schema};

const FORBIDDEN: [&str; 34] = [
    "",
    "example.com/hook",
    "ftp://example.com/",
    "http://example.com/",
    "http://127.0.0.1/",
    "https://user:pw@example.com/",
    "https://example.com:22/",
    "https://example.com:8080/",
    "https://localhost/",
    "https://LOCALHOST./",
    "https://api.localhost/",
    "https://intranet/",
    "https://printer.local/",
    "https://metadata.google.internal/",
    "https://127.0.0.1/",
    "https://127.1/",
    "https://2130706433/",
    "https://0x7f.1/",
    "https://0177.0.0.1/",
    "https://0/",
    "https://[::1]/",
    "https://[::]/",
    "https://[::ffff:127.0.0.1]/",
    "https://[64:ff9b::7f00:1]/",
    "https://[2002:7f00:1::]/",
    "https://[fe80::1]/",
    "https://[fd00::1]/",
    "https://169.254.169.254/latest/meta-data",
    "https://10.1.2.3/",
    "https://172.16.0.1/",
    "https://192.168.0.1/",
    "https://100.64.1.1/",
    "https://224.0.0.1/",
    "https://①②⑦.⓪.⓪.①/",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn urls_that_lead_home_are_refused_before_there_is_a_job() {
    let app = TestApp::start().run().await;
    for url in FORBIDDEN {
        let body = json!({
            "document": "Total: 5", "schema": wide_schema(1), "callback_url": url,
        });
        let refused = app.post("/v1/extract/jobs", &body, "job_created").await;
        assert_eq!(refused.refusal(), (422, "callback_url_forbidden"), "{url}");
        assert_eq!(refused.pointers(), ["/callback_url"], "{url}");
        let refused = app
            .post("/v1/extract/webhooks", &json!({"url": url}), "webhook")
            .await;
        assert_eq!(refused.refusal(), (422, "callback_url_forbidden"), "{url}");
    }
    let jobs = app.get("/v1/extract/jobs", "job_list").await;
    assert_eq!(jobs.body["total_count"], 0);
    let documents = app.get("/v1/extract/documents", "document_list").await;
    assert_eq!(documents.body["total_count"], 0, "nothing was kept");
    let body = json!({"document": "x", "schema": {}, "callback_url": 7});
    let refused = app.post("/v1/extract/jobs", &body, "job_created").await;
    assert_eq!(refused.refusal(), (400, "invalid_request"));
}

fn message(url: &str) -> Message {
    Message {
        url: url.to_owned(),
        id: "7".into(),
        seconds: 0,
        signatures: "v1,x".into(),
        body: "{}".into(),
    }
}

/// Connections that somebody makes to a port of this machine.
async fn counting() -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (port, count) = (listener.local_addr().unwrap().port(), Arc::default());
    let counted = Arc::clone(&count);
    tokio::spawn(async move {
        while listener.accept().await.is_ok() {
            AtomicUsize::fetch_add(&counted, 1, Ordering::SeqCst);
        }
    });
    (port, count)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn urls_that_got_into_the_outbox_all_the_same_are_not_dialled() {
    rivulet::tls::install();
    let (port, connections) = counting().await;
    let sender = HttpSender::new(Reach::Internet);
    let own = [
        format!("http://127.0.0.1:{port}/"),
        format!("https://127.0.0.1:{port}/"),
        format!("https://localhost:{port}/"),
        format!("https://2130706433:{port}/"),
        format!("https://[::ffff:127.0.0.1]:{port}/"),
    ];
    for url in FORBIDDEN.into_iter().chain(own.iter().map(String::as_str)) {
        let sent = sender.send(message(url)).await;
        assert!(matches!(sent, Sent::Forbidden(_)), "{url}: {sent:?}");
    }
    assert_eq!(connections.load(Ordering::SeqCst), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_leads_home_sooner_or_later_is_never_dialled() {
    rivulet::tls::install();
    let home = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let open: IpAddr = "8.8.8.8".parse().unwrap();
    let mapped: IpAddr = "::ffff:127.0.0.1".parse().unwrap();
    let answers = [
        vec![home],
        vec![open, home],
        vec![mapped],
        vec!["169.254.169.254".parse().unwrap()],
        vec!["10.0.0.7".parse().unwrap(), open],
        vec![],
    ];
    let (asked, count) = (Arc::new(AtomicUsize::new(0)), answers.len());
    let asking = Arc::clone(&asked);
    let lookup: Lookup = Arc::new(move |name| {
        assert_eq!(name, "rebinds.example.com");
        let answer = answers[asking.fetch_add(1, Ordering::SeqCst) % count].clone();
        async move { Ok(answer) }.boxed()
    });
    let sender = HttpSender::looking_up(Reach::Internet, lookup);
    let url = "https://rebinds.example.com/hook";
    assert_eq!(sender.check(url).unwrap(), url, "a name may be given");
    for number in 1..=count {
        let sent = sender.send(message(url)).await;
        assert!(matches!(sent, Sent::Forbidden(_)), "{number}: {sent:?}");
        // Looked up once a try: what was checked is what is dialled.
        assert_eq!(asked.load(Ordering::SeqCst), number);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn for_trials_a_name_of_this_machine_is_dialled_and_others_are_not() {
    rivulet::tls::install();
    let receiver = crate::support::receiver::Receiver::start(|_, _| {
        crate::support::receiver::Reply::Status(202)
    })
    .await;
    let sender = HttpSender::new(Reach::AlsoLoopback);
    let url = receiver.url("/hook");
    assert_eq!(sender.send(message(&url)).await, Sent::Answered(202));
    let by_name = url.replace("127.0.0.1", "localhost");
    assert_eq!(sender.send(message(&by_name)).await, Sent::Answered(202));
    for url in [
        "http://10.0.0.1/",
        "http://example.com/",
        "https://[fd00::1]/",
    ] {
        let sent = sender.send(message(url)).await;
        assert!(matches!(sent, Sent::Forbidden(_)), "{url}: {sent:?}");
    }
    let seen = receiver.seen();
    assert_eq!((seen.len(), seen[0].header("webhook-id")), (2, "7"));
}
