//! `rivulet keys`, beside a server that runs and without one.

use std::process::Output;
use std::time::{Duration, Instant};

use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};

use super::{Bench, text};

fn client() -> Client {
    rivulet::tls::install();
    Client::builder().no_proxy().build().unwrap()
}

/// The key that a command has printed: a line of stdout, and nothing else there.
fn key_of(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let said = text(&output.stdout);
    let key = said.strip_suffix('\n').unwrap();
    assert!(key.starts_with("rvl_") && key.len() == 60, "{said}");
    assert!(!text(&output.stderr).contains(key));
    key.to_owned()
}

fn id_of(key: &str) -> &str {
    &key[4..16]
}

async fn status(request: RequestBuilder) -> u16 {
    request.send().await.unwrap().status().as_u16()
}

/// Asks until the answer has this status, for a second.
async fn soon(url: &str, key: &str, expected: u16) {
    let begun = Instant::now();
    let client = client();
    while status(client.get(url).bearer_auth(key)).await != expected {
        assert!(begun.elapsed() < Duration::from_secs(1), "no {expected}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_made_listed_and_revoked_while_a_server_runs() {
    let bench = Bench::new();
    // Nobody reads its log, so there must not be much of it.
    let serve = ["serve", "--bind", "127.0.0.1:0", "--log", "error"];
    let mut server = bench.start(&serve);
    let jobs = format!("{}/v1/extract/jobs", server.url());
    assert_eq!(status(client().get(&jobs)).await, 200);
    let first = key_of(&bench.run(&["keys", "create"]));
    let created = bench.run(&["keys", "create", "--user", "ada", "--name", "her laptop"]);
    let said = text(&created.stderr);
    let second = key_of(&created);
    let told = said.contains("`ada`") && said.contains(&format!("revoke {}", id_of(&second)));
    assert!(told, "{said}");
    soon(&jobs, "none", 401).await;
    soon(&jobs, &first, 200).await;
    soon(&jobs, &second, 200).await;

    let list = text(&bench.run(&["keys", "list"]).stdout);
    let lines: Vec<_> = list.lines().collect();
    assert!(lines.len() == 3 && lines[0].starts_with("ID "), "{list}");
    assert!(lines[1].starts_with(id_of(&first)) && lines[1].contains(" local "));
    assert!(lines[2].starts_with(id_of(&second)) && lines[2].contains("ada    her laptop"));
    assert!(
        lines[1..].iter().all(|line| line.ends_with("Z  -")),
        "{list}"
    );
    for key in [&first, &second] {
        assert!(!list.contains(&key[17..]), "{list}");
    }

    let revoked = bench.run(&["keys", "revoke", id_of(&first)]);
    assert_eq!(
        (revoked.status.code(), text(&revoked.stdout)),
        (Some(0), String::new())
    );
    soon(&jobs, &first, 401).await;
    assert_eq!(status(client().get(&jobs).bearer_auth(&second)).await, 200);
    let list = text(&bench.run(&["keys", "list"]).stdout);
    assert!(list.lines().nth(1).unwrap().ends_with('Z'), "{list}");
    server.signal("-TERM");
    assert_eq!(server.end().0, Some(0));
}

#[test]
fn an_address_that_others_reach_is_served_only_with_a_key() {
    let bench = Bench::new();
    let serve = ["serve", "--bind", "0.0.0.0:0", "--data", "d"];
    // Started and not run: a server that serves after all would never come back.
    let refused = || {
        let mut server = bench.start(&serve);
        let mut line = String::new();
        std::io::BufRead::read_line(&mut server.lines, &mut line).unwrap();
        assert_eq!(line, "");
        let mut error = String::new();
        let stderr = server.child.stderr.as_mut().unwrap();
        std::io::Read::read_to_string(stderr, &mut error).unwrap();
        assert_eq!(server.end().0, Some(2), "{error}");
        let says_how = error.contains("rivulet keys create --user NAME --data d");
        assert!(says_how && error.contains("flag --bind"), "{error}");
    };
    refused();
    assert!(!bench.folder.path().join("d").exists());
    let key = key_of(&bench.run(&["keys", "create", "--data", "d"]));
    bench.start(&serve).url();
    bench.run(&["keys", "revoke", id_of(&key), "--data", "d"]);
    refused();
}

#[test]
fn what_cannot_be_done_with_keys_is_said_and_nothing_is_made() {
    let bench = Bench::new();
    let secret = "A".repeat(43);
    let key = format!("rvl_000000000000_{secret}");
    let cases: [(&[&str], i32, &str); 10] = [
        (&["list"], 0, "no keys in `./rivulet-data`"),
        (&["revoke", "000000000000"], 2, "no key `000000000000`"),
        (&["revoke", &key], 2, "between `rvl_` and the next `_`"),
        (
            &["create", "--user", "a b"],
            2,
            "`a b` cannot be the name of a user",
        ),
        (&["create", "--user", ""], 2, "1 to 64"),
        (&["create", "--name", "a\nb"], 2, "at most 100 characters"),
        (
            &["create", "--max-active-jobs", "0"],
            2,
            "`0` cannot be a limit",
        ),
        (&["limit", "000000000000", "2"], 2, "no key `000000000000`"),
        (&["limit", &key, "2"], 2, "between `rvl_` and the next `_`"),
        (
            &["limit", "000000000000", "all"],
            2,
            "1 to 10000, or `default`",
        ),
    ];
    for (arguments, code, what) in cases {
        let output = bench.run(&[&["keys"], arguments].concat());
        assert_eq!(output.status.code(), Some(code), "{arguments:?}");
        let error = text(&output.stderr);
        assert!(error.contains(what) && !error.contains(&secret), "{error}");
        assert_eq!(text(&output.stdout), "");
        let list = text(&bench.run(&["keys", "list"]).stdout);
        assert_eq!(list, "", "{arguments:?}");
    }
}

/// The column JOBS of the only key.
fn limit_in_list(bench: &Bench) -> String {
    let list = text(&bench.run(&["keys", "list"]).stdout);
    let lines: Vec<_> = list.lines().collect();
    assert_eq!(lines.len(), 2, "{list}");
    let at = lines[0].find("JOBS").unwrap();
    let cell = lines[1][at..].split_whitespace().next();
    cell.unwrap().to_owned()
}

#[test]
fn a_key_is_made_with_a_limit_of_active_jobs_which_is_listed_and_changed() {
    let bench = Bench::new();
    let created = bench.run(&["keys", "create", "--max-active-jobs", "2"]);
    let key = key_of(&created);
    let id = id_of(&key);
    assert_eq!(limit_in_list(&bench), "2");
    for (limit, listed, said) in [
        ("20", "20", "20 active jobs"),
        ("1", "1", "1 active job."),
        ("default", "default", "max_active_jobs"),
    ] {
        let limited = bench.run(&["keys", "limit", id, limit]);
        let error = text(&limited.stderr);
        assert_eq!(limited.status.code(), Some(0), "{error}");
        assert!(error.contains(said) && error.contains(id), "{error}");
        assert_eq!(limit_in_list(&bench), listed);
    }
    for bad in ["0", "10001"] {
        let refused = bench.run(&["keys", "limit", id, bad]);
        assert_eq!(refused.status.code(), Some(2));
        let error = text(&refused.stderr);
        assert!(error.contains("1 to 10000"), "{error}");
    }
    assert_eq!(limit_in_list(&bench), "default");
}

#[test]
fn list_limit_and_revoke_make_no_folder() {
    let bench = Bench::new();
    bench.run(&["keys", "list"]);
    bench.run(&["keys", "revoke", "000000000000"]);
    bench.run(&["keys", "limit", "000000000000", "2"]);
    assert!(!bench.folder.path().join("rivulet-data").exists());
}

/// Everything a client may do with a key and a ticket, good ones and bad ones.
async fn use_everything(url: &str, key: &str) -> Vec<String> {
    let (client, base) = (client(), format!("{url}/v1/extract"));
    let send = |method: Method, path: &str| client.request(method, format!("{base}{path}"));
    let body = json!({"document": "Total: 5 EUR", "schema": {"type": "object", "properties": {"total": {"type": "number"}}}, "stream": true});
    let stream = send(Method::POST, "/jobs").bearer_auth(key).json(&body);
    let stream = stream.send().await.unwrap();
    let job = stream.headers()["x-job-id"].to_str().unwrap().to_owned();
    assert!(stream.text().await.unwrap().contains("event: end"));
    let path = format!("/jobs/{job}/stream-ticket");
    let ticket: Value = send(Method::POST, &path)
        .header("X-API-Key", key)
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let ticket = ticket["ticket"].as_str().unwrap().to_owned();
    let signature = ticket.rsplit('.').next().unwrap().to_owned();
    let wrong_key = format!("{}QQQQ", &key[..56]);
    let wrong_ticket = format!("{}QQQQ", &ticket[..ticket.len() - 4]);
    let events = format!("/jobs/{job}/events?ticket=");
    for (expected, request) in [
        (200, send(Method::GET, &format!("{events}{ticket}"))),
        (204, send(Method::GET, &format!("{events}{ticket}&after=4"))),
        (400, send(Method::GET, &format!("{events}{ticket}&after=x"))),
        (
            406,
            send(Method::GET, &format!("{events}{ticket}")).header("Accept", "image/png"),
        ),
        (401, send(Method::GET, &format!("{events}{wrong_ticket}"))),
        (401, send(Method::GET, &format!("/jobs?ticket={ticket}"))),
        (
            405,
            send(Method::PUT, &format!("{events}{ticket}")).bearer_auth(key),
        ),
        (
            404,
            send(Method::GET, &format!("/nothing?ticket={ticket}")).bearer_auth(key),
        ),
        (401, send(Method::GET, "/jobs").bearer_auth(&wrong_key)),
        (
            401,
            send(Method::GET, "/jobs").header("Api-Key", &wrong_key),
        ),
    ] {
        assert_eq!(status(request).await, expected);
    }
    vec![
        key[17..].into(),
        signature,
        wrong_key[17..].into(),
        wrong_ticket,
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_key_and_no_ticket_is_ever_in_the_log() {
    for format in ["text", "json"] {
        let bench = Bench::new();
        let key = key_of(&bench.run(&["keys", "create", "--user", "ada"]));
        let serve = [
            "serve",
            "--bind",
            "127.0.0.1:0",
            "--log",
            "trace",
            "--log-format",
            format,
        ];
        let mut server = bench.start(&serve);
        let mut stderr = server.child.stderr.take().unwrap();
        let log = std::thread::spawn(move || {
            let mut log = String::new();
            std::io::Read::read_to_string(&mut stderr, &mut log).unwrap();
            log
        });
        let url = server.url();
        let secrets = use_everything(&url, &key).await;
        server.signal("-TERM");
        assert_eq!(server.end().0, Some(0));
        let log = log.join().unwrap();
        assert!(
            log.contains("http.answered") && log.contains("TRACE"),
            "{log}"
        );
        for secret in secrets {
            assert!(!log.contains(&secret), "{secret} in {log}");
        }
        assert!(!log.contains("ticket="), "{log}");
    }
}
