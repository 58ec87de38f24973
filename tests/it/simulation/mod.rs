//! The engine among seeded faults: processes that die and freeze, a store that is slow, away or
//! ambiguous, a model that fails, clocks that jump.

mod lists;
mod memory;
mod shelf;

pub use memory::Memory;
pub use shelf::Shelf;
