//! Few subtrees for many parts.

/// Of `room`, at least one for each: as many as it needs, or in proportion to that where there is
/// not enough. There are no more needs than there is room.
pub(super) fn shares(needs: &[usize], room: usize) -> Vec<usize> {
    let wants: Vec<usize> = needs.iter().map(|need| need.saturating_sub(1)).collect();
    let wanted: usize = wants.iter().sum();
    let spare = room.saturating_sub(needs.len());
    if wanted <= spare {
        return wants.iter().map(|want| want + 1).collect();
    }
    // Rounded so that all of it is given: what the first so many want, less what they have.
    let (mut seen, mut given) = (0, 0);
    let share = |want: &usize| {
        seen += want;
        let due = seen * spare / wanted;
        let share = due - given;
        given = due;
        share + 1
    };
    wants.iter().map(share).collect()
}

/// How many neighbours go together so that there are `count` groups, each with one at least and
/// with about the same weight. There are no fewer weights than groups.
pub(super) fn lengths(weights: &[u32], count: usize) -> Vec<usize> {
    let mut lengths = Vec::with_capacity(count);
    let mut left: u64 = weights.iter().copied().map(u64::from).sum();
    let mut weights = weights.iter().map(|weight| u64::from(*weight)).peekable();
    for groups in (1..=count).rev() {
        let even = left / groups as u64;
        let (mut length, mut weight) = (0, 0);
        while let Some(next) = weights.peek().copied() {
            let is_needed = groups == 1 || length == 0;
            let has_spare = weights.len() >= groups;
            let is_nearer = weight + next / 2 < even;
            if !(is_needed || (has_spare && is_nearer)) {
                break;
            }
            weights.next();
            weight += next;
            length += 1;
        }
        left -= weight;
        lengths.push(length);
    }
    lengths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_the_room_is_given_and_nobody_goes_without() {
        assert_eq!(shares(&[1, 1, 1], 9), [1, 1, 1]);
        assert_eq!(shares(&[20; 100], 200), [2; 100]);
        for (needs, room) in [(vec![5, 1, 50, 7], 20), (vec![3; 120], 200), (vec![9], 4)] {
            let shares = shares(&needs, room);
            assert_eq!(shares.iter().sum::<usize>(), room, "{needs:?}");
            let fits = |(share, need): (&usize, &usize)| (1..=*need).contains(share);
            assert!(shares.iter().zip(&needs).all(fits), "{needs:?} {shares:?}");
        }
    }

    #[test]
    fn groups_are_of_neighbours_and_about_as_heavy() {
        assert_eq!(lengths(&[10; 12], 4), [3; 4]);
        assert_eq!(lengths(&[1, 1, 1, 100, 1, 1], 2).iter().sum::<usize>(), 6);
        assert_eq!(lengths(&[100, 1, 1, 1], 3), [1, 1, 2]);
        assert_eq!(lengths(&[0; 5], 5), [1; 5]);
        let lengths = lengths(&[7; 201], 200);
        assert_eq!((lengths.len(), lengths.iter().sum::<usize>()), (200, 201));
        assert!(lengths.iter().all(|length| (1..=2).contains(length)));
    }
}
