//! A client of the Simple Network Time Protocol (RFC 4330; packets as RFC 5905 §7.3 has them): one question, one answer.
//!
//! *Never*: believes an answer that does not repeat the random number of its question, that comes from somebody else, or
//! whose server says that it does not know the time itself.
//! *On failure*: [`SntpError`], which says why this server told no time.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use aws_lc_rs::rand;
use jiff::{SignedDuration, Timestamp};
use tokio::net::{UdpSocket, lookup_host};

use crate::clock::SharedClock;
use crate::config::timekeeping::TimeServer;

/// A packet without extensions.
pub(super) const PACKET: usize = 48;
/// The longest that one address is waited for.
const PATIENCE: Duration = Duration::from_secs(2);
/// Addresses of one name that are tried.
const ADDRESSES: usize = 2;
/// A time that may be further off than this is none (`MAXDIST`, RFC 5905 appendix A.5.5.2).
const MOST_DISTANCE: Duration = Duration::from_millis(1_500);
/// Seconds from 1900 to 1970.
const TO_1970: i128 = 2_208_988_800;
const NANOS: i128 = 1_000_000_000;
/// Version 4, client.
const QUESTION: u8 = (4 << 3) | 3;

/// Why a server told no time.
#[derive(Debug, thiserror::Error)]
pub enum SntpError {
    /// Its name.
    #[error("its name is not known: {0}")]
    Name(#[source] io::Error),
    /// The way to it.
    #[error("it cannot be reached: {0}")]
    Reach(#[source] io::Error),
    /// No random number.
    #[error("there is no random number to ask with")]
    Random,
    /// No answer.
    #[error("no answer within {} s", PATIENCE.as_secs())]
    Silent,
    /// It wants to be left alone (RFC 5905 §7.4).
    #[error("it sent the kiss code {0}")]
    Kiss(Kiss),
    /// The answer tells no time.
    #[error("its answer is of no use: {0}")]
    Unfit(&'static str),
}

/// Why a server wants to be left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kiss {
    /// `DENY` or `RSTR`: for good.
    Deny,
    /// `RATE`: it is asked too often.
    Rate,
    /// Any other, which says that it has no time.
    Other,
}

impl std::fmt::Display for Kiss {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Deny => "DENY",
            Self::Rate => "RATE",
            Self::Other => "of a server without time",
        })
    }
}

/// What a server said of the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// Who said it.
    pub server: SocketAddr,
    /// How many servers are between it and a reference clock, counted from 1.
    pub stratum: u8,
    /// How far this machine's clock is behind; negative where it is ahead.
    pub offset: SignedDuration,
    /// The most by which that may be wrong: root distance and half the way there and back.
    pub dispersion: Duration,
}

/// Asks a server.
///
/// # Errors
/// [`SntpError`].
pub(super) async fn ask(server: &TimeServer, clock: &SharedClock) -> Result<Sample, SntpError> {
    let named = lookup_host((server.host.as_str(), server.port));
    let found = tokio::time::timeout(PATIENCE, named)
        .await
        .map_err(|_elapsed| SntpError::Silent)?
        .map_err(SntpError::Name)?;
    let mut last = SntpError::Silent;
    for address in found.take(ADDRESSES) {
        match tokio::time::timeout(PATIENCE, exchange(address, clock)).await {
            Ok(Ok(sample)) => return Ok(sample),
            Ok(Err(error)) => last = error,
            Err(_elapsed) => last = SntpError::Silent,
        }
    }
    Err(last)
}

async fn exchange(address: SocketAddr, clock: &SharedClock) -> Result<Sample, SntpError> {
    let own: SocketAddr = if address.is_ipv4() {
        ([0, 0, 0, 0], 0).into()
    } else {
        ([0_u16; 8], 0).into()
    };
    let socket = UdpSocket::bind(own).await.map_err(SntpError::Reach)?;
    // SECURITY: connected, the socket takes packets of this address and port only.
    socket.connect(address).await.map_err(SntpError::Reach)?;
    let mut nonce = [0; 8];
    rand::fill(&mut nonce).ok().ok_or(SntpError::Random)?;
    let (wall, begun) = (clock.now(), clock.monotonic());
    let question = question(nonce);
    socket.send(&question).await.map_err(SntpError::Reach)?;
    let mut packet = [0; 512];
    loop {
        let length = socket.recv(&mut packet).await.map_err(SntpError::Reach)?;
        let took = clock.monotonic().saturating_sub(begun);
        let answer = packet.get(..length).and_then(Answer::read);
        // SECURITY: what does not repeat the random number may be of anybody; the answer may still come.
        let Some(answer) = answer.filter(|answer| answer.origin == nonce) else {
            continue;
        };
        return answer.sample(address, wall, took);
    }
}

/// The question. SECURITY: in the place of the time that it was asked at stands a random number: who does not see the
/// question cannot answer it, and the time is nobody's business.
pub(super) fn question(nonce: [u8; 8]) -> [u8; PACKET] {
    let mut packet = [0; PACKET];
    if let Some((first, _)) = packet.split_first_mut() {
        *first = QUESTION;
    }
    if let Some(transmit) = packet.last_chunk_mut::<8>() {
        *transmit = nonce;
    }
    packet
}

/// An answer, field by field.
#[derive(Debug, Clone, Copy)]
struct Answer {
    leap: u8,
    mode: u8,
    version: u8,
    stratum: u8,
    root_delay: u32,
    root_dispersion: u32,
    reference: [u8; 4],
    origin: [u8; 8],
    receive: u64,
    transmit: u64,
}

impl Answer {
    fn read(packet: &[u8]) -> Option<Self> {
        let short = |at: usize| packet.get(at..)?.first_chunk::<4>().copied();
        let long = |at: usize| packet.get(at..)?.first_chunk::<8>().copied();
        let [flags, stratum, ..] = short(0)?;
        Some(Self {
            leap: flags >> 6,
            version: (flags >> 3) & 7,
            mode: flags & 7,
            stratum,
            root_delay: u32::from_be_bytes(short(4)?),
            root_dispersion: u32::from_be_bytes(short(8)?),
            reference: short(12)?,
            origin: long(24)?,
            receive: u64::from_be_bytes(long(32)?),
            transmit: u64::from_be_bytes(long(40)?),
        })
    }

    /// The checks of RFC 4330 §5, and what the answer comes to.
    fn sample(
        &self,
        server: SocketAddr,
        wall: Timestamp,
        took: Duration,
    ) -> Result<Sample, SntpError> {
        if self.mode != 4 || !matches!(self.version, 3 | 4) {
            return Err(SntpError::Unfit("it is no answer of a server"));
        }
        if self.stratum == 0 {
            return Err(SntpError::Kiss(match &self.reference {
                b"DENY" | b"RSTR" => Kiss::Deny,
                b"RATE" => Kiss::Rate,
                _ => Kiss::Other,
            }));
        }
        if self.leap == 3 || self.stratum > 15 {
            return Err(SntpError::Unfit("the server is not synchronised itself"));
        }
        if self.transmit == 0 || self.receive == 0 {
            return Err(SntpError::Unfit("it says no time"));
        }
        let heard = wall.saturating_add(took).unwrap_or(wall);
        let held = difference(self.transmit, self.receive);
        if held < 0 {
            return Err(SntpError::Unfit("it was sent before it was asked for"));
        }
        // ((T2 - T1) + (T3 - T4)) / 2, and (T4 - T1) - (T3 - T2).
        let there = i128::from(difference(self.receive, ntp(wall)));
        let back = i128::from(difference(self.transmit, ntp(heard)));
        let offset = there.saturating_add(back).div_euclid(2);
        let delay = took.saturating_sub(unsigned(i128::from(held)));
        let dispersion = unsigned(i128::from(self.root_delay) << 15)
            .saturating_add(unsigned(i128::from(self.root_dispersion) << 16))
            .saturating_add(delay.checked_div(2).unwrap_or(delay));
        if dispersion > MOST_DISTANCE {
            return Err(SntpError::Unfit("it may be off by more than 1.5 s"));
        }
        Ok(Sample {
            server,
            stratum: self.stratum,
            offset: span(offset),
            dispersion,
        })
    }
}

/// Seconds since 1900 and their fraction, modulo 2^32 seconds.
fn ntp(time: Timestamp) -> u64 {
    let since = time
        .as_nanosecond()
        .saturating_add(TO_1970.saturating_mul(NANOS));
    let units = (since << 32).div_euclid(NANOS);
    // NTP counts modulo 2^32 seconds (RFC 5905 §6): the era is left out on both sides.
    u64::try_from(units.rem_euclid(1 << 64)).unwrap_or_default()
}

/// How much later one is, the nearer way around the era.
const fn difference(later: u64, earlier: u64) -> i64 {
    later.wrapping_sub(earlier).cast_signed()
}

/// A span in units of 2^-32 s.
fn span(units: i128) -> SignedDuration {
    let nanos = units.saturating_mul(NANOS) >> 32;
    SignedDuration::from_nanos(i64::try_from(nanos).unwrap_or(i64::MAX))
}

fn unsigned(units: i128) -> Duration {
    Duration::try_from(span(units)).unwrap_or_default()
}

#[cfg(test)]
#[expect(
    clippy::arithmetic_side_effects,
    reason = "the spans of these tests are small"
)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(in crate::timekeeping) const ADDRESS: &str = "192.0.2.1:123";

    /// What a server says that is `off` from `now`.
    pub(in crate::timekeeping) fn answer(
        question: &[u8],
        now: Timestamp,
        off: SignedDuration,
    ) -> [u8; PACKET] {
        let mut packet = [0; PACKET];
        packet[0] = (4 << 3) | 4;
        packet[1] = 2;
        packet[4..8].copy_from_slice(&(1_u32 << 12).to_be_bytes());
        packet[8..12].copy_from_slice(&(1_u32 << 10).to_be_bytes());
        packet[12..16].copy_from_slice(&[10, 0, 0, 9]);
        packet[24..32].copy_from_slice(&question[40..48]);
        let time = ntp(now.checked_add(off).unwrap()).to_be_bytes();
        packet[32..40].copy_from_slice(&time);
        packet[40..48].copy_from_slice(&time);
        packet
    }

    fn now() -> Timestamp {
        "2026-03-01T10:00:00.25Z".parse().unwrap()
    }

    fn judged(spoil: impl FnOnce(&mut [u8; PACKET])) -> Result<Sample, SntpError> {
        let mut packet = answer(&question([7; 8]), now(), SignedDuration::from_millis(40));
        spoil(&mut packet);
        let answer = Answer::read(&packet).unwrap();
        assert_eq!(answer.origin, [7; 8]);
        answer.sample(ADDRESS.parse().unwrap(), now(), Duration::from_millis(20))
    }

    #[test]
    fn an_answer_is_read_as_the_rfc_has_it() {
        let sample = judged(|_| {}).unwrap();
        // 40 ms ahead, less half of the 20 ms that it took.
        let off = sample.offset - SignedDuration::from_millis(30);
        assert!(off.abs() < SignedDuration::from_nanos(10), "{sample:?}");
        assert_eq!(sample.stratum, 2);
        // Half of 1/16 s, 1/64 s and half of 20 ms.
        let expected = Duration::from_micros(31_250 + 15_625 + 10_000);
        assert_eq!(sample.dispersion, expected);
        // The first byte of a question, and its random number; nothing else.
        let asked = question([9; 8]);
        assert_eq!(asked[0], 0x23);
        assert_eq!(asked[40..], [9; 8]);
        assert!(asked[1..40].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn an_answer_of_no_use_is_said_to_be_one() {
        let unfit = |spoil: fn(&mut [u8; PACKET]), why: &str| {
            let error = judged(spoil).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        };
        unfit(|p| p[0] = (4 << 3) | 3, "no answer of a server");
        unfit(|p| p[0] = (7 << 3) | 4, "no answer of a server");
        unfit(|p| p[0] |= 3 << 6, "not synchronised");
        unfit(|p| p[1] = 16, "not synchronised");
        unfit(|p| p[40..48].fill(0), "no time");
        unfit(|p| p[32..40].fill(0), "no time");
        unfit(|p| p[35] += 1, "sent before");
        unfit(|p| p[9] = 2, "off by more");
        for (code, kiss) in [
            (b"DENY", Kiss::Deny),
            (b"RSTR", Kiss::Deny),
            (b"RATE", Kiss::Rate),
            (b"INIT", Kiss::Other),
        ] {
            let told = judged(|p| {
                p[1] = 0;
                p[12..16].copy_from_slice(code);
            });
            assert!(matches!(told, Err(SntpError::Kiss(found)) if found == kiss));
        }
        assert!(Answer::read(&[0; PACKET - 1]).is_none());
    }

    proptest! {
        #[test]
        fn any_packet_is_judged(packet in prop::collection::vec(any::<u8>(), 0..100), millis in 0_u64..5_000) {
            if let Some(answer) = Answer::read(&packet) {
                let _total = answer.sample(ADDRESS.parse().unwrap(), now(), Duration::from_millis(millis));
            }
        }

        /// Also over the end of the era in February 2036.
        #[test]
        fn an_offset_comes_out_as_it_went_in(second in 1_700_000_000_i64..2_500_000_000, off in -1_000_000_000_i64..1_000_000_000) {
            let at = Timestamp::from_second(second).unwrap();
            let off = SignedDuration::from_micros(off);
            let packet = answer(&question([1; 8]), at, off);
            let sample = Answer::read(&packet).unwrap().sample(ADDRESS.parse().unwrap(), at, Duration::ZERO).unwrap();
            prop_assert!((sample.offset - off).abs() < SignedDuration::from_nanos(10));
        }
    }
}
