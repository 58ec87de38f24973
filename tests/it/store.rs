//! The conformance suite of stores: what the engine relies on, run against every one of them.

mod admission;
mod answers;
mod bed;
mod catalog;
mod definitions;
mod files;
mod idempotency;
mod keys;
mod leases;
mod lists;
mod log;
mod outbox;
mod postgres;
mod replay;
mod retention;
mod retries;
mod review;
mod sqlite;
mod windows;

/// Runs every sentence against every store.
macro_rules! conformance {
    ($($module:ident { $($sentence:ident,)+ })+) => {
        mod on_sqlite {$(
            mod $module {$(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $sentence() {
                    let bed = crate::store::bed::Bed::sqlite();
                    crate::store::$module::$sentence(bed).await;
                }
            )+}
        )+}

        /// What the simulation of the engine stands on.
        mod on_memory {$(
            mod $module {$(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $sentence() {
                    let bed = crate::store::bed::Bed::memory();
                    crate::store::$module::$sentence(bed).await;
                }
            )+}
        )+}

        mod on_postgres {$(
            mod $module {$(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $sentence() {
                    if let Some(bed) = crate::store::bed::Bed::postgres().await {
                        crate::store::$module::$sentence(bed).await;
                    }
                }
            )+}
        )+}
    };
}

conformance! {
    admission {
        a_new_job_has_its_start_event_and_its_plan,
        a_scope_has_no_more_active_jobs_than_its_limit,
        a_refused_job_leaves_nothing_behind,
        all_scopes_together_have_no_more_active_jobs_than_the_limit,
        the_end_of_a_job_gives_its_slot_back,
        a_hundred_parallel_creates_never_pass_the_limit,
        a_job_needs_a_document_of_its_own_scope,
        a_job_that_cannot_be_stored_does_not_fail_its_neighbours,
    }
    answers {
        an_outcome_is_found_by_the_key_of_its_answer,
        the_answers_of_another_scope_are_not_found,
        an_oversize_answer_is_found_with_what_was_set_aside,
        the_newest_answer_counts_and_the_older_one_after_it_is_gone,
        an_answer_expires_with_its_job,
    }
    idempotency {
        a_key_leads_to_the_job_it_was_stored_with,
        a_taken_key_stores_nothing_whatever_else_has_changed,
        a_refused_job_leaves_its_key_free,
        the_same_key_of_two_scopes_stands_for_two_jobs,
        a_hundred_parallel_creates_with_one_key_store_one_job,
        a_key_lives_as_long_as_its_job,
    }
    log {
        outcomes_are_read_in_pages_by_ordinal,
        parallel_commits_to_one_job_leave_no_gap,
        an_ordinal_has_one_outcome,
        a_refused_draft_takes_the_whole_commit_back,
        nothing_follows_the_end,
        a_commit_to_an_unknown_job_is_missing,
        the_clock_of_a_log_never_runs_backwards,
        events_are_read_in_pages,
        an_oversize_result_is_set_aside,
        a_snapshot_holds_every_outcome_and_the_state_they_belong_to,
        a_read_sees_one_moment,
        an_ended_job_is_deleted_whole_and_an_active_one_is_not,
    }
    outbox {
        the_end_of_a_job_is_told_to_those_who_want_to_hear_of_it,
        a_commit_that_is_refused_puts_nothing_into_the_outbox,
        a_delivery_is_taken_by_one_and_after_the_lease_by_another,
        takers_at_once_get_each_delivery_once,
        a_receiver_gets_no_more_at_once_than_its_part_and_holds_up_no_other,
        a_try_is_recorded_once_and_the_next_one_comes_after_its_pause,
        a_receiver_that_is_gone_disables_its_endpoint_and_what_is_pending,
        an_endpoint_is_changed_disabled_and_deleted,
        a_new_secret_leaves_the_one_of_before,
        a_scope_has_no_more_endpoints_than_its_limit,
        the_webhooks_of_another_scope_are_not_there,
        a_message_by_hand_is_due_at_once_beside_the_others_and_only_of_a_job_that_is_there,
        deliveries_go_with_their_job_and_with_its_log,
        a_job_that_was_retried_is_told_of_again,
    }
    retries {
        a_reopened_job_waits_again_and_has_no_failed_outcome,
        only_the_end_it_rests_on_is_reopened_and_only_once,
        a_reopened_job_takes_a_slot_and_needs_its_document,
    }
    review {
        a_held_job_is_nobodys_and_takes_no_slot,
        a_held_job_ends_once_and_gives_no_slot_back_twice,
        a_decision_on_another_version_changes_nothing,
        the_log_of_a_gated_job_has_no_value_and_the_outcome_has,
        nothing_is_held_before_all_is_extracted,
    }
    retention {
        a_log_is_swept_in_bounded_steps_and_its_job_stays,
        what_may_not_go_yet_is_left,
        old_documents_are_listed_unless_a_job_needs_them,
        old_schemas_are_deleted_in_bounded_steps,
    }
    replay {
        the_log_replays_to_the_view,
    }
    leases {
        claims_of_parallel_workers_are_disjoint,
        the_scope_served_longest_ago_goes_first,
        within_a_scope_the_oldest_job_goes_first,
        a_claim_moves_the_epoch_and_not_the_status,
        a_lease_that_ran_out_is_taken_over_and_counted,
        a_renewed_lease_is_not_taken_over,
        a_lease_that_its_owner_does_not_name_runs_out,
        a_lease_that_was_handed_over_is_no_crash_and_a_broken_one_is,
        only_the_owner_of_the_epoch_gives_a_lease_back,
        an_owner_is_fenced_once_another_has_claimed,
        an_owner_is_fenced_once_the_caller_has_written,
        a_write_tells_the_epoch_after_it,
        a_claim_is_held_until_the_job_ends_or_somebody_else_has_it,
        an_ended_job_is_never_claimed,
        a_cancel_that_races_the_end_gives_one_end,
        a_restart_finds_everything,
    }
    lists {
        jobs_page_both_ways_without_loss,
        documents_page_both_ways_without_loss,
        schemas_page_both_ways_without_loss,
        a_page_that_became_empty_leads_back,
        a_search_is_literal_and_without_case,
        a_job_is_found_by_its_schema_and_by_its_id,
        jobs_are_listed_by_status,
        jobs_are_listed_by_all_that_a_filter_says,
    }
    catalog {
        documents_are_kept_as_they_were,
        schemas_are_kept_as_they_were,
        an_updated_schema_keeps_its_creation_time,
        a_schema_is_found_by_its_own_address,
        a_document_is_kept_while_a_job_needs_it,
        bytes_are_needed_while_a_document_or_an_active_job_has_them,
        another_scope_sees_nothing_and_changes_nothing,
    }
    definitions {
        a_definition_is_kept_as_it_was_until_it_is_replaced_and_deleted,
        a_name_is_given_once_within_its_kind_and_scope,
        a_scope_has_no_more_of_a_kind_than_its_limit,
        definitions_page_and_are_searched_by_name,
    }
    files {
        files_are_kept_as_they_were_until_they_are_deleted,
        files_page_without_those_whose_time_is_over,
        files_and_uploads_whose_time_is_over_are_listed_the_oldest_first,
        chunks_are_appended_in_order_and_become_a_file,
        of_chunks_at_once_for_one_place_one_is_taken,
        a_scope_has_no_more_open_uploads_than_its_limit,
        the_files_and_uploads_of_another_scope_are_not_there,
    }
    keys {
        a_key_is_kept_as_it_was_and_its_id_is_nobody_elses,
        a_revoked_key_stays_and_keeps_the_moment,
        the_limit_of_a_key_is_kept_changed_and_taken_back,
        keys_are_listed_the_oldest_first,
        there_are_keys_once_there_was_one,
        everybody_who_asks_at_once_gets_the_same_secret,
        keys_and_the_secret_outlive_a_restart,
    }
    windows {
        a_window_is_kept_and_is_no_event,
        a_late_window_of_an_owner_who_lost_the_job_is_not_kept,
        the_window_of_the_job_itself_goes_before_newer_ones_and_no_other_scope_sees_it,
        windows_go_with_their_job,
        an_incomplete_array_is_taken_back_when_its_job_is_reopened_and_its_windows_stay,
    }
}
