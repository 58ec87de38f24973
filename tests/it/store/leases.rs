//! Who works on which job, and whose writes count.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use rivulet::domain::event::Kind;
use rivulet::domain::id::{JobId, Scope};
use rivulet::domain::status::Status;
use rivulet::engine::ports::{Claimed, Commit, Committed, Guard, Release};

use super::bed::{Bed, LEASE, MINUTE, START, begin, caller, cancelled, result, scope, settled};

fn ids(claimed: &[Claimed]) -> Vec<JobId> {
    claimed.iter().map(|claim| claim.view.id).collect()
}

fn lease(claim: &Claimed) -> Guard {
    Guard::Lease { epoch: claim.epoch }
}

pub async fn claims_of_parallel_workers_are_disjoint(bed: Bed) {
    let document = bed.document(&scope(), "invoice.pdf").await;
    let mut waiting = HashSet::new();
    for _ in 0..40 {
        waiting.insert(bed.store_job(bed.job(&scope(), &document, 1)).await);
    }
    let workers: Vec<_> = (0..8)
        .map(|worker| {
            let store = Arc::clone(&bed.store);
            tokio::spawn(async move {
                let owner = format!("worker-{worker}");
                let mut mine = Vec::new();
                loop {
                    let claimed = store.claim(&owner, LEASE, 3).await.unwrap();
                    assert!(claimed.len() <= 3);
                    if claimed.is_empty() {
                        return mine;
                    }
                    mine.extend(ids(&claimed));
                }
            })
        })
        .collect();
    let mut claimed = Vec::new();
    for worker in workers {
        claimed.extend(worker.await.unwrap());
    }
    assert_eq!(claimed.len(), 40);
    assert_eq!(claimed.into_iter().collect::<HashSet<_>>(), waiting);
}

pub async fn the_scope_served_longest_ago_goes_first(bed: Bed) {
    let (flood, quiet, late) = (scope(), Scope::new("quiet"), Scope::new("late"));
    for _ in 0..6 {
        bed.stored(&flood, 1).await;
    }
    for _ in 0..2 {
        bed.stored(&quiet, 1).await;
    }
    let served = |claimed: &[Claimed]| -> Vec<String> {
        claimed
            .iter()
            .map(|claim| claim.scope.as_str().to_owned())
            .collect()
    };
    // In one claim and over several, the turns go round.
    assert_eq!(
        served(&bed.claim("worker", 3).await),
        ["alice", "quiet", "alice"]
    );
    assert_eq!(served(&bed.claim("worker", 1).await), ["quiet"]);
    assert_eq!(served(&bed.claim("worker", 1).await), ["alice"]);
    bed.stored(&late, 1).await;
    assert_eq!(served(&bed.claim("worker", 1).await), ["late"]);
    bed.stored(&quiet, 1).await;
    bed.stored(&late, 1).await;
    let rest = bed.claim("worker", 10).await;
    assert_eq!(served(&rest), ["quiet", "alice", "late", "alice", "alice"]);
}

pub async fn within_a_scope_the_oldest_job_goes_first(bed: Bed) {
    let mut jobs = Vec::new();
    for age in [3, 1, 2] {
        bed.clock.set(START.plus_millis(1_000 - age));
        jobs.push(bed.stored(&scope(), 1).await);
    }
    assert_eq!(ids(&bed.claim("worker", 2).await), [jobs[0], jobs[2]]);
    assert_eq!(ids(&bed.claim("worker", 2).await), [jobs[1]]);
    assert!(bed.claim("worker", 2).await.is_empty());
}

pub async fn a_claim_moves_the_epoch_and_not_the_status(bed: Bed) {
    let scope = scope();
    let job = bed.stored(&scope, 2).await;
    let before = bed.view(&scope, job).await;
    let claim = &bed.claim("worker", 1).await[0];
    assert_eq!(
        (&claim.view, &claim.scope, claim.crashes),
        (&before, &scope, 0)
    );
    assert_eq!(bed.view(&scope, job).await, before);
    let none = Guard::Lease {
        epoch: claim.epoch - 1,
    };
    let committed = bed.try_commit(job, &none, vec![begin()]).await;
    assert!(matches!(committed, Committed::Fenced), "{committed:?}");
    let view = bed.commit(job, &lease(claim), vec![begin()]).await;
    assert_eq!(view.status, Status::Processing);
}

pub async fn a_lease_that_ran_out_is_taken_over_and_counted(bed: Bed) {
    let scope = scope();
    let (begun, _) = bed.begun(&scope, 1).await;
    let untouched = bed.stored(&scope, 1).await;
    bed.claim("worker", 1).await;
    bed.clock.set(START.plus_millis(MINUTE));
    assert!(
        bed.claim("other", 10).await.is_empty(),
        "the lease is not over yet"
    );
    for crashes in 1..=3 {
        bed.clock
            .set(START.plus_millis(u64::from(crashes) * (MINUTE + 1)));
        let claimed = bed.claim("other", 10).await;
        assert_eq!(claimed.len(), 2);
        for claim in claimed {
            let expected = if claim.view.id == begun { crashes } else { 0 };
            assert_eq!(
                claim.crashes, expected,
                "a job that had not begun did not crash"
            );
            assert!(claim.view.id == begun || claim.view.id == untouched);
        }
    }
}

pub async fn a_renewed_lease_is_not_taken_over(bed: Bed) {
    let scope = scope();
    bed.stored(&scope, 1).await;
    bed.stored(&scope, 1).await;
    let mine = bed.claim("worker", 1).await;
    let others = bed.claim("other", 1).await;
    let until = START.plus_millis(2 * MINUTE);
    let renewed = bed.store.renew("worker", &ids(&mine), 2 * LEASE);
    renewed.await.unwrap();
    // Nobody renews the lease of another.
    let stolen = bed.store.renew("worker", &ids(&others), 2 * LEASE);
    stolen.await.unwrap();
    bed.clock.set(until);
    assert_eq!(ids(&bed.claim("third", 10).await), ids(&others));
    bed.clock.set(until.plus_millis(1));
    assert_eq!(ids(&bed.claim("third", 10).await), ids(&mine));
}

pub async fn a_lease_that_its_owner_does_not_name_runs_out(bed: Bed) {
    let (known, lost) = (bed.stored(&scope(), 1).await, bed.stored(&scope(), 1).await);
    bed.claim("worker", 2).await;
    bed.clock.set(START.plus_millis(MINUTE));
    bed.store.renew("worker", &[known], LEASE).await.unwrap();
    bed.clock.set(START.plus_millis(MINUTE + 1));
    assert_eq!(ids(&bed.claim("worker", 2).await), [lost]);
}

pub async fn a_lease_that_was_handed_over_is_no_crash_and_a_broken_one_is(bed: Bed) {
    let scope = scope();
    let (job, Guard::Lease { epoch }) = bed.begun(&scope, 1).await else {
        panic!()
    };
    let pause = Duration::from_millis(10);
    let release = |epoch, why| bed.store.release(job, epoch, pause, why);
    release(epoch, Release::HandedOver).await.unwrap();
    // What was given back cannot be given back again: a second word changes nothing.
    release(epoch, Release::HandedOver).await.unwrap();
    release(epoch, Release::Broken).await.unwrap();
    bed.clock.set(START.plus_millis(9));
    assert!(
        bed.claim("other", 10).await.is_empty(),
        "it is held for a while"
    );
    bed.clock.set(START.plus_millis(10));
    let claimed = bed.claim("other", 10).await;
    assert_eq!((claimed.len(), claimed[0].crashes), (1, 0));
    let at_once = bed
        .store
        .release(job, claimed[0].epoch, Duration::ZERO, Release::Broken);
    at_once.await.unwrap();
    let claimed = bed.claim("third", 10).await;
    assert_eq!((claimed.len(), claimed[0].crashes), (1, 1));
}

pub async fn only_the_owner_of_the_epoch_gives_a_lease_back(bed: Bed) {
    let scope = scope();
    let (job, Guard::Lease { epoch }) = bed.begun(&scope, 1).await else {
        panic!()
    };
    let late = bed
        .store
        .release(job, epoch + 1, Duration::ZERO, Release::HandedOver);
    late.await.unwrap();
    bed.clock.set(START.plus_millis(1));
    assert!(bed.claim("other", 10).await.is_empty());
}

pub async fn an_owner_is_fenced_once_another_has_claimed(bed: Bed) {
    let scope = scope();
    let (job, old) = bed.begun(&scope, 1).await;
    bed.clock.set(START.plus_millis(MINUTE + 1));
    let claim = &bed.claim("worker", 1).await[0];
    let before = bed.view(&scope, job).await;
    let late = bed.try_commit(job, &old, vec![result(0), settled()]).await;
    assert!(matches!(late, Committed::Fenced), "{late:?}");
    assert_eq!(bed.view(&scope, job).await, before);
    let view = bed
        .commit(job, &lease(claim), vec![result(0), settled()])
        .await;
    assert_eq!(view.status, Status::Completed);
}

pub async fn an_owner_is_fenced_once_the_caller_has_written(bed: Bed) {
    let scope = scope();
    let (job, guard) = bed.begun(&scope, 1).await;
    // Even when what the caller wrote does not end the job: then another owner may have it.
    bed.commit(job, &caller(&scope), vec![]).await;
    let late = bed.try_commit(job, &guard, vec![result(0)]).await;
    assert!(matches!(late, Committed::Fenced), "{late:?}");
    let claim = &bed.claim("other", 1).await[0];
    bed.commit(job, &caller(&scope), vec![cancelled()]).await;
    let late = bed.try_commit(job, &lease(claim), vec![result(0)]).await;
    assert!(matches!(late, Committed::Fenced), "{late:?}");
    assert_eq!(bed.log(&scope, job).await.len(), 3);
}

pub async fn an_ended_job_is_never_claimed(bed: Bed) {
    let scope = scope();
    let (worked, guard) = bed.begun(&scope, 1).await;
    let waiting = bed.stored(&scope, 1).await;
    bed.commit(worked, &guard, vec![result(0), settled()]).await;
    bed.commit(waiting, &caller(&scope), vec![cancelled()])
        .await;
    bed.clock.set(START.plus_millis(10 * MINUTE));
    assert!(bed.claim("other", 10).await.is_empty());
}

pub async fn a_claim_is_held_until_the_job_ends_or_somebody_else_has_it(bed: Bed) {
    let (store, scope) = (&bed.store, scope());
    let mut claims = Vec::new();
    for _ in 0..4 {
        let (job, guard) = bed.begun(&scope, 1).await;
        let Guard::Lease { epoch } = guard else {
            panic!("{guard:?}")
        };
        claims.push((job, epoch));
    }
    let jobs: Vec<_> = claims.iter().map(|(job, _)| *job).collect();
    let held = async |claims: &[(JobId, u64)]| {
        let mut held = store.held(claims).await.unwrap();
        held.sort_unstable();
        held
    };
    assert_eq!(held(&claims).await, jobs);
    assert!(held(&[]).await.is_empty());
    assert!(held(&[(jobs[0], claims[0].1 + 1)]).await.is_empty());
    // Ended by its owner; cancelled; cancelled and deleted; taken over.
    let lease = |at: usize| Guard::Lease {
        epoch: claims[at].1,
    };
    bed.commit(jobs[0], &lease(0), vec![result(0), settled()])
        .await;
    for job in &jobs[1..3] {
        bed.commit(*job, &caller(&scope), vec![cancelled()]).await;
    }
    store.delete(&scope, jobs[2]).await.unwrap();
    assert_eq!(held(&claims).await, [jobs[3]]);
    bed.clock.set(START.plus_millis(MINUTE + 1));
    // Run out, and nobody else has it yet.
    assert_eq!(held(&claims).await, [jobs[3]]);
    let taken = bed.claim("other", 10).await;
    assert!(held(&claims).await.is_empty());
    assert_eq!(held(&[(jobs[3], taken[0].epoch)]).await, [jobs[3]]);
}

pub async fn a_write_tells_the_epoch_after_it(bed: Bed) {
    let (job, guard) = bed.begun(&scope(), 2).await;
    let Guard::Lease { epoch: mine } = guard else {
        panic!("{guard:?}")
    };
    let epoch = async |guard: &Guard, draft| match bed.try_commit(job, guard, vec![draft]).await {
        Committed::Stored { epoch, .. } => epoch,
        other => panic!("{other:?}"),
    };
    assert_eq!(epoch(&guard, result(0)).await, mine);
    assert_eq!(epoch(&caller(&scope()), cancelled()).await, mine + 1);
    let never_claimed = bed.stored(&scope(), 1).await;
    let guard = caller(&scope());
    let cancel = bed.try_commit(never_claimed, &guard, vec![cancelled()]);
    let Committed::Stored { epoch, .. } = cancel.await else {
        panic!("a waiting job is not cancelled")
    };
    assert_eq!(epoch, 1);
}

pub async fn a_cancel_that_races_the_end_gives_one_end(bed: Bed) {
    let scope = scope();
    for _ in 0..20 {
        let (job, guard) = bed.begun(&scope, 1).await;
        let race = |guard: Guard, drafts| {
            let store = Arc::clone(&bed.store);
            tokio::spawn(async move {
                store
                    .commit(Commit {
                        job,
                        guard,
                        at_sequence: None,
                        drafts,
                    })
                    .await
                    .unwrap()
            })
        };
        let end = race(guard, vec![result(0), settled()]);
        let cancel = race(caller(&scope), vec![cancelled()]);
        let won = [end.await.unwrap(), cancel.await.unwrap()]
            .into_iter()
            .filter(|committed| matches!(committed, Committed::Stored { .. }))
            .count();
        assert_eq!(won, 1);
        let log = bed.log(&scope, job).await;
        let ends = log.iter().filter(|event| event.kind == Kind::End).count();
        assert_eq!(ends, 1);
        assert_eq!(log.last().unwrap().kind, Kind::End);
    }
}

pub async fn a_restart_finds_everything(bed: Bed) {
    let scope = scope();
    let (running, old) = bed.begun(&scope, 3).await;
    bed.commit(running, &old, vec![result(1)]).await;
    let (ended, guard) = bed.begun(&scope, 1).await;
    bed.commit(ended, &guard, vec![result(0), settled()]).await;
    let waiting = bed.stored(&scope, 1).await;
    let schema = bed.schema(&scope, "Invoice").await;
    let mut before = Vec::new();
    for job in [running, ended, waiting] {
        before.push((bed.view(&scope, job).await, bed.log(&scope, job).await));
    }

    let bed = bed.restart();
    for (view, log) in before {
        assert_eq!(bed.view(&scope, view.id).await, view);
        assert_eq!(bed.log(&scope, view.id).await, log);
    }
    assert_eq!(
        bed.store.schema(&scope, schema.id).await.unwrap(),
        Some(schema)
    );
    bed.clock.set(START.plus_millis(MINUTE + 1));
    let claimed = bed.claim("worker", 10).await;
    assert_eq!(ids(&claimed), [running, waiting]);
    assert_eq!((claimed[0].crashes, claimed[1].crashes), (1, 0));
    let late = bed.try_commit(running, &old, vec![result(0)]).await;
    assert!(matches!(late, Committed::Fenced), "{late:?}");
    let drafts = vec![result(0), result(1), result(2), settled()];
    let view = bed.commit(running, &lease(&claimed[0]), drafts).await;
    assert_eq!(
        (view.status, view.subtrees_succeeded, view.sequence),
        (Status::Completed, 3, 6)
    );
}
