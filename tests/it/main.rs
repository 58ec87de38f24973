//! Tests of the whole, as a client sees it, and of the walls.

mod architecture;
mod licences;
mod plan;
