//! What a dialect keeps with a job, and for how long.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::JobView;
use crate::domain::time::Time;

/// What a dialect shows of the request again or answers by, and how long a job is kept whose time
/// is counted from its start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Asked {
    /// As it came, but for what the documents hold.
    pub request: Value,
    /// The most milliseconds from the start of the job, or of its last retry, to its expiry; none:
    /// it is kept from its end, as any job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifetime_ms: Option<u64>,
}

impl JobView {
    /// When it expires at the latest, where that is counted from its start: also known before its
    /// end. A retry begins the count anew.
    pub fn latest_expiry(&self) -> Option<Time> {
        let lifetime_ms = self.spec.asked.as_ref()?.lifetime_ms?;
        let begun = if self.run == 1 {
            self.created_at
        } else {
            self.started_at.unwrap_or(self.updated_at)
        };
        Some(begun.plus_millis(lifetime_ms))
    }

    /// Until when it is kept that ends at `at`: never longer than after its end any job is.
    pub(super) fn kept_until(&self, at: Time, retention_ms: u64) -> Time {
        let usual = at.plus_millis(retention_ms);
        let latest = self.latest_expiry();
        latest.map_or(usual, |latest| usual.min(latest).max(at))
    }
}
