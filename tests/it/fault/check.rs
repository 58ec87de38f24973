//! What must be so after a restart, whatever the server died of.

use std::collections::BTreeSet;
use std::path::Path;

use reqwest::{Client, Method};
use rivulet::engine::sha256_hex;
use serde_json::Value;

use super::work::{Job, Known, Step, Thing, Work, id_of, values};
use crate::support::child::Child;
use crate::support::sse::{Frame, Stream, rebuild};

/// Starts the server on the folder and holds everything against what the client knows; gives how
/// many files without a row there were.
pub async fn restarted(data: &Path, known: &Known) -> u64 {
    let mut child = Child::start(data, "", |_| {}).await;
    let made = child.say("key local").await.unwrap();
    let mut work = Work {
        child,
        client: Client::builder().no_proxy().build().unwrap(),
        key: made.split_once(' ').map(|(_, text)| text.to_owned()),
        known: known.clone(),
    };
    // Before anything is asked for again, which would mend some of it.
    check_documents(&work).await;
    let mut live = (0, 0);
    for (key, job) in &known.jobs {
        match job.delete {
            Step::Not => {
                check_job(&work, key, job).await;
                live = (live.0 + 1, live.1 + 1);
            }
            Step::Asked => live.1 += 1,
            Step::Acknowledged => {
                let id = job.id.as_ref().unwrap();
                assert_eq!(get(&work, &format!("/jobs/{id}")).await.0, 404, "{key}");
            }
        }
    }
    let (_, list) = get(&work, "/jobs?limit=1").await;
    let count = list["total_count"].as_u64().unwrap();
    assert!((live.0..=live.1).contains(&count), "{count} jobs: {list}");
    for (id, schema) in &known.schemas {
        let (status, body) = get(&work, &format!("/schemas/{id}")).await;
        assert_there(known, schema, status);
        if status == 200 {
            let name = body["name"].as_str().unwrap();
            assert!(name == schema.text || schema.next.as_deref() == Some(name));
        }
    }
    check_keys(&mut work).await;
    let orphans = check_files(&mut work, data).await;
    work.stop().await.unwrap();
    assert!(!work.child.died().await);
    orphans
}

async fn get(work: &Work, path: &str) -> (u16, Value) {
    let answer = work.request(Method::GET, path).send().await.unwrap();
    let status = answer.status().as_u16();
    (status, answer.json().await.unwrap())
}

/// What was kept is there, and what was deleted is not.
fn assert_there(known: &Known, thing: &Thing, status: u16) {
    let may_be = match thing.delete {
        Step::Not if known.swept => [200, 404],
        Step::Not => [200, 200],
        Step::Asked => [200, 404],
        Step::Acknowledged => [404, 404],
    };
    assert!(may_be.contains(&status), "{status}: {thing:?}");
}

/// The whole log of a job that ends; none when it has expired.
async fn log(work: &Work, id: &str) -> Option<Vec<Frame>> {
    let path = format!("/jobs/{id}/events");
    let answer = work.request(Method::GET, &path).send().await.unwrap();
    if answer.status() == 410 {
        assert!(work.known.swept, "a log has expired");
        return None;
    }
    assert_eq!(answer.status(), 200, "an acknowledged job is lost");
    Some(Stream::of(answer).rest().await)
}

async fn check_job(work: &Work, key: &str, job: &Job) {
    let again = work.send(key).await.unwrap();
    if again.status() == 410 {
        assert!(work.known.swept && job.body["stream"] == true, "{key}");
        return;
    }
    let id = id_of(&again);
    assert!(job.id.as_ref().is_none_or(|known| *known == id), "{key}");
    let Some(mut log_now) = log(work, &id).await else {
        return;
    };
    while log_now.last().unwrap().payload()["partial"] == true && job.cancel == Step::Not {
        let path = format!("/jobs/{id}/retry");
        let retried = work.request(Method::POST, &path).send().await.unwrap();
        assert_eq!(retried.status(), 202, "{key}");
        log_now = log(work, &id).await.unwrap();
    }
    assert_runs(&log_now);
    assert_eq!(log_now[..job.seen.len()], job.seen, "what was shown stays");
    let end = log_now.last().unwrap().payload();
    let expected = match job.cancel {
        Step::Not => ["completed"; 2],
        Step::Asked => ["completed", "cancelled"],
        Step::Acknowledged => ["cancelled"; 2],
    };
    let status = end["status"].as_str().unwrap();
    assert!(expected.contains(&status), "{key}: {end}");
    if status == "completed" {
        let expected = values(&job.body["schema"]);
        assert_eq!(rebuild(&log_now), expected, "{key}");
        let (_, results) = get(work, &format!("/jobs/{id}/results")).await;
        assert_eq!(results["results"], expected, "{key}");
    }
    let given = work.child.given();
    for frame in job.seen.iter().filter(|f| f.event == "subtree_result") {
        let settled = frame.payload()["subtree_id"].clone();
        assert!(
            given.iter().all(|given| *given != settled),
            "a finished subtree was asked for again: {settled}"
        );
    }
}

/// Numbers from 1 without gaps; one start; one end a run, and nothing after the last; in each run
/// one outcome a subtree, and one result in all.
fn assert_runs(log: &[Frame]) {
    let numbers: Vec<_> = log.iter().map(Frame::sequence).collect();
    assert_eq!(numbers, (1..=log.len() as u64).collect::<Vec<_>>());
    let starts = log.iter().filter(|frame| frame.event == "start").count();
    assert_eq!((starts, &*log[0].event), (1, "start"));
    assert_eq!(log[log.len() - 1].event, "end");
    let mut results = BTreeSet::new();
    for (index, run) in log
        .split_inclusive(|frame| frame.event == "end")
        .enumerate()
    {
        let begins = run[0].payload();
        assert_eq!(begins["reason"] == "retried", index > 0, "{begins}");
        let mut outcomes = BTreeSet::new();
        for frame in run {
            let id = frame.payload()["subtree_id"].to_string();
            let is_new = match &*frame.event {
                "subtree_error" => outcomes.insert(id),
                "subtree_result" => outcomes.insert(id.clone()) && results.insert(id),
                _ => true,
            };
            assert!(is_new, "two outcomes: {}", frame.data);
        }
    }
}

async fn check_keys(work: &mut Work) {
    let own = work.key.take();
    for key in work.known.keys.clone().into_values() {
        work.key = Some(key.text.clone());
        let (status, body) = get(work, "/jobs").await;
        let may_be = match key.delete {
            Step::Not => [200, 200],
            Step::Asked => [200, 401],
            Step::Acknowledged => [401, 401],
        };
        assert!(may_be.contains(&status), "{status} {body}");
    }
    work.key = own;
}

/// Every document has its bytes; gives the hashes of those.
async fn check_documents(work: &Work) -> BTreeSet<String> {
    for (id, document) in &work.known.documents {
        let path = format!("/documents/{id}/content");
        let answer = work.request(Method::GET, &path).send().await.unwrap();
        assert_there(&work.known, document, answer.status().as_u16());
        if answer.status() == 200 {
            assert_eq!(answer.text().await.unwrap(), document.text);
        }
    }
    let (_, list) = get(work, "/documents?limit=100").await;
    let mut hashes = BTreeSet::new();
    for document in list["documents"].as_array().unwrap() {
        let id = document["document_id"].as_str().unwrap();
        let path = format!("/documents/{id}/content");
        let answer = work.request(Method::GET, &path).send().await.unwrap();
        assert_eq!(answer.status(), 200, "a row without its file");
        hashes.insert(sha256_hex(&answer.bytes().await.unwrap()));
    }
    hashes
}

/// Once files were swept, those of documents are left and no others.
async fn check_files(work: &mut Work, data: &Path) -> u64 {
    let hashes = check_documents(work).await;
    let orphans = work.child.say("sweep_files").await.unwrap();
    for folder in ["documents", "parsed"] {
        let files = std::fs::read_dir(data.join("blobs").join(folder));
        let names = files.into_iter().flatten().map(|file| {
            let name = file.unwrap().file_name().into_string().unwrap();
            name.split('.').next().unwrap().to_owned()
        });
        assert_eq!(names.collect::<BTreeSet<_>>(), hashes, "{folder}");
    }
    orphans.parse().unwrap()
}
