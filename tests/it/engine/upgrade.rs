//! Data folders of earlier versions. Each fixture is a backup that was taken while one job had
//! ended, one was in the middle and one waited; a released version's fixture is never changed.

use std::sync::Arc;

use serde_json::json;

use crate::support::app::{TestApp, file};
use crate::support::provider::{Scripted, Server};
use crate::support::sse::{assert_lawful, rebuild};

struct Fixture {
    file: &'static str,
    ended: &'static str,
    half: &'static str,
    waiting: &'static str,
}

const FIXTURES: [Fixture; 1] = [Fixture {
    file: "tests/fixtures/data/0.1.0.tar",
    ended: "01a20151-1c0b-7761-b44e-1f718bc7bb37",
    half: "01a20151-1ce7-7085-94ed-0c1354b93771",
    waiting: "01a20151-1d0d-7140-9a87-1057dd1f8f3a",
}];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn folders_of_every_version_open_and_their_jobs_go_on() {
    for fixture in FIXTURES {
        let folder = tempfile::tempdir().unwrap();
        tar::Archive::new(&file(fixture.file)[..])
            .unpack(folder.path().join("data"))
            .unwrap();
        let model = Scripted::plain();
        let app = TestApp::on(folder)
            .provider(Arc::new(Server(model.clone())))
            .run()
            .await;
        let half = app.follow(fixture.half, None).await.rest().await;
        assert_lawful(&half);
        let end = half.last().unwrap().payload();
        assert_eq!(
            (&end["status"], &end["subtrees_succeeded"]),
            (&json!("completed"), &json!(4))
        );
        let results = app.results(fixture.half).await.body;
        assert_eq!(rebuild(&half), results["results"]);
        assert_eq!(app.end_of(fixture.waiting).await["status"], "completed");
        // Three that were left of one job, and the only one of the other.
        let mut asked = model.asked();
        asked.sort();
        assert_eq!(asked.len(), 4, "{asked:?}");
        assert_eq!(
            asked.iter().filter(|id| *id == "part_000").count(),
            1,
            "{asked:?}"
        );

        let ended = app.results(fixture.ended).await.body;
        assert_eq!(ended["status"], "completed");
        assert_eq!(ended["results"]["part_001"]["a"], "/part_001/a");
    }
}
