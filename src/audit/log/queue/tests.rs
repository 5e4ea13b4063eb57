//! The bounds of what is in flight, and what becomes of it when the disk does not do its part.

use super::super::watchdog::{Hand, News};
use super::*;
use crate::clock::{ManualClock, SystemClock};

fn queue(slots: usize, care_slots: usize) -> (Arc<Queue>, Arc<Relay>) {
    let limits = Limits {
        slots,
        care_slots,
        ..Limits::default()
    };
    (
        Arc::new(Queue::new(limits, SystemClock::shared())),
        Arc::default(),
    )
}

#[test]
fn slots_are_bounded_and_come_back() {
    let (queue, relay) = queue(4, 1);
    let pair = queue.reserve::<2>(Priority::Routine, &relay).unwrap();
    let refused = queue.reserve::<2>(Priority::Routine, &relay);
    assert!(matches!(refused, Err(LogError::Busy)));
    let care = queue.reserve::<2>(Priority::Care, &relay).unwrap();
    assert!(matches!(
        queue.reserve::<1>(Priority::Care, &relay),
        Err(LogError::Busy)
    ));
    drop((pair, care));
    assert_eq!(queue.depth().0, Charge::default());
}

#[test]
fn bytes_are_bounded_by_what_records_are() {
    let limits = Limits {
        bytes: 3 * SLOT_BYTES,
        care_slots: 0,
        ..Limits::default()
    };
    let (queue, relay) = (
        Arc::new(Queue::new(limits, SystemClock::shared())),
        Arc::default(),
    );
    let [slot] = queue.reserve::<1>(Priority::Routine, &relay).unwrap();
    slot.append_unwaited(Payload::new(vec![0; 2 * SLOT_BYTES + 1]).unwrap());
    assert!(matches!(
        queue.reserve::<1>(Priority::Care, &relay),
        Err(LogError::Busy)
    ));
    let mut batch = VecDeque::new();
    assert_eq!(queue.wait(&mut batch, None), Turn::Work);
    queue.release(batch[0].charge);
    assert!(queue.reserve::<3>(Priority::Care, &relay).is_ok());
}

#[test]
fn low_space_is_kept_for_care() {
    let (queue, relay) = queue(4, 1);
    queue.set_low_space(true);
    assert!(matches!(
        queue.reserve::<1>(Priority::Routine, &relay),
        Err(LogError::LowSpace)
    ));
    assert!(queue.reserve::<1>(Priority::Care, &relay).is_ok());
}

#[test]
fn a_failure_refuses_who_waits_and_keeps_the_rest() {
    let (queue, relay) = queue(8, 0);
    let [a, b, c, d] = queue.reserve::<4>(Priority::Routine, &relay).unwrap();
    let payload = || Payload::new(vec![1]).unwrap();
    let waiting = a.append(payload());
    b.append_unwaited(payload());
    let refused = queue.fail(&"disk".into());
    assert_eq!(refused.len(), 1);
    drop(refused);
    assert!(matches!(waiting.wait(), Err(LogError::Unavailable { .. })));
    assert!(matches!(
        c.append(payload()).wait(),
        Err(LogError::Unavailable { .. })
    ));
    d.append_unwaited(payload());
    assert!(queue.reserve::<1>(Priority::Care, &relay).is_err());
    queue.reopen();
    let mut batch = VecDeque::new();
    assert_eq!(queue.wait(&mut batch, None), Turn::Work);
    assert_eq!(batch.len(), 2);
}

#[test]
fn a_payload_has_a_bound() {
    assert!(Payload::new(vec![0; MAX_PAYLOAD]).is_ok());
    assert_eq!(
        Payload::new(vec![0; MAX_PAYLOAD + 1]),
        Err(TooLong(MAX_PAYLOAD + 1))
    );
}

#[test]
fn a_disk_that_does_not_answer_is_found_out_and_forgiven() {
    let watch = Arc::new(ManualClock::new(jiff::Timestamp::UNIX_EPOCH));
    let limits = Limits::default();
    let queue = Arc::new(Queue::new(limits, watch.clone()));
    let (relay, hand) = (Arc::default(), Hand::default());
    let payload = || Payload::new(vec![1]).unwrap();
    let look = || queue.look(&hand, jiff::Timestamp::UNIX_EPOCH);
    let [begun, queued, late, unwaited] = queue.reserve::<4>(Priority::Care, &relay).unwrap();
    let begun = begun.append(payload());
    let mut batch = VecDeque::new();
    assert_eq!(queue.wait(&mut batch, None), Turn::Work);
    hand.records().append(&mut batch);
    watch.advance(limits.stall_after);
    assert!(look().is_none(), "an idle writer waits for no disk");
    queue.begins();
    let queued = queued.append(payload());
    assert!(look().is_none());
    assert_eq!(queue.health(), Health::Healthy, "a slow disk is no stall");
    watch.advance(limits.stall_after);
    let stranded = look().unwrap();
    assert_eq!(stranded.news, News::New);
    assert_eq!((stranded.refused.len(), stranded.in_doubt.len()), (1, 1));
    drop(stranded);
    assert!(queued.wait().is_err() && begun.wait().is_err());
    assert_eq!(look().unwrap().news, News::Known);
    watch.advance(Duration::from_secs(1));
    let waited = Duration::from_secs(6);
    assert_eq!(queue.health(), Health::Stalled { waited });
    let refused = late.append(payload()).wait().unwrap_err().to_string();
    assert!(refused.contains("has not answered for 5 s"), "{refused}");
    assert!(queue.reserve::<1>(Priority::Care, &relay).is_err());
    unwaited.append_unwaited(payload());
    assert_eq!(queue.depth().1, 1, "what nobody waits for is kept");
    let spell = queue.ends().unwrap();
    assert_eq!(spell.lasted(queue.time()), Duration::from_secs(1));
    assert!(queue.reserve::<1>(Priority::Care, &relay).is_ok());
    assert_eq!(queue.wait(&mut batch, None), Turn::Work);
    assert_eq!(batch.len(), 1);
    assert!(queue.ends().is_none());
}

#[test]
fn a_record_whose_client_hung_up_is_kept() {
    let (queue, relay) = queue(8, 0);
    let [a, b] = queue.reserve::<2>(Priority::Routine, &relay).unwrap();
    let payload = || Payload::new(vec![1]).unwrap();
    drop(a.append(payload()));
    let waiting = b.append(payload());
    assert_eq!(queue.fail(&"disk".into()).len(), 1);
    assert!(waiting.wait().is_err());
    assert_eq!(queue.depth().1, 1);
}
