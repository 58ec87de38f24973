//! When a failed call is asked again.

use super::error::Fault;

/// The first wait and the longest, milliseconds. A provider's hint may ask for more than the
/// first but never makes a subtree wait longer than the longest.
const FIRST_MS: u64 = 500;
const LONGEST_MS: u64 = 60_000;

/// The wait before the next attempt, milliseconds; `None` when it is not made.
///
/// Doubles with every attempt, is never less than the provider asked for, and is spread by up to
/// a quarter with `random`, so that subtrees that failed together do not come back together. A
/// hint beyond the longest wait ends the attempts.
pub fn delay(
    attempt: u32,
    max_retries: u32,
    fault: Fault,
    retry_after_ms: Option<u64>,
    random: u64,
) -> Option<u64> {
    let hint = retry_after_ms.unwrap_or(0);
    if attempt > max_retries || !fault.is_retryable() || hint > LONGEST_MS {
        return None;
    }
    let doubled = FIRST_MS.saturating_mul(1 << (attempt.saturating_sub(1)).min(16));
    let base = doubled.min(LONGEST_MS).max(hint);
    Some(base + random % (base / 4 + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_never_fall_short_of_the_hint() {
        let wait = |attempt, hint| delay(attempt, 9, Fault::ProviderRateLimit, hint, 0);
        assert_eq!((wait(1, None), wait(3, None)), (Some(500), Some(2_000)));
        assert_eq!(wait(1, Some(31_000)), Some(31_000));
        assert_eq!(wait(1, Some(61_000)), None);
        for random in [0, 1, 125, u64::MAX] {
            let spread = delay(1, 9, Fault::Timeout, None, random).unwrap();
            assert!((500..=625).contains(&spread), "{spread}");
        }
    }

    #[test]
    fn final_faults_and_used_up_attempts_are_not_asked_again() {
        assert_eq!(delay(1, 2, Fault::ContentFiltered, None, 0), None);
        assert_eq!(delay(3, 2, Fault::Timeout, None, 0), None);
        assert_eq!(delay(1, 0, Fault::Timeout, None, 0), None);
    }
}
