//! temp
use super::wire::Limits;
use crate::domain::error::Fault;
use std::time::Duration;
use tokio::time::Instant;
#[derive(Default)]
pub struct Gate {}
pub struct Pass {}
pub struct TurnedAway {
    pub until: Instant,
    pub fault: Fault,
}
impl Gate {
    pub fn enter(&self, _t: u64) -> Result<Pass, TurnedAway> {
        Ok(Pass {})
    }
}
impl Pass {
    pub fn limits(&self, _l: &Limits) {}
    pub fn succeeded(self) {}
    pub fn answered(self) {}
    pub fn refused(self, _r: Option<Duration>, _l: Option<&Limits>) {}
    pub fn failed(self, _r: Option<Duration>) {}
}
