//! The loss that a segment's header declares: what may be declared, and what it explains.
//!
//! *Never*: is evidence by itself. A header is in clear and its chain value can be computed by anyone, so a declared
//! loss counts only where something vouches for the header: the master key that wrapped its data key, or a signed
//! checkpoint behind it.

use uuid::Uuid;

use super::checkpoint::Checkpoint;
use super::error::LogError;
use super::header::Header;
use super::keys::MasterKey;
use super::recover::{Known, damaged};

/// Whether what a header declares lost, if anything, lies right between the record before it and its own first. Where
/// only the seal of the segment before was lost, `to` is that record.
pub(super) fn fits(header: &Header) -> bool {
    let Some(loss) = &header.accepted_loss else {
        return true;
    };
    let before = header.previous.sequence;
    before.checked_add(1) == Some(loss.from)
        && loss.to >= before
        && loss.to.checked_add(1) == Some(header.first)
}

/// Whether the loss that `header` declares is why the log does not have the place of a checkpoint; `is_there` says
/// which segments it has.
///
/// SECURITY: records before the loss were kept, so a checkpoint of one of them must be found. At the last of these a
/// checkpoint may be of the seal that went with the loss, or of a segment that had no record yet; where the segment is
/// there, the tree of its records, which has no leaf for the seal, must be as the checkpoint says.
pub(super) fn explains(
    header: &Header,
    checkpoint: &Checkpoint,
    is_there: impl FnOnce(Uuid) -> bool,
) -> bool {
    let Some(loss) = &header.accepted_loss else {
        return false;
    };
    if (loss.from..=loss.to).contains(&checkpoint.sequence) {
        return true;
    }
    let previous = &header.previous;
    checkpoint.sequence == previous.sequence
        && if checkpoint.segment == previous.segment {
            checkpoint.tree.is_none() || checkpoint.tree == previous.tree
        } else {
            !is_there(checkpoint.segment)
        }
}

/// The headers that declare a loss. Whoever made them held the master key: the wrapped data key is bound to the number
/// of the first record and to the chain before it.
///
/// # Errors
/// [`LogError::Damaged`] for one that was made without it.
pub(super) fn declared<'k>(
    known: &'k [Known],
    master: &MasterKey,
) -> Result<Vec<&'k Header>, LogError> {
    let declaring = known
        .iter()
        .filter(|known| known.header().accepted_loss.is_some());
    declaring
        .map(|known| {
            let header = known.header();
            if header.is_made_with(master) {
                return Ok(header);
            }
            Err(damaged(
                &known.name,
                header.first,
                "it declares records lost, and this gateway's master key did not make it",
            ))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::log::crypt::Head;
    use crate::audit::log::header::{AcceptedLoss, Draft, Opened, Previous};
    use crate::audit::log::tree::TreeHead;

    const BEFORE: Uuid = Uuid::from_u128(1);

    fn tree(size: u64) -> TreeHead {
        TreeHead {
            size,
            root: Head::from_bytes([7; 32]),
        }
    }

    fn declaring(from: u64, to: u64, first: u64) -> Header {
        let draft = Draft {
            segment: Uuid::from_u128(2),
            number: 2,
            node: "gw-1",
            first,
            created: "2026-03-01T10:00:00Z".parse().unwrap(),
            opened: Opened::Start,
            previous: Previous {
                segment: BEFORE,
                sequence: 20,
                head: Head::ZERO,
                tree: Some(tree(21)),
            },
            cut: None,
            accepted_loss: Some(AcceptedLoss {
                from,
                to,
                place: "witness".to_owned(),
            }),
        };
        let master = MasterKey::generate().unwrap();
        Header::create(draft, &master, None).unwrap().1.header
    }

    #[test]
    fn a_loss_lies_between_the_record_before_and_the_first() {
        assert!(fits(&declaring(21, 30, 31)));
        assert!(fits(&declaring(21, 20, 21)), "of the seal alone");
        for (from, to, first) in [
            (1, 30, 31),
            (20, 30, 31),
            (22, 30, 31),
            (21, 19, 21),
            (21, 30, 32),
            (21, u64::MAX, 0),
        ] {
            assert!(!fits(&declaring(from, to, first)), "{from} {to} {first}");
        }
    }

    #[test]
    fn it_explains_what_was_lost_and_nothing_before() {
        let header = declaring(21, 30, 31);
        let explained = |sequence, segment, tree, there: bool| {
            let checkpoint = Checkpoint {
                sequence,
                head: Head::from_bytes([9; 32]),
                segment,
                time: "2026-03-01T10:00:00Z".parse().unwrap(),
                previous: 0,
                clock: String::new(),
                tree,
            };
            explains(&header, &checkpoint, |_| there)
        };
        let other = Uuid::from_u128(7);
        assert!(explained(21, BEFORE, Some(tree(22)), true));
        assert!(explained(30, other, Some(tree(5)), false));
        assert!(!explained(31, other, Some(tree(6)), false));
        assert!(!explained(19, BEFORE, Some(tree(20)), true));
        // The end of the segment before: its seal may be gone, but its records were kept.
        assert!(explained(20, BEFORE, Some(tree(21)), true));
        assert!(explained(20, BEFORE, None, true), "of format 1");
        let mut altered = tree(21);
        altered.root = Head::from_bytes([8; 32]);
        assert!(!explained(20, BEFORE, Some(altered), true));
        assert!(explained(20, other, Some(tree(1)), false));
        assert!(!explained(20, other, Some(tree(1)), true));
    }
}
