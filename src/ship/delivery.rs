//! A batch on its way. What its receiver will not take is found by halving, and given up only once the receiver was seen to
//! go on with everything else.
//!
//! A refusal of content (`400`, `413`, `422`) splits the batch until single messages are left. Such a message is refused for
//! good when it was refused [`TRIES`] times and, in between, the receiver took a message again that it had taken before. A
//! receiver that refuses that one too refuses everything: a wrong index, a gateway in front of it. Then nothing is given up.
//!
//! *Never*: a message given up because of a status that says nothing of it (`401`, `403`, `404`, `429`, `5xx`).

use std::collections::VecDeque;
use std::ops::Range;
use std::slice;

use super::channel::{Channel, SendError, Taken};
use crate::audit::export::message::Message;

/// Most messages that are sent at once.
pub(super) const MOST_MESSAGES: usize = 256;
/// How often a message is refused before it is given up.
const TRIES: u8 = 3;
/// Requests that are refused in a row before the receiver has to take what it took before.
const MOST_IN_A_ROW: u32 = 16;

/// What is known of a receiver.
#[derive(Debug)]
pub(super) struct Receiver {
    /// How many messages it takes at once: half as many once it says that it was too much, then one more each time.
    most: usize,
    /// A message that it took.
    took: Option<Message>,
}

impl Default for Receiver {
    fn default() -> Self {
        Self {
            most: MOST_MESSAGES,
            took: None,
        }
    }
}

/// What a receiver will not take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    /// The messages: one, or those among which the receiver did not tell it.
    pub(super) among: Vec<Message>,
    /// How many of them.
    pub(super) count: u64,
    /// What it answered: a status, never its words.
    pub(super) answer: String,
    /// Its words, for the trail alone: they may repeat what was sent.
    pub(super) said: String,
}

/// A message that was refused on its own.
#[derive(Debug)]
struct Suspect {
    place: usize,
    times: u8,
}

/// What a step came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// There is more to do.
    Going,
    /// Everything was taken or is given up.
    Done,
    /// What was written before may be lost, and comes first.
    Lost,
}

/// The batch.
#[derive(Debug)]
pub(super) struct Delivery {
    batch: Vec<Message>,
    /// What has not been sent; the next is the last.
    todo: Vec<Range<usize>>,
    suspects: VecDeque<Suspect>,
    /// How many suspects are tried before the receiver has to prove itself again.
    trusted: usize,
    in_a_row: u32,
    refusals: Vec<Refusal>,
}

impl Delivery {
    pub(super) fn new(batch: Vec<Message>) -> Self {
        Self {
            todo: std::iter::once(0..batch.len()).collect(),
            batch,
            suspects: VecDeque::new(),
            trusted: 0,
            in_a_row: 0,
            refusals: Vec::new(),
        }
    }

    /// How many messages it has.
    pub(super) fn len(&self) -> u64 {
        u64::try_from(self.batch.len()).unwrap_or(u64::MAX)
    }

    /// What the receiver will not take.
    pub(super) fn refusals(&self) -> &[Refusal] {
        &self.refusals
    }

    /// Sends a request.
    ///
    /// # Errors
    /// [`SendError`]; the next step tries the same again.
    pub(super) async fn step(
        &mut self,
        channel: &mut Channel,
        receiver: &mut Receiver,
    ) -> Result<Step, SendError> {
        if self.in_a_row >= MOST_IN_A_ROW {
            return self.prove(channel, receiver).await;
        }
        if let Some(range) = self.next(receiver.most) {
            return self.send(range, channel, receiver).await;
        }
        if self.suspects.is_empty() {
            return Ok(Step::Done);
        }
        if self.trusted == 0 {
            return self.prove(channel, receiver).await;
        }
        self.retry(channel, receiver).await
    }

    /// What is to be sent next.
    fn next(&mut self, most: usize) -> Option<Range<usize>> {
        let whole = self.todo.pop()?;
        let middle = whole.start.saturating_add(most.max(1));
        if middle >= whole.end {
            return Some(whole);
        }
        self.todo.push(middle..whole.end);
        Some(whole.start..middle)
    }

    async fn send(
        &mut self,
        range: Range<usize>,
        channel: &mut Channel,
        receiver: &mut Receiver,
    ) -> Result<Step, SendError> {
        let messages = self.messages(&range);
        let many = messages.len();
        match channel.send(messages).await {
            Ok(Taken::Lost) => Ok(Step::Lost),
            Ok(Taken::All) => {
                if let Some(last) = messages.last() {
                    receiver.took = Some(last.clone());
                }
                if many >= receiver.most {
                    receiver.most = receiver.most.saturating_add(1).min(MOST_MESSAGES);
                }
                self.in_a_row = 0;
                Ok(Step::Going)
            }
            Ok(Taken::Part { rejected, said }) => {
                self.part(&range, rejected, said);
                Ok(Step::Going)
            }
            Ok(Taken::But(refused)) => self.but(&range, &refused, receiver),
            Err(SendError::Status { status, .. }) if is_of_content(status) => {
                self.in_a_row = self.in_a_row.saturating_add(1);
                if many <= 1 {
                    self.suspect(range.start);
                    return Ok(Step::Going);
                }
                if status == TOO_LARGE {
                    receiver.most = many.div_ceil(2);
                }
                let middle = range.start.saturating_add(many.div_ceil(2));
                self.todo.push(middle..range.end);
                self.todo.push(range.start..middle);
                Ok(Step::Going)
            }
            Err(error) => {
                self.todo.push(range);
                Err(error)
            }
        }
    }

    /// SECURITY: "The client MUST NOT retry the request when it receives a partial success response." (OTLP 1)
    fn part(&mut self, range: &Range<usize>, rejected: u64, said: String) {
        let among = self.messages(range).to_vec();
        self.refusals.push(Refusal {
            count: rejected.min(u64::try_from(among.len()).unwrap_or(u64::MAX)),
            among,
            answer: "partial success".to_owned(),
            said,
        });
        self.in_a_row = 0;
    }

    /// All but some, each with a status of its own.
    fn but(
        &mut self,
        range: &Range<usize>,
        refused: &[(usize, u16)],
        receiver: &mut Receiver,
    ) -> Result<Step, SendError> {
        let is_refused = |at: usize| refused.iter().any(|(refused, _)| *refused == at);
        let taken = self.messages(range).iter().enumerate();
        let taken = taken.rev().find(|(at, _)| !is_refused(*at));
        match taken {
            Some((_, message)) => {
                receiver.took = Some(message.clone());
                self.in_a_row = 0;
            }
            None => self.in_a_row = self.in_a_row.saturating_add(1),
        }
        let mut later = None;
        for (at, status) in refused.iter().rev() {
            let place = range.start.saturating_add(*at);
            if is_of_content(*status) {
                self.suspect(place);
                continue;
            }
            later = Some(*status);
            match self.todo.last_mut() {
                Some(next) if next.start == place.saturating_add(1) => next.start = place,
                Some(_) | None => self.todo.push(place..place.saturating_add(1)),
            }
        }
        match later {
            Some(status) => Err(SendError::status(status)),
            None => Ok(Step::Going),
        }
    }

    fn suspect(&mut self, place: usize) {
        self.suspects.push_back(Suspect { place, times: 1 });
    }

    /// Sends what the receiver took before: only one that takes it again refuses some messages rather than everything.
    async fn prove(
        &mut self,
        channel: &mut Channel,
        receiver: &Receiver,
    ) -> Result<Step, SendError> {
        self.in_a_row = 0;
        let Some(known) = &receiver.took else {
            // What comes next may be taken.
            return if self.todo.is_empty() {
                Err(SendError::Everything)
            } else {
                Err(SendError::NothingYet)
            };
        };
        match channel.send(slice::from_ref(known)).await {
            Ok(Taken::Lost) => Ok(Step::Lost),
            Ok(Taken::All) => {
                self.trusted = self.suspects.len();
                Ok(Step::Going)
            }
            Ok(Taken::Part { .. } | Taken::But(_)) => Err(SendError::Everything),
            Err(SendError::Status { status, .. }) if is_of_content(status) => {
                Err(SendError::Everything)
            }
            Err(error) => Err(error),
        }
    }

    /// Tries a suspect again.
    async fn retry(
        &mut self,
        channel: &mut Channel,
        receiver: &mut Receiver,
    ) -> Result<Step, SendError> {
        let Some(mut suspect) = self.suspects.pop_front() else {
            return Ok(Step::Going);
        };
        self.trusted = self.trusted.saturating_sub(1);
        let range = suspect.place..suspect.place.saturating_add(1);
        let messages = self.messages(&range);
        let (status, said) = match channel.send(messages).await {
            Ok(Taken::Lost) => return Ok(Step::Lost),
            Ok(Taken::All) => {
                receiver.took = messages.first().cloned();
                return Ok(Step::Going);
            }
            Ok(Taken::Part { rejected, said }) => {
                self.part(&range, rejected, said);
                return Ok(Step::Going);
            }
            Ok(Taken::But(refused)) => {
                let status = refused.first().map_or(0, |(_, status)| *status);
                (status, String::new())
            }
            Err(SendError::Status { status, said, .. }) if is_of_content(status) => (status, said),
            Err(error) => {
                self.suspects.push_front(suspect);
                self.trusted = self.trusted.saturating_add(1);
                return Err(error);
            }
        };
        if !is_of_content(status) {
            self.suspects.push_front(suspect);
            return Err(SendError::status(status));
        }
        suspect.times = suspect.times.saturating_add(1);
        if suspect.times < TRIES {
            self.suspects.push_back(suspect);
            return Ok(Step::Going);
        }
        let among = messages.to_vec();
        self.refusals.push(Refusal {
            among,
            count: 1,
            answer: format!("status {status}"),
            said,
        });
        Ok(Step::Going)
    }

    fn messages(&self, range: &Range<usize>) -> &[Message] {
        self.batch.get(range.clone()).unwrap_or_default()
    }
}

const TOO_LARGE: u16 = 413;

/// Whether a status is about what was sent: it cannot be read, is too long, or says what the receiver does not allow.
const fn is_of_content(status: u16) -> bool {
    matches!(status, 400 | TOO_LARGE | 422)
}

#[cfg(test)]
#[path = "delivery_tests.rs"]
mod tests;
