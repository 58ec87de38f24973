//! Endpoints, and what is told of the ends of jobs.

use std::sync::Arc;
use std::time::Duration;

use rivulet::domain::id::{JobId, Scope, WebhookId};
use rivulet::domain::webhook::{DeliveryState, Secret, Topic, notice_to};
use rivulet::engine::ports::{
    About, Attempt, Committed, Delivery, DisabledBy, Due, Reopen, Reopened, StoredWebhook,
};
use serde_json::Value;

use super::bed::{
    Bed, LEASE, MINUTE, RETENTION_MS, START, caller, cancelled, error, result, scope, settled,
    whole_list,
};

const CALLBACK: &str = "https://callback.example/done?token=1";

fn endpoint(bed: &Bed, url: &str, topics: &[Topic]) -> StoredWebhook {
    StoredWebhook {
        id: WebhookId(bed.id()),
        url: url.into(),
        description: Some("Of a test".into()),
        topics: topics.to_vec(),
        secret: Secret::new(vec![1; 32]).unwrap(),
        old_secret: None,
        disabled: None,
        created_at: START,
    }
}

async fn registered(bed: &Bed, url: &str) -> StoredWebhook {
    let webhook = endpoint(bed, url, &Topic::ALL);
    let inserted = bed.store.insert_webhook(&scope(), webhook.clone(), 100);
    assert!(inserted.await.unwrap());
    webhook
}

/// A job that has begun, to be called back.
async fn begun(bed: &Bed) -> (JobId, rivulet::engine::ports::Guard) {
    let document = bed.document(&scope(), "invoice.pdf").await;
    let mut job = bed.job(&scope(), &document, 1);
    Arc::make_mut(&mut job.view.spec).callback_url = Some(CALLBACK.into());
    let id = bed.store_job(job).await;
    let claimed = bed.claim("worker", 1_000).await;
    let claim = claimed.iter().find(|claim| claim.view.id == id).unwrap();
    let guard = rivulet::engine::ports::Guard::Lease { epoch: claim.epoch };
    bed.commit(id, &guard, vec![super::bed::begin()]).await;
    (id, guard)
}

async fn ended(bed: &Bed) -> JobId {
    let (job, guard) = begun(bed).await;
    bed.commit(job, &guard, vec![result(0), settled()]).await;
    job
}

async fn told(bed: &Bed, job: JobId) -> Vec<Delivery> {
    let page = bed
        .store
        .deliveries(&scope(), About::Job(job), whole_list());
    page.await.unwrap().items
}

async fn due(bed: &Bed) -> Vec<Due> {
    bed.store
        .take_due(LEASE, 100, 100, Vec::new())
        .await
        .unwrap()
}

fn attempt(due: &Due, state: DeliveryState, status: u16) -> Attempt {
    Attempt {
        id: due.id,
        before: due.attempts,
        state,
        status: Some(status),
        error: None,
        pause: None,
        is_gone: false,
    }
}

pub async fn the_end_of_a_job_is_told_to_those_who_want_to_hear_of_it(bed: Bed) {
    let all = registered(&bed, "https://all.example/").await;
    let failures = endpoint(&bed, "https://failures.example/", &[Topic::Failed]);
    let mut off = endpoint(&bed, "https://off.example/", &Topic::ALL);
    off.disabled = Some(DisabledBy::User);
    for one in [&failures, &off] {
        let inserted = bed.store.insert_webhook(&scope(), one.clone(), 100);
        assert!(inserted.await.unwrap());
    }
    let foreign = endpoint(&bed, "https://foreign.example/", &Topic::ALL);
    let inserted = bed.store.insert_webhook(&Scope::new("eve"), foreign, 100);
    assert!(inserted.await.unwrap());
    let (job, guard) = begun(&bed).await;
    assert!(told(&bed, job).await.is_empty());
    bed.clock.set(START.plus_millis(5));
    let view = bed.commit(job, &guard, vec![result(0), settled()]).await;

    let told = told(&bed, job).await;
    let mut urls: Vec<_> = told.iter().map(|one| (one.webhook, &*one.url)).collect();
    urls.sort();
    assert_eq!(
        urls,
        [(None, CALLBACK), (Some(all.id), "https://all.example/")]
    );
    for one in &told {
        assert_eq!((one.job, one.topic), (job, Topic::Completed));
        assert_eq!((one.state, one.attempts), (DeliveryState::Pending, 0));
        assert_eq!(one.next_attempt_at, Some(START.plus_millis(5)));
        assert_eq!((one.last_status, one.last_attempt_at), (None, None));
    }
    let due = due(&bed).await;
    assert_eq!(due.len(), 2);
    for one in &due {
        let body: Value = serde_json::from_str(&one.body).unwrap();
        assert_eq!(body["type"], "job.completed");
        assert_eq!(body["timestamp"], view.ended_at.unwrap().to_string());
        assert_eq!(body["data"]["job_id"], job.to_string());
        assert_eq!(body["data"]["status"], "completed");
        assert_eq!(body["data"]["partial"], false);
        assert!(!one.body.contains("xxx"), "no values: {}", one.body);
        assert_eq!(one.scope, scope());
    }
    let of_all = due.iter().find(|one| one.webhook_id.is_some()).unwrap();
    assert_eq!(of_all.webhook, Some(all));
    assert!(
        due.iter()
            .any(|one| one.webhook.is_none() && one.url == CALLBACK)
    );
    assert_ne!(due[0].id, due[1].id);

    // Cancelled by its caller, and failed.
    let (job, _) = begun(&bed).await;
    bed.commit(job, &caller(&scope()), vec![cancelled()]).await;
    let told_of = self::told(&bed, job).await;
    assert!(told_of.iter().all(|one| one.topic == Topic::Cancelled));
    assert_eq!(told_of.len(), 2);
    let (job, guard) = begun(&bed).await;
    bed.commit(job, &guard, vec![error(0), settled()]).await;
    let told_of = self::told(&bed, job).await;
    assert!(told_of.iter().all(|one| one.topic == Topic::Failed));
    assert!(told_of.iter().any(|one| one.webhook == Some(failures.id)));
    assert_eq!(told_of.len(), 3);
}

pub async fn a_commit_that_is_refused_puts_nothing_into_the_outbox(bed: Bed) {
    registered(&bed, "https://all.example/").await;
    let (job, guard) = begun(&bed).await;
    let refused = bed.try_commit(job, &guard, vec![result(0), settled(), settled()]);
    assert!(matches!(refused.await, Committed::Refused { .. }));
    assert!(told(&bed, job).await.is_empty());
    assert!(due(&bed).await.is_empty());
}

pub async fn a_delivery_is_taken_by_one_and_after_the_lease_by_another(bed: Bed) {
    let job = ended(&bed).await;
    let first = due(&bed).await;
    assert_eq!(first.len(), 1);
    assert!(due(&bed).await.is_empty());
    bed.clock.set(START.plus_millis(MINUTE));
    assert!(due(&bed).await.is_empty());
    bed.clock.set(START.plus_millis(MINUTE + 1));
    let second = due(&bed).await;
    assert_eq!(first, second, "one id and one body");
    // What the first one says now still counts, since nobody said anything before.
    let delivered = attempt(&first[0], DeliveryState::Delivered, 200);
    bed.store.record(delivered).await.unwrap();
    let failed = Attempt {
        pause: Some(Duration::from_secs(5)),
        ..attempt(&second[0], DeliveryState::Pending, 500)
    };
    bed.store.record(failed).await.unwrap();
    let told = told(&bed, job).await;
    assert_eq!(told[0].state, DeliveryState::Delivered);
    assert_eq!((told[0].attempts, told[0].last_status), (1, Some(200)));
}

pub async fn takers_at_once_get_each_delivery_once(bed: Bed) {
    registered(&bed, "https://one.example/").await;
    for _ in 0..10 {
        ended(&bed).await;
    }
    let takers = (0..8).map(|_| bed.store.take_due(LEASE, 100, 3, Vec::new()));
    let taken = futures_util::future::join_all(takers).await;
    let mut ids: Vec<_> = taken
        .into_iter()
        .flat_map(|taken| taken.unwrap())
        .map(|due| due.id)
        .collect();
    ids.extend(due(&bed).await.into_iter().map(|due| due.id));
    assert_eq!(ids.len(), 20);
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 20, "each once");
}

pub async fn a_receiver_gets_no_more_at_once_than_its_part_and_holds_up_no_other(bed: Bed) {
    let slow = registered(&bed, "https://slow.example/").await;
    for number in 0..6 {
        bed.clock.set(START.plus_millis(number));
        ended(&bed).await;
    }
    let receiver = slow.id.to_string();
    let taken = bed.store.take_due(LEASE, 100, 4, Vec::new()).await.unwrap();
    let of_slow = taken.iter().filter(|one| one.receiver == receiver);
    assert_eq!((of_slow.count(), taken.len()), (4, 8));
    let busy = vec![(receiver.clone(), 4), ("callback.example alice".into(), 3)];
    let taken = bed.store.take_due(LEASE, 100, 4, busy).await.unwrap();
    assert_eq!(taken.len(), 1, "{taken:?}");
    assert_eq!(taken[0].url, CALLBACK);
    let busy = vec![(receiver, 3)];
    let taken = bed.store.take_due(LEASE, 2, 4, busy).await.unwrap();
    let urls: Vec<_> = taken.iter().map(|one| &*one.url).collect();
    // Whoever has the least under way goes first.
    assert_eq!(urls, [CALLBACK, "https://slow.example/"]);
}

pub async fn a_try_is_recorded_once_and_the_next_one_comes_after_its_pause(bed: Bed) {
    let job = ended(&bed).await;
    let taken = due(&bed).await;
    bed.clock.set(START.plus_millis(10));
    let failed = Attempt {
        pause: Some(Duration::from_secs(5)),
        ..attempt(&taken[0], DeliveryState::Pending, 500)
    };
    for _ in 0..2 {
        bed.store.record(failed.clone()).await.unwrap();
    }
    let one = told(&bed, job).await.remove(0);
    assert_eq!((one.state, one.attempts), (DeliveryState::Pending, 1));
    assert_eq!(one.last_status, Some(500));
    assert_eq!(one.last_attempt_at, Some(START.plus_millis(10)));
    assert_eq!(one.next_attempt_at, Some(START.plus_millis(5_010)));
    bed.clock.set(START.plus_millis(5_009));
    assert!(due(&bed).await.is_empty());
    bed.clock.set(START.plus_millis(5_010));
    let again = due(&bed).await;
    assert_eq!((again[0].id, &again[0].body), (taken[0].id, &taken[0].body));
    assert_eq!(again[0].attempts, 1);
    let unreached = Attempt {
        status: None,
        error: Some("The receiver did not answer.".into()),
        ..attempt(&again[0], DeliveryState::Failed, 0)
    };
    bed.store.record(unreached).await.unwrap();
    let one = told(&bed, job).await.remove(0);
    assert_eq!((one.state, one.attempts), (DeliveryState::Failed, 2));
    assert_eq!((one.last_status, one.next_attempt_at), (None, None));
    assert_eq!(
        one.last_error.as_deref(),
        Some("The receiver did not answer.")
    );
    bed.clock.set(START.plus_millis(100 * MINUTE));
    assert!(due(&bed).await.is_empty());
}

pub async fn a_receiver_that_is_gone_disables_its_endpoint_and_what_is_pending(bed: Bed) {
    let webhook = registered(&bed, "https://gone.example/").await;
    let other = registered(&bed, "https://other.example/").await;
    let jobs = [ended(&bed).await, ended(&bed).await];
    let taken = due(&bed).await;
    let of_it = taken.iter().find(|one| one.webhook_id == Some(webhook.id));
    let gone = Attempt {
        is_gone: true,
        ..attempt(of_it.unwrap(), DeliveryState::Disabled, 410)
    };
    bed.store.record(gone).await.unwrap();
    let found = bed.store.webhook(&scope(), webhook.id).await.unwrap();
    assert_eq!(found.unwrap().disabled, Some(DisabledBy::Receiver));
    let found = bed.store.webhook(&scope(), other.id).await.unwrap();
    assert_eq!(found.unwrap().disabled, None);
    let page = bed
        .store
        .deliveries(&scope(), About::Webhook(webhook.id), whole_list());
    let page = page.await.unwrap();
    assert_eq!(page.total_count, 2);
    assert!(
        page.items
            .iter()
            .all(|one| one.state == DeliveryState::Disabled)
    );
    let tried: Vec<_> = page.items.iter().map(|one| one.attempts).collect();
    assert_eq!(tried.iter().sum::<u32>(), 1);
    bed.clock.set(START.plus_millis(100 * MINUTE));
    let left = due(&bed).await;
    assert!(left.iter().all(|one| one.webhook_id != Some(webhook.id)));
    assert_eq!(left.len(), 2 * jobs.len());
    let job = ended(&bed).await;
    assert_eq!(
        told(&bed, job).await.len(),
        2,
        "the other one and the callback"
    );
}

pub async fn an_endpoint_is_changed_disabled_and_deleted(bed: Bed) {
    let first = registered(&bed, "https://one.example/").await;
    let second = registered(&bed, "https://two.example/").await;
    let listed = bed.store.webhooks(&scope()).await.unwrap();
    assert_eq!(listed, [second.clone(), first.clone()], "the newest first");
    let changed = StoredWebhook {
        url: "https://three.example/".into(),
        description: None,
        topics: vec![Topic::Failed, Topic::Cancelled],
        ..first.clone()
    };
    let job = ended(&bed).await;
    assert!(
        bed.store
            .update_webhook(&scope(), changed.clone())
            .await
            .unwrap()
    );
    let found = bed.store.webhook(&scope(), first.id).await.unwrap();
    assert_eq!(found, Some(changed.clone()));
    let taken = due(&bed).await;
    let now = taken.iter().find(|one| one.webhook_id == Some(first.id));
    assert_eq!(now.unwrap().webhook, Some(changed.clone()), "as it is now");
    let off = StoredWebhook {
        disabled: Some(DisabledBy::User),
        ..changed
    };
    assert!(
        bed.store
            .update_webhook(&scope(), off.clone())
            .await
            .unwrap()
    );
    assert!(bed.store.delete_webhook(&scope(), second.id).await.unwrap());
    assert!(!bed.store.delete_webhook(&scope(), second.id).await.unwrap());
    assert!(
        !bed.store
            .update_webhook(&scope(), second.clone())
            .await
            .unwrap()
    );
    assert_eq!(bed.store.webhooks(&scope()).await.unwrap(), [off]);
    let states = told(&bed, job)
        .await
        .into_iter()
        .map(|one| (one.webhook, one.state));
    let mut states: Vec<_> = states.collect();
    states.sort_by_key(|(webhook, _)| *webhook);
    let disabled = DeliveryState::Disabled;
    let pending = (None, DeliveryState::Pending);
    assert_eq!(
        states,
        [
            pending,
            (Some(first.id), disabled),
            (Some(second.id), disabled)
        ]
    );
    bed.clock.set(START.plus_millis(100 * MINUTE));
    assert_eq!(due(&bed).await.len(), 1);
}

pub async fn a_new_secret_leaves_the_one_of_before(bed: Bed) {
    let webhook = registered(&bed, "https://one.example/").await;
    let (scope, until) = (scope(), START.plus_millis(MINUTE));
    let fresh = |byte| Secret::new(vec![byte; 32]).unwrap();
    for (byte, old) in [(2, 1), (3, 2)] {
        let rotated = bed
            .store
            .rotate_secret(&scope, webhook.id, fresh(byte), until);
        let rotated = rotated.await.unwrap().unwrap();
        assert_eq!(rotated.secret, fresh(byte));
        assert_eq!(rotated.old_secret, Some((fresh(old), until)));
        let found = bed.store.webhook(&scope, webhook.id).await.unwrap();
        assert_eq!(found, Some(rotated));
    }
    // A change of anything else leaves the secrets alone, whatever it was made from.
    assert!(
        bed.store
            .update_webhook(&scope, webhook.clone())
            .await
            .unwrap()
    );
    let found = bed
        .store
        .webhook(&scope, webhook.id)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(found.secret, fresh(3));
    let nobody = WebhookId(bed.id());
    let rotated = bed.store.rotate_secret(&scope, nobody, fresh(4), until);
    assert_eq!(rotated.await.unwrap(), None);
}

pub async fn a_scope_has_no_more_endpoints_than_its_limit(bed: Bed) {
    let (scope, eve) = (scope(), Scope::new("eve"));
    let insert = |scope: &Scope| {
        let webhook = endpoint(&bed, "https://one.example/", &Topic::ALL);
        bed.store.insert_webhook(scope, webhook, 3)
    };
    let all = (0..10).map(|_| insert(&scope));
    let all = futures_util::future::join_all(all).await;
    let stored = all
        .into_iter()
        .filter(|inserted| *inserted.as_ref().unwrap());
    assert_eq!(stored.count(), 3);
    assert_eq!(bed.store.webhooks(&scope).await.unwrap().len(), 3);
    assert!(insert(&eve).await.unwrap());
}

pub async fn the_webhooks_of_another_scope_are_not_there(bed: Bed) {
    let webhook = registered(&bed, "https://one.example/").await;
    let job = ended(&bed).await;
    let eve = Scope::new("eve");
    let (id, store) = (webhook.id, &bed.store);
    assert_eq!(store.webhook(&eve, id).await.unwrap(), None);
    assert!(store.webhooks(&eve).await.unwrap().is_empty());
    let mut off = webhook.clone();
    off.disabled = Some(DisabledBy::User);
    assert!(!store.update_webhook(&eve, off).await.unwrap());
    let fresh = Secret::new(vec![9; 32]).unwrap();
    let rotated = store.rotate_secret(&eve, id, fresh, START);
    assert_eq!(rotated.await.unwrap(), None);
    assert!(!store.delete_webhook(&eve, id).await.unwrap());
    for about in [About::Job(job), About::Webhook(id)] {
        let page = store.deliveries(&eve, about, whole_list()).await.unwrap();
        assert_eq!((page.total_count, page.items.len()), (0, 0));
    }
    assert_eq!(store.webhook(&scope(), id).await.unwrap(), Some(webhook));
    assert_eq!(due(&bed).await.len(), 2, "nothing was disabled");
}

pub async fn a_message_by_hand_is_due_at_once_beside_the_others_and_only_of_a_job_that_is_there(
    bed: Bed,
) {
    let job = ended(&bed).await;
    let view = bed.store.view(&scope(), job).await.unwrap().unwrap();
    let by_hand = || notice_to(&scope(), &view, "https://now.example/", bed.id()).unwrap();
    assert!(bed.store.post(&scope(), by_hand(), &view).await.unwrap());
    let mut urls: Vec<_> = due(&bed).await.into_iter().map(|due| due.url).collect();
    urls.sort();
    assert_eq!(urls, [CALLBACK, "https://now.example/"]);
    let eve = Scope::new("eve");
    assert!(!bed.store.post(&eve, by_hand(), &view).await.unwrap());
    bed.store.delete(&scope(), job).await.unwrap();
    assert!(!bed.store.post(&scope(), by_hand(), &view).await.unwrap());
    assert!(told(&bed, job).await.is_empty());
}

pub async fn deliveries_go_with_their_job_and_with_its_log(bed: Bed) {
    registered(&bed, "https://one.example/").await;
    let (deleted, swept) = (ended(&bed).await, ended(&bed).await);
    bed.store.delete(&scope(), deleted).await.unwrap();
    assert!(told(&bed, deleted).await.is_empty());
    assert_eq!(told(&bed, swept).await.len(), 2);
    let late = START.plus_millis(RETENTION_MS);
    while bed.store.sweep(late, 100).await.unwrap() > 0 {}
    assert!(told(&bed, swept).await.is_empty());
    assert!(due(&bed).await.is_empty());
}

pub async fn a_job_that_was_retried_is_told_of_again(bed: Bed) {
    let (job, guard) = begun(&bed).await;
    let view = bed.commit(job, &guard, vec![error(0), settled()]).await;
    let reopened = bed.store.reopen(Reopen {
        scope: scope(),
        job,
        at_sequence: view.sequence,
        failed_fields: 2,
        incomplete: Vec::new(),
        active_limit: 10,
        queue_limit: 10,
    });
    assert!(matches!(reopened.await.unwrap(), Reopened::Stored { .. }));
    let claimed = bed.claim("worker", 1).await.remove(0);
    let guard = rivulet::engine::ports::Guard::Lease {
        epoch: claimed.epoch,
    };
    let drafts = vec![super::bed::begin(), result(0), settled()];
    bed.clock.set(START.plus_millis(7));
    bed.commit(job, &guard, drafts).await;
    let told = told(&bed, job).await;
    let topics: Vec<_> = told.iter().map(|one| one.topic).collect();
    assert_eq!(
        topics,
        [Topic::Completed, Topic::Failed],
        "the newest first"
    );
    assert_ne!(told[0].id, told[1].id);
}
