//! Proofs of small documents.
