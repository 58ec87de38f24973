//! Where a job stands, and which moves are legal.

use serde::{Deserialize, Serialize};

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    Pending,
    Processing,
    Retrying,
    /// Extracted, and held back until somebody has looked at it.
    ReviewRequired,
    Completed,
    Failed,
    Cancelled,
    /// Ended, and its log and result were kept for as long as was promised.
    Expired,
}

impl Status {
    pub const ALL: [Self; 8] = [
        Self::Pending,
        Self::Processing,
        Self::Retrying,
        Self::ReviewRequired,
        Self::Completed,
        Self::Failed,
        Self::Cancelled,
        Self::Expired,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Processing => "processing",
            Self::Retrying => "retrying",
            Self::ReviewRequired => "review_required",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.name() == name)
    }

    pub fn is_terminal(self) -> bool {
        matches!(
            self,
            Self::Completed | Self::Failed | Self::Cancelled | Self::Expired
        )
    }

    /// Whether nobody works on the job: it has ended, or waits for a person.
    pub fn is_idle(self) -> bool {
        self.is_terminal() || self == Self::ReviewRequired
    }

    /// Whether `job_status` may announce the move from here to `next`.
    pub(super) fn may_move_to(self, next: Self) -> bool {
        matches!(
            (self, next),
            (Self::Pending | Self::Retrying, Self::Processing) | (Self::Processing, Self::Retrying)
        )
    }
}
